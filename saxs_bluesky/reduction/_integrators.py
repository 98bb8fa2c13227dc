"""Integrators: what turns an image into one curve.

An integrator is any object that fits `Integrator`. Those here are built from a calibration; a
user's own integrator stands beside them by fitting the same protocol.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from saxs_bluesky.errors import CalibrationError
from saxs_bluesky.reduction._binned import BinnedIntegrator
from saxs_bluesky.reduction._curve import Curve
from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction._operator import BinningOperator, count_subpixels
from saxs_bluesky.reduction.arrays import BoolImage, FloatArray, FloatImage, Image, IndexArray


@runtime_checkable
class Integrator(Protocol):
    """Turns images into curves that have one axis and one name.

    ``integrate`` gets the image as an array of shape (rows, columns), a ``numpy.ma.MaskedArray``
    where pixels of this frame are to be left out, and must not change it. It may be called from
    several threads at a time.
    """

    @property
    def name(self) -> str:
        """Name of the curve: a letter, then letters, digits or underscores."""

    @property
    def axis(self) -> FloatArray:
        """Axis of the curve, the same for every frame, shape (n,)."""

    def integrate(self, image: Image) -> Curve:
        """Integrate one image."""


class RadialIntegrator(BinnedIntegrator):
    """Mean intensity over rings of equal q.

    Bins have the width ``PixelPerRadialElement`` pixels in the mean: ``bin = floor(q scale)`` with
    ``scale = (max(r) / pixel_size) / max(q) / pixels_per_bin``, maxima over all subpixels, and the
    centres at ``(bin + 0.5) / scale`` (documentation of SAXSdog). For pixels that are not square,
    ``pixel_size`` is their height.

    Parameters
    ----------
    name
        Name of the curve.
    geometry
        Where the pixels are.
    used
        Pixels that are not masked, shape (rows, columns).
    oversampling
        Parts of a pixel along each edge.
    pixels_per_bin
        Width of a bin in pixels.
    q_start, q_stop
        Range of the integral parameters, 1/nm.
    correction
        Factor for each pixel, shape (rows, columns); None for 1.
    deviation
        Whether curves carry the standard deviation of the pixels in each bin.
    """

    def __init__(
        self,
        name: str,
        geometry: Geometry,
        used: BoolImage,
        *,
        oversampling: int = 3,
        pixels_per_bin: float = 1.0,
        q_start: float = 0.0,
        q_stop: float = np.inf,
        correction: FloatImage | None = None,
        deviation: bool = False,
    ) -> None:
        # 2theta below a limit holds in a convex part of the plane (a cone cut by it), so the
        # maxima over all subpixels are at the corners.
        x, y = _corner_subpixels(geometry, oversampling)
        r_max, q_max = np.hypot(x, y).max(), geometry.q(x, y).max()
        scale = r_max / geometry.pixel_size[0] / q_max / pixels_per_bin

        def bin_of(x: FloatArray, y: FloatArray) -> IndexArray:
            bin_numbers: IndexArray = (geometry.q(x, y) * scale).astype(np.int32)
            return bin_numbers

        bins = int(bin_of(x, y).max()) + 1
        axis = (np.arange(bins) + 0.5) / scale
        operator = BinningOperator(count_subpixels(geometry, used, oversampling, bin_of, bins), correction)
        super().__init__(name, "radial", axis, "q", "1/nm", operator, deviation=deviation, q_range=(q_start, q_stop))


class AzimuthalIntegrator(BinnedIntegrator):
    """Mean intensity over the azimuth, of the ring between two values of q.

    Pixels whose centre has ``q_start <= q <= q_stop`` take part. The bins divide the full circle
    into equal parts, each as wide as ``pixels_per_bin`` pixels at the outermost of these pixels;
    the axis runs from -pi to pi, with `Geometry.phi_of_pixels`'s zero and sense.

    Parameters
    ----------
    name, geometry, used, oversampling
        As for `RadialIntegrator`.
    pixels_per_bin
        Width of a bin in pixels, at the outermost of the pixels that take part.
    q_start, q_stop
        Range of the pixels that take part, 1/nm.
    correction, deviation
        As for `RadialIntegrator`.

    Raises
    ------
    CalibrationError
        No pixel lies between ``q_start`` and ``q_stop``.
    """

    def __init__(
        self,
        name: str,
        geometry: Geometry,
        used: BoolImage,
        *,
        oversampling: int = 3,
        pixels_per_bin: float = 1.0,
        q_start: float = 0.0,
        q_stop: float = np.inf,
        correction: FloatImage | None = None,
        deviation: bool = False,
    ) -> None:
        q = geometry.q_of_pixels()
        ring = (q >= q_start) & (q <= q_stop)
        if not ring.any():
            raise CalibrationError(
                f"phi mode wants pixels between qStart {q_start} and qStop {q_stop} 1/nm, found none: "
                f"q on this detector runs from {q.min():.4g} to {q.max():.4g} 1/nm"
            )
        r_max = np.hypot(*geometry.pixel_centers())[ring].max()
        circumference = 2 * np.pi * r_max / geometry.pixel_size[0]
        bins = max(1, round(circumference / pixels_per_bin))
        scale = bins / (2 * np.pi)

        def bin_of(x: FloatArray, y: FloatArray) -> IndexArray:
            bin_numbers: IndexArray = ((np.arctan2(y, x) + np.pi) * scale).astype(np.int32)
            return np.minimum(bin_numbers, np.int32(bins - 1))  # phi = pi itself

        axis = (np.arange(bins) + 0.5) / scale - np.pi
        operator = BinningOperator(count_subpixels(geometry, used & ring, oversampling, bin_of, bins), correction)
        super().__init__(name, "azimuthal", axis, "phi", "rad", operator, deviation=deviation)


def _corner_subpixels(geometry: Geometry, oversampling: int) -> tuple[FloatArray, FloatArray]:
    """Position (x, y) of the outermost subpixels in the four corners of the image, mm."""
    rows, columns = geometry.shape
    edge = 0.5 / oversampling
    near_rows = np.array([edge, edge, rows - edge, rows - edge])
    near_columns = np.array([edge, columns - edge, edge, columns - edge])
    return geometry.plane_position(near_rows, near_columns)
