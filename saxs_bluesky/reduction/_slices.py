"""Straight cuts through an image, for grazing incidence (GISAXS)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from scipy import sparse

from saxs_bluesky.reduction._binned import BinnedIntegrator
from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction._operator import BinningOperator
from saxs_bluesky.reduction.arrays import BoolImage, FloatArray

Direction: TypeAlias = Literal["x", "y"]
Plane: TypeAlias = Literal["InPlane", "Vertical"]


class SliceIntegrator(BinnedIntegrator):
    """Mean intensity across a strip, one point for each pixel along it.

    The axis follows from the position ``u`` of the pixel centres along the cut, in mm from the
    beam centre (to the right for direction x, upwards for direction y), with ``d`` the distance
    of the detector (documentation of SAXSdog, with the sign of the incident angle put right):

    - in plane, ``q_h = 4 pi / wavelength sin(atan(u / d) / 2)``;
    - vertical, ``q_v = 2 pi / wavelength (sin(alpha_f) + sin(alpha_i))`` with
      ``alpha_f = atan(u / d) - alpha_i``.

    Points are in ascending order: from left to right, from bottom to top. Tilt and polarization
    of the calibration do not enter.

    Parameters
    ----------
    name
        Name of the curve.
    geometry
        Where the pixels are.
    used
        Pixels that are not masked, shape (rows, columns).
    direction
        ``x`` cuts along a row, ``y`` along a column.
    plane
        Which formula gives the axis.
    position
        Index of the row (from the top) or column (from the left) at the middle of the strip,
        counted from 0.
    margin
        Rows or columns on either side; what would lie outside the image is left away.
    incident_angle
        ``alpha_i``, radians.
    deviation
        Whether curves carry the standard deviation of the pixels at each point.
    """

    def __init__(
        self,
        name: str,
        geometry: Geometry,
        used: BoolImage,
        *,
        direction: Direction,
        plane: Plane,
        position: int,
        margin: int,
        incident_angle: float = 0.0,
        deviation: bool = False,
    ) -> None:
        rows, columns = geometry.shape
        strip = slice(max(0, position - margin), position + margin + 1)
        in_strip = np.zeros(geometry.shape, dtype=bool)
        x, y = geometry.pixel_centers()
        row_numbers, column_numbers = np.indices(geometry.shape, sparse=True)
        if direction == "x":
            in_strip[strip, :] = True
            along, points = x.ravel(), np.broadcast_to(column_numbers, geometry.shape)
        else:
            in_strip[:, strip] = True
            along, points = -y.ravel()[::-1], np.broadcast_to(rows - 1 - row_numbers, geometry.shape)
        pixels = np.flatnonzero(in_strip & used)
        shape = (columns if direction == "x" else rows, used.size)
        counts = sparse.coo_array((np.ones(pixels.size, dtype=np.uint8), (points.ravel()[pixels], pixels)), shape=shape)
        axis, label = _slice_axis(along, geometry, plane, incident_angle), "q_h" if plane == "InPlane" else "q_v"
        super().__init__(name, "slice", axis, label, "1/nm", BinningOperator(counts), deviation=deviation)


def _slice_axis(along: FloatArray, geometry: Geometry, plane: Plane, incident_angle: float) -> FloatArray:
    angle = np.arctan(along / geometry.distance)
    axis: FloatArray
    if plane == "InPlane":
        axis = 4 * np.pi / geometry.wavelength * np.sin(angle / 2)
    else:
        exit_angle = angle - incident_angle
        axis = 2 * np.pi / geometry.wavelength * (np.sin(exit_angle) + np.sin(incident_angle))
    return axis
