"""Correction for the polarization of the beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction.arrays import FloatImage


@dataclass(frozen=True)
class Polarization:
    """State of polarization of the beam: ``fraction`` in the plane at ``angle`` radians to the horizontal."""

    fraction: float
    angle: float = 0.0


def polarization_factor(geometry: Geometry, polarization: Polarization) -> FloatImage:
    """Intensity that each pixel sees, relative to what it would see without polarization effects.

    Along an electric field E, scattered light is weaker by the square of the sine of the angle to
    E (documentation of SAXSdog, with the plus sign that it lost):

        P (1 - (sin(phi') sin(2theta))**2) + (1 - P) (1 - (cos(phi') sin(2theta))**2)

    with ``phi' = phi - angle + 90 degrees``.

    Parameters
    ----------
    geometry
        Where the pixels are.
    polarization
        Fraction and angle of the polarization.

    Returns
    -------
    Factors in [0, 1], shape (rows, columns), to divide intensities by.
    """
    phi = geometry.phi_of_pixels() - polarization.angle + np.pi / 2
    sin_two_theta = np.sin(geometry.two_theta_of_pixels())
    in_plane = 1 - (np.sin(phi) * sin_two_theta) ** 2
    out_of_plane = 1 - (np.cos(phi) * sin_two_theta) ** 2
    return polarization.fraction * in_plane + (1 - polarization.fraction) * out_of_plane
