"""The real frame and the tilted rings against curves made by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyFAI.integrator.azimuthal import AzimuthalIntegrator as PyFAI

from saxs_bluesky.reduction import Calibration, Curve, Reducer, read_chi, read_frame
from saxs_bluesky.schemas import parse_json


def curve_of(folder: Path, *, oversampling: int = 3) -> Curve:
    path = folder / "calibration.json"
    document = parse_json(path.read_bytes(), str(path))
    document["Masks"][0]["Oversampling"] = oversampling
    frame = read_frame(folder / "pilatus1m_buffer.tif")
    reducer = Reducer(Calibration.from_dict(document, folder=folder))
    return reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff)[0]


def relative_difference(curve: Curve, q: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    filled = ~np.isnan(curve.intensity)
    ours = np.interp(q, curve.axis[filled], curve.intensity[filled], left=0)
    both = (ours > 0) & (intensity > 0)
    return np.abs(ours[both] / intensity[both] - 1)


def test_fit2d_gives_the_same_curve(shared_data: Path) -> None:
    reference = read_chi(shared_data / "pilatus1m_buffer.fit2d.chi").curve
    difference = relative_difference(curve_of(shared_data), reference.axis, reference.intensity)
    assert difference.size > 900
    assert np.median(difference) <= 0.0025
    assert np.quantile(difference, 0.99) <= 0.011
    assert difference.max() <= 0.03


def test_early_saxsdog_gives_the_same_curve(shared_data: Path) -> None:
    reference = read_chi(shared_data / "pilatus1m_buffer.saxsdog2014.chi").curve
    assert np.median(relative_difference(curve_of(shared_data), reference.axis, reference.intensity)) <= 0.0015


def test_deployed_saxsdog_gives_the_same_values(shared_data: Path) -> None:
    curve = curve_of(shared_data, oversampling=2)
    assert curve.axis.size == 1003
    assert np.isnan(curve.intensity[:13]).all()
    # Its angstrom is 0.100001495 nm, which its q carries.
    assert curve.axis[13] / 1.00001495 == pytest.approx(0.09079466, abs=5e-9)
    assert curve.axis[13] == pytest.approx(0.0907947, rel=2e-5)
    assert curve.intensity[13] == pytest.approx(4362.444, abs=5e-4)


def test_pyfai_gives_the_same_curve(shared_data: Path) -> None:
    frame = read_frame(shared_data / "pilatus1m_buffer.tif")
    calibration = Calibration.from_file(shared_data / "calibration.json")
    curve = curve_of(shared_data)
    pyfai = PyFAI(wavelength=1.54e-10)
    pyfai.setFit2D(1031.657, 387.772, 808.37, -0.56, 73.569, pixelX=172, pixelY=172)
    q, intensity = pyfai.integrate1d(
        np.flipud(frame.image),
        1003,
        unit="q_nm^-1",
        mask=np.flipud(calibration.load_mask(0)),
        correctSolidAngle=False,
        method=("full", "csr", "cython"),
    )
    assert np.median(relative_difference(curve, q, intensity)) <= 0.005


def test_rings_on_a_tilted_detector_are_where_fit2d_saw_them(shared_data: Path) -> None:
    calibration = Calibration.from_file(shared_data / "calibration_tilt10.json")
    curve = Reducer(calibration).reduce(read_frame(shared_data / "powder_rings_tilt10.tif").image)[0]
    two_theta = np.degrees(2 * np.arcsin(curve.axis * calibration.geometry.wavelength / (4 * np.pi)))
    for expected in (1.392646, 2.780810, 4.168858, 5.556975, 6.944765):
        near = np.abs(two_theta - expected) < 0.12
        height = curve.intensity[near] - np.median(curve.intensity[near])
        height = np.clip(height, 0, None)
        assert (two_theta[near] * height).sum() / height.sum() == pytest.approx(expected, abs=0.005)
        assert (height > height.max() / 2).sum() <= 6


def test_mask_covers_the_beamstop_of_the_real_frame(shared_data: Path) -> None:
    mask = Calibration.from_file(shared_data / "calibration.json").load_mask(0)
    # A triangle from the upper edge down to an apex near row 250, column 388.
    assert mask[:240].all()
    assert not mask[256, 388]
    assert mask[256, 300]
    assert mask[256, 480]
    image = read_frame(shared_data / "pilatus1m_buffer.tif").image
    assert np.median(image[220:240, 380:396]) < 5 < np.median(image[260:280, 380:396])
