"""Where the detector stands, and the scattering angle and vector of its pixels.

With ``x, y`` the position of a point in the detector plane relative to the beam centre (x to the
right, y downwards), ``r`` and ``phi = atan2(y, x)`` its polar coordinates, ``d`` the distance
along the beam, and ``tilt`` and ``rot`` Fit2D's two angles, the documentation of SAXSdog gives

    alpha = arcsin(sin(tilt) sin(phi + rot + pi/2))
    l**2 = d**2 + r**2 - 2 d r cos(pi/2 + alpha)
    2theta = arccos((l**2 + d**2 - r**2) / (2 l d))

Here ``r sin(alpha) = sin(tilt) (x cos(rot) - y sin(rot)) = s`` is how far the point lies behind
the plane normal to the beam, so ``l**2 = r**2 + d**2 + 2 d s`` and ``cos(2theta) = (d + s) / l``:
the same angle without inverse functions. And since ``l**2 - (d + s)**2 = r**2 - s**2``,

    sin(theta)**2 = (1 - cos(2theta)) / 2 = (r**2 - s**2) / (2 l (l + d + s)),

which keeps full precision at small angles, where ``1 - cos`` loses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from saxs_bluesky.errors import GeometryError
from saxs_bluesky.reduction.arrays import FloatArray, FloatImage


@dataclass(frozen=True)
class Geometry:
    """A flat detector behind the sample.

    Parameters
    ----------
    shape
        Size of an image, (rows, columns).
    beam_center
        (y, x) in pixels, y from the bottom edge, x from the left edge; pixel centres lie at
        half-integers.
    distance
        From the sample to the detector along the beam, mm.
    pixel_size
        (y, x), mm.
    wavelength
        nm.
    tilt_angle, tilt_rotation
        Fit2D's tilt and the direction of its axis, radians.

    Raises
    ------
    GeometryError
        A pixel lies at a scattering angle of 90 degrees or more: the range of q over the detector
        is not found at its corners then.
    """

    shape: tuple[int, int]
    beam_center: tuple[float, float]
    distance: float
    pixel_size: tuple[float, float]
    wavelength: float
    tilt_angle: float = 0.0
    tilt_rotation: float = 0.0

    def __post_init__(self) -> None:
        x, y = self.corners
        behind = self.distance + self._depth(x, y)
        if behind.min() <= 0:
            angle = np.degrees(self.two_theta(x, y).max())
            raise GeometryError(
                f"wanted all pixels at scattering angles below 90 degrees, found {angle:.1f} degrees in a "
                "corner of the detector: check TiltAngleDeg, BeamCenter and DedectorDistanceMM"
            )

    def plane_position(self, rows: FloatArray, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position (x, y) in the detector plane relative to the beam centre, mm.

        ``rows`` and ``columns`` count in pixels from the top left corner of the image, so that the
        centre of pixel (0, 0) is at (0.5, 0.5); x points right, y down.
        """
        x = (columns - self.beam_center[1]) * self.pixel_size[1]
        y = (rows - (self.shape[0] - self.beam_center[0])) * self.pixel_size[0]
        return x, y

    def __getstate__(self) -> dict[str, Any]:
        """A copy, since another thread may add what is worked out once while this is pickled for a worker."""
        return self.__dict__.copy()

    def pixel_centers(self) -> tuple[FloatArray, FloatArray]:
        """Position (x, y) of the pixel centres, mm; shapes (1, columns) and (rows, 1)."""
        rows, columns = self.shape
        return self.plane_position(np.arange(0.5, rows)[:, None], np.arange(0.5, columns)[None, :])

    @cached_property
    def corners(self) -> tuple[FloatArray, FloatArray]:
        """Position (x, y) of the four corners of the image, mm; shapes (4,)."""
        rows, columns = self.shape
        return self.plane_position(np.array([0.0, 0.0, rows, rows]), np.array([0.0, columns, 0.0, columns]))

    def two_theta(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Scattering angle 2theta at positions in the detector plane (mm), radians."""
        return 2 * np.arcsin(np.sqrt(self._sin_squared_theta(x, y)))

    def q(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Length of the scattering vector, ``4 pi sin(theta) / wavelength``, at positions in mm; 1/nm."""
        return np.sqrt(self._sin_squared_theta(x, y)) * (4 * np.pi / self.wavelength)

    def q_of_pixels(self) -> FloatImage:
        """Length of the scattering vector at each pixel centre, 1/nm; shape (rows, columns)."""
        return self.q(*self.pixel_centers())

    def two_theta_of_pixels(self) -> FloatImage:
        """Scattering angle of each pixel centre, radians; shape (rows, columns)."""
        return self.two_theta(*self.pixel_centers())

    def phi_of_pixels(self) -> FloatImage:
        """Azimuth ``atan2(y, x)`` of each pixel centre, radians in (-pi, pi]; shape (rows, columns).

        Zero points to the right; since y points down, angles grow clockwise as the image is seen.
        """
        x, y = self.pixel_centers()
        phi: FloatImage = np.arctan2(y, x)
        return phi

    def _depth(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """How far a point of the detector lies behind the plane normal to the beam, mm."""
        sin_tilt = math.sin(self.tilt_angle)
        along_x = sin_tilt * math.cos(self.tilt_rotation)
        along_y = sin_tilt * math.sin(self.tilt_rotation)
        return x * along_x - y * along_y

    def _sin_squared_theta(self, x: FloatArray, y: FloatArray) -> FloatArray:
        depth = self._depth(x, y)
        r_squared = x * x + y * y
        along_beam = depth + self.distance
        l_squared = r_squared + self.distance * (along_beam + depth)
        return (r_squared - depth * depth) / (2 * (l_squared + np.sqrt(l_squared) * along_beam))
