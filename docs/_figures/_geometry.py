"""A tilted detector behind the sample, and its image, as the keys of a calibration describe them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc
from numpy.typing import ArrayLike

from saxs_bluesky.reduction import Geometry
from saxs_bluesky.reduction.arrays import FloatArray

# Tilt and size are exaggerated: a detector that is tilted by half a degree looks straight.
GEOMETRY = Geometry(
    shape=(1043, 981),
    beam_center=(640.0, 390.0),
    distance=250.0,
    pixel_size=(0.172, 0.172),
    wavelength=0.154,
    tilt_angle=math.radians(30.0),
    tilt_rotation=math.radians(62.0),
)
_BEAM, _DETECTOR, _TILT, _RING, _PIXEL = "#c1440e", "#4b5a6b", "#7a3e9d", "#2f7d9e", "#22863a"
# From where the picture is taken: upstream, right of the beam and above it.
_TURN, _ELEVATION = math.radians(33.0), math.radians(16.0)
_VIEW = np.array(
    [
        [math.cos(_TURN), math.sin(_TURN), 0.0],
        [math.sin(_ELEVATION) * math.sin(_TURN), -math.sin(_ELEVATION) * math.cos(_TURN), math.cos(_ELEVATION)],
    ]
)


_ALONG = np.array([1.0, 0.0, 0.0])  # the beam


def place_in_space(geometry: Geometry, x: ArrayLike, y: ArrayLike) -> FloatArray:
    """Where points of the detector plane are.

    Parameters
    ----------
    geometry
        Of the detector.
    x, y
        Positions in the detector plane from the beam centre, mm; y down.

    Returns
    -------
    Positions from the sample in mm, shape (n, 3): along the beam, to the right, up.
    """
    right, up = np.asarray(x, dtype=np.float64), -np.asarray(y, dtype=np.float64)
    cos, sin = math.cos(geometry.tilt_rotation), math.sin(geometry.tilt_rotation)
    along, across = right * cos + up * sin, up * cos - right * sin
    leaning = along * math.cos(geometry.tilt_angle)
    depth = geometry.distance + along * math.sin(geometry.tilt_angle)
    return np.stack([depth, leaning * cos - across * sin, leaning * sin + across * cos], axis=-1)


def draw_geometry(path: Path) -> None:
    """Draw the detector in space, and its image, to a file."""
    figure = Figure(figsize=(11.5, 5.4), layout="constrained")
    space, image = figure.subplots(1, 2, width_ratios=[1.35, 1.0])
    _draw_space(space)
    _draw_image(image)
    figure.savefig(path)


def _rings() -> list[FloatArray]:
    """Positions (x, y) of rings of equal q on the detector, mm."""
    axes = Figure().subplots()
    x, y = GEOMETRY.pixel_centers()
    contours = axes.contour(x[0], y[:, 0], GEOMETRY.q_of_pixels(), levels=[3.2, 6.4, 9.6])
    return [segment for level in contours.allsegs for segment in level]


def _on_picture(points: FloatArray) -> FloatArray:
    picture: FloatArray = points @ _VIEW.T
    return picture


def _draw_space(axes: Axes) -> None:
    def line(points: ArrayLike, **style: Any) -> None:
        axes.plot(*_on_picture(np.asarray(points, dtype=np.float64)).T, **style)

    def text(point: ArrayLike, words: str, offset: tuple[float, float], color: str = "black") -> None:
        x, y = _on_picture(np.asarray(point))
        axes.annotate(words, (x, y), offset, textcoords="offset points", color=color)

    corner_x, corner_y = GEOMETRY.corners
    order = [0, 1, 3, 2, 0]
    detector = place_in_space(GEOMETRY, corner_x[order], corner_y[order])
    axes.fill(*_on_picture(detector).T, facecolor="#e9edf2", edgecolor=_DETECTOR, linewidth=1.6, zorder=0)
    text(detector[3], "detector", (-16, -18), _DETECTOR)
    for ring in _rings():
        line(place_in_space(GEOMETRY, *ring.T), color=_RING, linewidth=0.9, alpha=0.7)

    centre = GEOMETRY.distance * _ALONG
    line([-80 * _ALONG, centre], color=_BEAM, linewidth=2.2)
    line([centre, centre * 1.45], color=_BEAM, linewidth=1.4, linestyle=":")
    arrow = {"arrowstyle": "-|>", "color": _BEAM, "linewidth": 2.2}
    (x, y), (start_x, start_y) = _on_picture(-22 * _ALONG), _on_picture(-80 * _ALONG)
    axes.annotate("", (x, y), (start_x, start_y), arrowprops=arrow)
    axes.plot(*_on_picture(np.zeros(3)), "o", color="black", markersize=9)
    axes.plot(*_on_picture(centre), "+", color=_BEAM, markersize=14, markeredgewidth=2.4)
    text([-80, 0, 0], "incident beam", (-6, 24), _BEAM)
    text([0, 0, 0], "sample", (-20, -22))
    text(centre * 0.22, "DedectorDistanceMM", (-6, 18), _BEAM)
    text(centre, "BeamCenter", (10, -12), _BEAM)

    # The plane normal to the beam, and by how much the detector leans away from it.
    cos, sin = math.cos(GEOMETRY.tilt_rotation), math.sin(GEOMETRY.tilt_rotation)
    normal_end = centre + 82 * np.array([0, cos, sin])
    tilted_end = place_in_space(GEOMETRY, [82 * cos], [-82 * sin])[0]
    line([centre, normal_end], color=_TILT, linewidth=1.5, linestyle="--")
    line([centre, tilted_end], color=_TILT, linewidth=1.8)
    angles = np.linspace(0, GEOMETRY.tilt_angle, 30)[:, None]
    directions = np.array([0, cos, sin]) * np.cos(angles) + np.array([1.0, 0, 0]) * np.sin(angles)
    line(centre + 74 * directions, color=_TILT, linewidth=1.4)
    text(normal_end, "normal to\nthe beam", (-64, -14), _TILT)
    text(tilted_end, "TiltAngleDeg", (8, 4), _TILT)
    axis_ends = place_in_space(GEOMETRY, [-70 * sin, 70 * sin], [-70 * cos, 70 * cos])
    line(axis_ends, color=_TILT, linewidth=1.2, linestyle="-.")
    text(axis_ends[1], "axis of the tilt", (-28, -18), _TILT)

    pixel = place_in_space(GEOMETRY, [-38.0], [66.0])[0]
    line([[0, 0, 0], pixel], color=_PIXEL, linewidth=1.3)
    axes.plot(*_on_picture(pixel), "s", color=_PIXEL, markersize=6)
    text(pixel, "pixel", (-12, -18), _PIXEL)
    arc_angles = np.linspace(0, math.acos(pixel[0] / np.linalg.norm(pixel)), 30)[:, None]
    sideways = pixel * [0, 1, 1] / np.linalg.norm(pixel[1:])
    line(120 * (np.array([1.0, 0, 0]) * np.cos(arc_angles) + sideways * np.sin(arc_angles)), color=_PIXEL)
    text([126, 0, 0], r"$2\theta$", (-4, -26), _PIXEL)
    axes.set_title("In space (tilt exaggerated)", fontsize=11, pad=18)
    axes.set_aspect("equal")
    axes.margins(x=0.04, y=0.02)
    axes.set_axis_off()


def _draw_image(axes: Axes) -> None:
    rows, columns = GEOMETRY.shape
    centre_y, centre_x = GEOMETRY.beam_center
    row = rows - centre_y  # BeamCenter counts from the bottom edge, rows from the top
    axes.set(xlim=(0, columns), ylim=(rows, 0), facecolor="#f3f5f8", xlabel="column", ylabel="row")
    x, y = GEOMETRY.pixel_centers()
    columns_of = x[0] / GEOMETRY.pixel_size[1] + centre_x
    rows_of = y[:, 0] / GEOMETRY.pixel_size[0] + row
    axes.contour(columns_of, rows_of, GEOMETRY.q_of_pixels(), levels=[3.2, 6.4, 9.6], colors=_RING, linewidths=1.0)
    axes.plot(centre_x, row, "+", color=_BEAM, markersize=14, markeredgewidth=2.4)
    for start, stop, words, at in (
        ((centre_x, rows), (centre_x, row), "BeamCenter[0]\nfrom the bottom", (centre_x - 18, (rows + row) / 2)),
        ((0, row), (centre_x, row), "BeamCenter[1]\nfrom the left", (14, row + 44)),
    ):
        axes.annotate("", stop, start, arrowprops={"arrowstyle": "<->", "color": _BEAM, "shrinkA": 0, "shrinkB": 6})
        axes.text(
            at[0], at[1], words, color=_BEAM, ha="right" if at[0] > centre_x / 2 else "left", va="center", fontsize=9
        )

    rotation = GEOMETRY.tilt_rotation
    cos, sin = math.cos(rotation), math.sin(rotation)
    axes.plot([centre_x, centre_x + 470], [row, row], color="#555555", linewidth=0.8)
    axes.annotate("", (centre_x + 400 * cos, row - 400 * sin), (centre_x, row),
                  arrowprops={"arrowstyle": "-|>", "color": _TILT, "linewidth": 1.6})  # fmt: skip
    axes.plot([centre_x - 350 * sin, centre_x + 350 * sin], [row - 350 * cos, row + 350 * cos], "-.", color=_TILT)
    end = (centre_x + 415 * cos, row - 380 * sin)
    axes.text(end[0], end[1], "leans away from\nthe sample here", color=_TILT, fontsize=9, ha="left", va="center")
    # The axis of rows points down, so angles of a patch grow clockwise as seen.
    axes.add_patch(Arc((centre_x, row), 380, 380, theta1=-math.degrees(rotation), theta2=0, color=_TILT))
    axes.text(centre_x + 205, row - 60, "TiltRotDeg", color=_TILT, fontsize=9, va="center")
    axes.add_patch(Arc((centre_x, row), 300, 300, theta1=0, theta2=62, color=_PIXEL, linewidth=1.4))
    end = (centre_x + 150 * math.cos(math.radians(62)), row + 150 * math.sin(math.radians(62)))
    axes.annotate("", end, (end[0] + 9, end[1] - 5), arrowprops={"arrowstyle": "-|>", "color": _PIXEL})
    axes.text(centre_x + 20, row + 185, r"azimuth $\varphi$", color=_PIXEL, fontsize=9)
    axes.set_title("The image (row 0 at the top)", fontsize=11)
    axes.set_aspect("equal")
