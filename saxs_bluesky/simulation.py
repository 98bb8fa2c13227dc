"""Simulated Pilatus frames: what a detector would count behind a known sample.

The defaults stand for a small beamline: a Pilatus 1M a metre behind the sample, the beam on a
beamstop with an arm, a few dead pixels, and Poisson noise on everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from saxs_bluesky.reduction import Geometry, PilatusHeader, write_frame
from saxs_bluesky.reduction.arrays import BoolImage, FloatArray, FloatImage
from saxs_bluesky.support.replacing import replacing

# Pilatus detectors are built of modules of 195 x 487 pixels of 172 um (DECTRIS, Pilatus manuals).
MODULE_SHAPE = (195, 487)
"""Rows and columns of a module of a Pilatus."""
MODULE_GAP = (17, 7)
"""Rows and columns between two modules."""
PIXEL_SIZE_UM = 172.0
"""Edge of a pixel, in micrometres."""
DETECTOR_SHAPES = {"100K": (195, 487), "300K": (619, 487), "1M": (1043, 981), "2M": (1679, 1475), "6M": (2527, 2463)}
"""Rows and columns of the images, by model."""
GAP, DEAD = -1, -2
COUNT_CUTOFF = 1_048_575
"""Counts at and above this value are not reliable: the counters have 20 bits."""

SILVER_BEHENATE_PERIOD = 5.838
"""Lamellar period of silver behenate in nm (Huang et al. 1993, J. Appl. Cryst. 26, 180)."""

_MAC_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)  # what the loggers of old beamline computers count from


class Sample(Protocol):
    """What is in the beam: its scattering as a function of q."""

    def rate(self, q: FloatArray) -> FloatArray:
        """Counts per pixel and second at q (1/nm), any shape."""


@dataclass(frozen=True)
class SilverBehenate:
    """Powder of silver behenate: sharp rings at ``q = 2 pi n / 5.838 nm`` on a diffuse background.

    ``brightness`` is the rate at the top of the first ring in counts per pixel and second,
    ``ring_width`` the standard deviation of the rings in 1/nm.
    """

    brightness: float = 400.0
    ring_width: float = 0.014

    def rate(self, q: FloatArray) -> FloatArray:
        """Counts per pixel and second at q (1/nm), any shape."""
        total: FloatArray = self.brightness * (0.02 + 0.05 / (1 + (q / 0.3) ** 2))
        for order in range(1, 13):
            center = 2 * np.pi * order / SILVER_BEHENATE_PERIOD
            total += self.brightness / order**1.3 * np.exp(-0.5 * ((q - center) / self.ring_width) ** 2)
        return total


@dataclass(frozen=True)
class Spheres:
    """Dilute spheres of one ``radius`` (nm) with a normal spread of it (relative ``polydispersity``).

    The form factor is ``(3 (sin x - x cos x) / x**3)**2`` with ``x = q radius`` (Rayleigh 1911),
    weighted with the sixth power of the radius. ``brightness`` is the rate at q = 0 in counts per
    pixel and second.
    """

    radius: float = 8.0
    polydispersity: float = 0.06
    brightness: float = 3000.0
    background: float = 1.0

    def rate(self, q: FloatArray) -> FloatArray:
        """Counts per pixel and second at q (1/nm), any shape."""
        # On a fine grid of q and interpolated: the average over radii is slow pixel by pixel.
        grid = np.linspace(0, float(np.max(q)) + 1e-6, 4000)
        deviates = np.linspace(-3, 3, 31)
        radii = self.radius * (1 + self.polydispersity * deviates)
        weights = np.exp(-0.5 * deviates**2) * radii**6
        x = np.maximum(grid * radii[:, None], 1e-3)  # below, rounding spoils the difference
        form_factor = (3 * (np.sin(x) - x * np.cos(x)) / x**3) ** 2
        mean = weights @ form_factor / weights.sum()
        rate: FloatArray = np.interp(q, grid, self.brightness * mean + self.background)
        return rate


@dataclass(frozen=True, eq=False)
class SimulatedPilatus:
    """A Pilatus detector with its beamstop, ready to count behind a sample.

    Parameters
    ----------
    geometry
        Where it stands.
    beamstop_radius
        Radius of the beamstop's shadow around the beam centre, mm.
    arm_width
        Width of the shadow of the arm that holds the beamstop, from above, mm.
    dead_pixels
        Number of dead pixels; where they are follows from ``seed``.
    """

    geometry: Geometry
    beamstop_radius: float = 4.0
    arm_width: float = 2.5
    dead_pixels: int = 60
    seed: int = 2026

    @cached_property
    def gaps(self) -> BoolImage:
        """Pixels between the modules, shape (rows, columns)."""
        rows, columns = np.indices(self.geometry.shape, sparse=True)
        in_row_gap = rows % (MODULE_SHAPE[0] + MODULE_GAP[0]) >= MODULE_SHAPE[0]
        in_column_gap = columns % (MODULE_SHAPE[1] + MODULE_GAP[1]) >= MODULE_SHAPE[1]
        return in_row_gap | in_column_gap

    @cached_property
    def dead(self) -> BoolImage:
        """Pixels that never count, shape (rows, columns)."""
        dead = np.zeros(self.geometry.shape, dtype=bool)
        number = min(self.dead_pixels, dead.size)
        places = np.random.default_rng(self.seed).choice(dead.size, size=number, replace=False)
        dead.flat[places] = True
        return dead & ~self.gaps

    @cached_property
    def shadow(self) -> BoolImage:
        """Pixels behind the beamstop and its arm, shape (rows, columns)."""
        x, y = self.geometry.pixel_centers()
        behind_stop = x**2 + y**2 <= self.beamstop_radius**2
        behind_arm = (np.abs(x) <= self.arm_width / 2) & (y <= 0)
        return behind_stop | behind_arm

    @cached_property
    def mask(self) -> BoolImage:
        """Mask of the gaps and of the beamstop's shadow with a rim of one pixel; True is masked."""
        mask: BoolImage = binary_dilation(self.shadow) | self.gaps
        return mask

    def rate(self, sample: Sample) -> FloatImage:
        """Expected counts per second of each pixel, shape (rows, columns); 0 in the shadow."""
        return np.where(self.shadow, 0.0, sample.rate(self.geometry.q_of_pixels()))

    def expose(self, rate: FloatImage, exposure_time: float, rng: np.random.Generator) -> NDArray[np.int32]:
        """Count for ``exposure_time`` seconds.

        Parameters
        ----------
        rate
            From `rate`; it stays the same for a series of frames.

        Returns
        -------
        Counts with -1 in the gaps, -2 in dead pixels, cut off at what the counters hold; shape
        (rows, columns).
        """
        counts = np.minimum(rng.poisson(rate * exposure_time), COUNT_CUTOFF).astype(np.int32)
        counts[self.gaps] = GAP
        counts[self.dead] = DEAD
        return counts


def render_frame(
    geometry: Geometry, sample: Sample, exposure_time: float, *, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Render one frame of a sample on a simulated Pilatus; for a series, use `SimulatedPilatus`."""
    detector = SimulatedPilatus(geometry)
    return detector.expose(detector.rate(sample), exposure_time, rng)


def simulated_header(geometry: Geometry, exposure_time: float, end: datetime | None = None) -> PilatusHeader:
    """Header that a Pilatus would write for a frame whose exposure ends now, or at ``end``; times in s."""
    wavelength = geometry.wavelength * 10
    energy = 12398.4198 / wavelength  # h c in eV angstrom
    height, width = geometry.pixel_size
    entries = {
        "Pixel_size": f"{width * 1000:g}e-6 m x {height * 1000:g}e-6 m",
        "Silicon": "sensor, thickness 0.000450 m",
        "Exposure_time": f"{exposure_time:.7f} s",
        "Exposure_period": f"{exposure_time + 0.003:.7f} s",
        "Tau": "0 s",
        "Count_cutoff": f"{COUNT_CUTOFF} counts",
        "Threshold_setting": f"{energy / 2:.0f} eV",
        "Image_path": "/simulated/",
        "Wavelength": f"{wavelength:.6g} A",
    }
    return PilatusHeader(
        date_time=(end or datetime.now(UTC)).strftime("%Y:%m:%d %H:%M:%S"),
        model="PILATUS3 simulated, S/N 00-0000",
        software="saxs-bluesky simulation",
        entries=entries,
    )


def write_simulated_frame(
    path: Path,
    detector: SimulatedPilatus,
    rate: FloatImage,
    exposure_time: float,
    rng: np.random.Generator,
    end: datetime | None = None,
) -> None:
    """Expose the simulated detector, now or until ``end``, and write what it counts as a Pilatus TIFF."""
    image = detector.expose(rate, exposure_time, rng)
    write_frame(path, image, simulated_header(detector.geometry, exposure_time, end))


@dataclass(frozen=True)
class SimulatedLoggers:
    """What a beamline writes down beside the images: the detector's log, the shutter's, and a data logger's.

    Parameters
    ----------
    begin
        Of the first exposure, by the detector's clock.
    exposure_time
        Of each image, s.
    clock_offset
        The loggers' clock minus the detector's, s.
    seed
        Of the pauses between the exposures, which differ.
    """

    begin: datetime
    exposure_time: float
    clock_offset: float = 37.25
    seed: int = 1

    def ends(self, frames: int) -> list[datetime]:
        """When the exposures of so many images end, by the detector's clock, to the millisecond."""
        pauses = np.random.default_rng(self.seed).uniform(1.0, 8.0, frames).round(3)
        ends = np.cumsum(self.exposure_time + pauses) - pauses[0]
        return [self.begin + timedelta(milliseconds=round(1000 * float(end))) for end in ends]

    def write(self, folder: Path, images: Sequence[Path], ends: Sequence[datetime]) -> list[Path]:
        """Write the detector's log beside the images, and ``peakinteg.log`` and ``datalogger.log`` into a folder.

        The loggers count seconds since 1904. The shutter has a row at each opening, with its duration, and one at each
        closing; the data logger has one each second, of a current that decays and a temperature that rises.
        """
        rule = "-" * 60
        detector = [f"Image acquisition log of {images[0].parent.name}", rule]
        shutter, seconds = ["Time\tDuration"], self.exposure_time
        for image, end in zip(images, ends, strict=True):
            stamp = end.isoformat(timespec="milliseconds")[:23]
            detector.append(f"{seconds:10.4f} {seconds:10.4f} {stamp} /simulated/{image.name}")
            closing = self._logger_seconds(end)
            shutter += [f"{closing - seconds:.3f}\t{seconds:.4f}", f"{closing:.3f}\t0.0000"]
        first, last = (self._logger_seconds(end) for end in (ends[0], ends[-1]))
        times = np.arange(first - seconds - 30, last + 30)
        logged = zip(times, 120 * np.exp(-(times - first) / 36000), 25 + 0.01 * (times - first), strict=True)
        logger = ["Time\tIoni\tTemp", *(f"{time:.3f}\t{ioni:.4f}\t{temp:.3f}" for time, ioni, temp in logged)]
        texts = {
            images[0].with_name("detector.log"): detector,
            folder / "peakinteg.log": shutter,
            folder / "datalogger.log": logger,
        }
        for path, lines in texts.items():
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return list(texts)

    def _logger_seconds(self, time: datetime) -> float:
        return (time - _MAC_EPOCH).total_seconds() + self.clock_offset


def write_mask(path: Path, mask: BoolImage) -> None:
    """Write a mask as a TIFF image of zeros and ones (masked)."""
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, mask.astype(np.uint8), photometric="minisblack")


def simulated_calibration(detector: str = "1M", mask_file: str = "") -> dict[str, object]:
    """Calibration document of the simulated beamline for a detector of `DETECTOR_SHAPES`.

    Its curves: radial, the azimuthal profile of the first ring of silver behenate, and a horizontal
    slice above the beam.
    """
    rows, columns = DETECTOR_SHAPES[detector]
    center = (round(0.78 * rows) + 0.37, round(0.395 * columns) + 0.27)
    first_ring = 2 * np.pi / SILVER_BEHENATE_PERIOD
    return {
        "Title": f"Simulated Pilatus {detector}",
        "Geometry": {
            "Tilt": {"TiltRotDeg": 73.569, "TiltAngleDeg": -0.56},
            "DedectorDistanceMM": 1031.657,
            "BeamCenter": list(center),
            "Imagesize": [rows, columns],
            "PixelSizeMicroM": [PIXEL_SIZE_UM, PIXEL_SIZE_UM],
        },
        "Masks": [
            {"MaskFile": mask_file, "Oversampling": 3, "Name": "all", "qStart": 0.2, "qStop": 5.0},
            {
                "MaskFile": mask_file,
                "Oversampling": 3,
                "PixelPerRadialElement": 4,
                "Name": "first ring",
                "Phi-mode": True,
                "qStart": round(first_ring - 0.06, 4),
                "qStop": round(first_ring + 0.06, 4),
            },
        ],
        "Slices": [
            {"Direction": "x", "Plane": "InPlane", "CutPosition": round(center[0]) - 40, "CutMargin": 3, "MaskRef": 0}
        ],
        "Wavelength": 1.54,
        "Directory": ["."],
        "Threads": 2,
    }
