"""Exposures and openings of the shutter, before and after their clocks are synchronised."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from saxs_bluesky.merge import Images, LogTable, Times, shutter_openings, wall_times
from saxs_bluesky.plotting._style import finish, plain, set_scale, visible
from saxs_bluesky.reduction.arrays import FloatArray

IMAGE_COLOR = "#d62728"
OPENING_COLOR = "#1f3b73"
_NS = 1_000_000_000
_SHOWN = 8  # exposures in the enlarged part
_MANY = 20_000  # markers that make a PDF slow to draw

_Times: TypeAlias = NDArray[np.datetime64]


def plot_synchronisation(
    images: Images,
    before: LogTable,
    after: LogTable,
    *,
    zone: str = "",
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw exposures and openings of the shutter over time, before and after synchronisation.

    Each exposure is a dot at its middle, each opening a cross at its middle: where the clocks agree, crosses lie on
    dots. Beside the whole time, a few exposures in the midst of it are enlarged.

    Parameters
    ----------
    images
        The images of a merge.
    before, after
        The shutter's table with the offset that it had, and with the one that was found.
    zone
        IANA name of the time zone of the time axis; empty: UTC.
    title
        Text above the panels.
    figure
        Where to; None: on a new figure.

    Returns
    -------
    The figure, for `save_figure`.
    """
    figure = figure or Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2, squeeze=False, sharey=True, width_ratios=(2, 1))
    middle = _wall(images.middle, zone)
    exposures = images.exposure / _NS
    usual = float(np.median(exposures)) if len(exposures) else 1.0
    for row, table, name in zip(panels, (before, after), ("before", "after"), strict=True):
        opened, durations = shutter_openings(table)
        halves = np.rint(np.nan_to_num(durations) * _NS / 2).astype(np.int64)
        opened_at = _wall(opened + halves, zone)
        for axes in row:
            _draw(axes, middle, exposures, opened_at, np.where(np.isnan(durations), usual, durations))
        finish(row[0], "", "Exposure (s)", f"{name} synchronisation: {_described(table)}")
        finish(row[1], "", "", "enlarged")
        _enlarge(row[1], images, zone)
    if (exposures > 0).any():
        set_scale(panels[0, 0].yaxis, "log", [exposures])
    for axes in panels.ravel():
        _show_times(axes)
    panels[1, 0].set_xlabel(f"Time of the images ({plain(zone or 'UTC')})")
    # Below the panels, where it hides nothing.
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    if title:
        figure.suptitle(plain(title))
    return figure


def _draw(axes: Axes, middle: _Times, exposures: FloatArray, opened: _Times, durations: FloatArray) -> None:
    """Dots of images, and crosses of openings over them."""
    heavy = len(middle) + len(opened) > _MANY
    axes.plot(middle, visible(exposures, "log"), "o", color=IMAGE_COLOR, markersize=5, label="images", rasterized=heavy)
    axes.plot(
        opened,
        visible(durations, "log"),
        "x",
        color=OPENING_COLOR,
        markersize=8,
        markeredgewidth=1.2,
        label="openings of the shutter",
        rasterized=heavy,
    )


def _described(table: LogTable) -> str:
    drift = f", drift {table.drift * 1e6:.1f} ppm" if table.drift else ""
    return plain(f"{table.name}, offset {table.offset:.3f} s{drift}")


def _enlarge(axes: Axes, images: Images, zone: str) -> None:
    """Show a few exposures in the midst of the images."""
    if not len(images.end):
        return
    first = max(len(images.end) // 2 - _SHOWN // 2, 0)
    shown = slice(first, first + _SHOWN)
    begin, end = int(images.start[shown].min()), int(images.end[shown].max())
    margin = (end - begin) // 8
    axes.set_xlim(*_wall(np.array([begin - margin, end + margin]), zone))


def _show_times(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _wall(times: Times, zone: str) -> _Times:
    return np.asarray(wall_times(times, zone), dtype="datetime64[ns]")
