"""The reduction of a Pilatus 1M frame, step by step, beside other ways to do it."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy import sparse

from benchmarks._measure import report
from saxs_bluesky.reduction import Calibration, Geometry, Reducer, read_frame, write_chi
from saxs_bluesky.simulation import SilverBehenate, SimulatedPilatus, simulated_calibration, write_simulated_frame


def main() -> None:
    """Print all figures."""
    logging.getLogger("pyFAI").setLevel(logging.ERROR)
    document = simulated_calibration()
    document["Masks"] = [{"Oversampling": 3, "qStop": 5.0}]
    document["Slices"] = []
    calibration = Calibration.from_dict(document)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.tif"
        detector = SimulatedPilatus(calibration.geometry)
        write_simulated_frame(path, detector, detector.rate(SilverBehenate()), 1.0, np.random.default_rng(1))
        operator(calibration)
        integration(calibration, path)
        files(calibration, path, Path(folder))


def operator(calibration: Calibration) -> None:
    """Time the operator of one mask."""
    report(
        "Operator, Pilatus 1M, oversampling 3, no mask",
        {
            "counting subpixels (ours)": lambda: Reducer(calibration),
            "matrix over all subpixels, summed by scipy": lambda: subpixel_matrix(calibration.geometry, 3),
        },
        repeats=3,
        memory=True,
    )


def subpixel_matrix(geometry: Geometry, oversampling: int) -> sparse.csr_array:
    """The operator as an entry for each subpixel, added up by the sparse matrix."""
    rows, columns = geometry.shape
    offsets = [(np.arange(size * oversampling) + 0.5) / oversampling for size in (rows, columns)]
    x, y = geometry.plane_position(offsets[0][:, None], offsets[1][None, :])
    q = geometry.q(x, y)
    bins = (q * (np.hypot(x, y).max() / geometry.pixel_size[0] / q.max())).astype(np.int32)
    pixels = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    pixels = pixels.repeat(oversampling, axis=0).repeat(oversampling, axis=1)
    ones = np.ones(bins.size)
    return sparse.coo_array((ones, (bins.ravel(), pixels.ravel())), (bins.max() + 1, rows * columns)).tocsr()


def integration(calibration: Calibration, path: Path) -> None:
    """Time one frame through several integrators."""
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator as PyFAI

    image = read_frame(path).image
    reducer = Reducer(calibration)
    second = Reducer(calibration, deviation=True)
    matrix = reducer.integrators[0].operator.counts.astype(np.float64)  # type: ignore[attr-defined]
    geometry = calibration.geometry
    pyfai = PyFAI(wavelength=geometry.wavelength * 1e-9)
    pyfai.setFit2D(
        geometry.distance,
        geometry.beam_center[1],
        geometry.beam_center[0],
        np.degrees(geometry.tilt_angle),
        np.degrees(geometry.tilt_rotation),
        pixelX=172,
        pixelY=172,
    )
    flipped = np.ascontiguousarray(np.flipud(image))
    mask = np.ascontiguousarray(np.flipud(calibration.load_mask(0)))
    bins = reducer.integrators[0].axis.size

    def pyfai_curve() -> object:
        return pyfai.integrate1d(
            flipped,
            bins,
            unit="q_nm^-1",
            mask=mask,
            dummy=-1,
            delta_dummy=1.5,
            correctSolidAngle=False,
            error_model="poisson",
            method=("full", "csr", "cython"),
        )

    report(
        f"One frame of {image.dtype} to a curve (gaps left out, {np.count_nonzero(mask)} pixels masked)",
        {
            "one product with scipy's CSR matrix": lambda: matrix @ image.ravel(),
            "intensity and Poisson sigma, invalid pixels left out": lambda: reducer.reduce(image, count_cutoff=1048575),
            "the same with the standard deviation": lambda: second.reduce(image, count_cutoff=1048575),
            "pyFAI, full splitting, CSR, Poisson errors": pyfai_curve,
        },
        repeats=30,
    )


def files(calibration: Calibration, path: Path, folder: Path) -> None:
    """Time reading a frame and writing a curve."""
    report(
        "Reading a frame",
        {
            "with header and checks (ours)": lambda: read_frame(path),
            "tifffile.imread": lambda: tifffile.imread(path),
            "PIL": lambda: np.asarray(Image.open(path)),
        },
        repeats=30,
    )
    curve = Reducer(calibration).reduce(read_frame(path).image)[0]
    columns = np.column_stack([curve.axis, curve.intensity, curve.sigma])
    report(
        f"Writing a .chi file of {curve.axis.size} rows",
        {
            "write_chi": lambda: write_chi(folder / "a.chi", curve, calibration),
            "numpy.savetxt": lambda: np.savetxt(folder / "b.chi", columns),
        },
        repeats=30,
    )
