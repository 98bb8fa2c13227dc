"""Curves with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saxs_bluesky.errors import OutputError
from saxs_bluesky.plotting._style import (
    DEVIATION_COLOR,
    INTENSITY,
    SIGMA_COLOR,
    Scale,
    axis_title,
    draw_band,
    draw_legend,
    draw_line,
    finish,
    note_lack,
    plain,
    set_scale,
    visible,
)
from saxs_bluesky.reduction import Curve

_LINE_COLOR = "#10243e"


def plot_curve(
    curve: Curve,
    axes: Axes | None = None,
    *,
    log: bool = True,
    label: str | None = None,
    title: str | None = None,
    legend: bool = True,
) -> Axes:
    """Draw a curve over its two estimates of the error.

    The standard deviation of the pixels in each bin is a yellow band, the Poisson sigma a blue one
    on top of it; an estimate that the curve does not have is left out.

    Parameters
    ----------
    curve
        What to draw; bins that hold NaN leave a gap.
    axes
        Where to; None: on a new figure.
    log
        Logarithmic intensity; bins without positive intensity leave a gap, and bands that reach
        down to zero end at the lower edge.
    label
        Name of the curve in the legend; None: its own.
    title
        Text above the axes.
    legend
        Show the legend.

    Returns
    -------
    The axes.
    """
    axes = axes if axes is not None else Figure(figsize=(7, 5), layout="constrained").subplots()
    scale: Scale = "log" if log else "linear"
    set_scale(axes.yaxis, scale, [curve.intensity])
    if curve.deviation is not None:
        draw_band(axes, curve, curve.deviation, scale, DEVIATION_COLOR, "standard deviation of the pixels")
    draw_band(axes, curve, curve.sigma, scale, SIGMA_COLOR, "Poisson error")
    intensity = visible(curve.intensity, scale)
    draw_line(axes, curve.axis, intensity, _LINE_COLOR, label=plain(label or curve.name))
    note_lack(axes, [intensity], scale)
    finish(axes, axis_title([curve]), INTENSITY, title)
    if legend:
        draw_legend(axes)
    return axes


def plot_curves(curves: Sequence[Curve], *, log: bool = True, title: str | None = None) -> Figure:
    """Draw the curves of a frame, each in a panel of its own.

    Parameters
    ----------
    curves
        What to draw.
    log
        Logarithmic intensity.
    title
        Text above the panels.

    Returns
    -------
    A new figure.

    Raises
    ------
    OutputError
        There is no curve.
    """
    rows, columns = panel_grid(len(curves))
    figure = Figure(figsize=(1.5 + 5.5 * columns, 1 + 3.8 * rows), layout="constrained")
    draw_panels(figure.subplots(rows, columns, squeeze=False).ravel().tolist(), curves, log=log)
    if title:
        figure.suptitle(plain(title))
    return figure


def draw_panels(panels: Sequence[Axes], curves: Sequence[Curve], *, log: bool) -> None:
    for panel, curve in zip(panels, curves, strict=False):
        plot_curve(curve, panel, log=log, title=f"{curve.name} ({curve.kind})", legend=panel is panels[0])
    for panel in panels[len(curves) :]:
        panel.set_axis_off()


def panel_grid(count: int) -> tuple[int, int]:
    """Rows and columns of panels, never taller than wide."""
    if not count:
        raise OutputError("wanted at least one curve to draw, found none")
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns
