"""Pixels that are divided into sub-pixels, and the bins that these fall into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from saxs_bluesky.reduction import Geometry, RadialIntegrator

OVERSAMPLING = 3
# A corner of a detector with few pixels; the beam is left of it and below.
GEOMETRY = Geometry(
    shape=(9, 12), beam_center=(-3.2, -2.6), distance=1000.0, pixel_size=(0.172, 0.172), wavelength=0.154
)
_PIXEL = (2, 6)  # row, column of the one that is looked at


def integrator() -> RadialIntegrator:
    """The integrator whose bins are drawn."""
    return RadialIntegrator("R0", GEOMETRY, np.ones(GEOMETRY.shape, np.bool_), oversampling=OVERSAMPLING)


def draw_oversampled_ring(path: Path) -> None:
    """Draw the bins of the sub-pixels, and the shares of one pixel, to a file."""
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    plane, shares = figure.subplots(1, 2, width_ratios=[1.9, 1.0])
    radial = integrator()
    _draw_subpixels(plane, radial)
    _draw_shares(shares, radial)
    figure.savefig(path)


def _draw_subpixels(axes: Axes, radial: RadialIntegrator) -> None:
    rows, columns = GEOMETRY.shape
    width = radial.axis[1] - radial.axis[0]
    fine_rows, fine_columns = (np.arange(OVERSAMPLING * n) / OVERSAMPLING + 0.5 / OVERSAMPLING for n in (rows, columns))
    q = GEOMETRY.q(*GEOMETRY.plane_position(fine_rows[:, None], fine_columns[None, :]))
    bins = np.floor(q / width)
    axes.imshow(_colors(bins), extent=(0, columns, rows, 0), interpolation="nearest")
    for position in range(rows * OVERSAMPLING):
        axes.axhline(position / OVERSAMPLING, color="white", linewidth=0.4)
    for position in range(columns * OVERSAMPLING):
        axes.axvline(position / OVERSAMPLING, color="white", linewidth=0.4)
    for row in range(rows + 1):
        axes.axhline(row, color="#30363d", linewidth=0.9)
    for column in range(columns + 1):
        axes.axvline(column, color="#30363d", linewidth=0.9)
    edge_rows, edge_columns = np.linspace(0, rows, 200), np.linspace(0, columns, 200)
    edge_q = GEOMETRY.q(*GEOMETRY.plane_position(edge_rows[:, None], edge_columns[None, :]))
    axes.contour(edge_columns, edge_rows, edge_q / width, levels=np.arange(1, bins.max() + 1), colors="black")
    row, column = _PIXEL
    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#c1440e", linewidth=3.0, zorder=5))
    axes.set(xlabel="column", ylabel="row", title=f"Each pixel has {OVERSAMPLING} by {OVERSAMPLING} sub-pixels; "
             "colours are bins, black lines their edges")  # fmt: skip
    axes.title.set_fontsize(10)


def _draw_shares(axes: Axes, radial: RadialIntegrator) -> None:
    row, column = _PIXEL
    counts = radial.operator.counts.toarray()[:, row * GEOMETRY.shape[1] + column]
    bins = np.flatnonzero(counts)
    axes.bar(bins, counts[bins], color=_colors(bins), edgecolor="#30363d")
    for number in bins.tolist():
        axes.text(number, counts[number] + 0.1, f"{int(counts[number])} of {OVERSAMPLING**2}", ha="center")
    axes.set(
        xlabel="bin",
        ylabel="sub-pixels in the bin",
        ylim=(0, OVERSAMPLING**2),
        xticks=np.arange(bins[0] - 1, bins[-1] + 2),
    )
    axes.set_title("Shares of the marked pixel", fontsize=10)


def _colors(bins: NDArray[Any]) -> NDArray[Any]:
    """A colour for each bin; neighbours differ."""
    return colormaps["Set2"](np.asarray(bins, dtype=np.int64) % 8)
