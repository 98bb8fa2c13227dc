"""Curves over each other, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from saxs_bluesky.errors import OutputError
from saxs_bluesky.plotting._style import (
    INTENSITY,
    SIGMA_COLOR,
    Scale,
    axis_title,
    draw_band,
    draw_legend,
    draw_line,
    finish,
    finite,
    note_lack,
    plain,
    set_scale,
    visible,
)
from saxs_bluesky.reduction import Q_UNITS, Curve
from saxs_bluesky.reduction.arrays import FloatArray

# Told apart by colour-blind eyes: Okabe & Ito, Color Universal Design (2008), without the yellow.
_COLORS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def compare_curves(
    curves: Sequence[Curve],
    labels: Sequence[str],
    *,
    difference: bool = False,
    x_scale: Scale = "linear",
    y_scale: Scale = "log",
    legend: bool = True,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw curves over each other, and their differences to the first.

    Parameters
    ----------
    curves, labels
        What to draw, and its names in the legend; as many of each.
    difference
        Add the difference of each curve to the first, in counts per pixel and, on a second axis,
        in percent of the first. A curve over another axis is interpolated on the first's; where it
        does not reach there is no difference.
    x_scale, y_scale
        Scales of the axis and of the intensity; ``symlog`` is linear around zero.
    legend
        Show the legend.
    title
        Text above the axes.
    figure
        Where to; None: on a new figure.

    Returns
    -------
    The figure.

    Raises
    ------
    OutputError
        There is no curve, or the axes have different units.
    """
    _check_same_unit(curves, labels)
    curves = [replace(curve, axis=visible(curve.axis, x_scale)) for curve in curves]
    figure = figure or Figure(figsize=(8, 9 if difference else 5.5), layout="constrained")
    panels = figure.subplots(
        3 if difference else 1, sharex=True, squeeze=False, height_ratios=(2, 1, 1) if difference else None
    )[:, 0]
    set_scale(panels[0].xaxis, x_scale, [curve.axis for curve in curves])
    set_scale(panels[0].yaxis, y_scale, [curve.intensity for curve in curves])
    colors = _colors(len(curves))
    if len(curves) == 1:
        draw_band(panels[0], curves[0], curves[0].sigma, y_scale, SIGMA_COLOR, "error")
    intensities = [visible(curve.intensity, y_scale) for curve in curves]
    for curve, intensity, label, color in zip(curves, intensities, labels, colors, strict=True):
        draw_line(panels[0], curve.axis, intensity, color, label=plain(label))
    note_lack(panels[0], intensities, y_scale)
    if difference:
        _draw_differences(panels[1], panels[2], curves, colors)
        panels[1].set_title(plain(f"Difference to {labels[0]}"), fontsize="medium")
    finish(panels[0], "" if difference else axis_title(curves), INTENSITY, title)
    if legend:
        draw_legend(panels[0], columns=1 + len(curves) // 25, size="medium" if len(curves) < 12 else "x-small")
    return figure


def _check_same_unit(curves: Sequence[Curve], labels: Sequence[str]) -> None:
    """Curves whose unit is not known (Fit2D's free text) are taken at the user's word."""
    if not curves:
        raise OutputError("wanted at least one curve to draw, found none")
    known = [(curve, label) for curve, label in zip(curves, labels, strict=True) if curve.axis_unit]
    for curve, label in known[1:]:
        first, first_label = known[0]
        if curve.axis_unit != first.axis_unit:
            both = {curve.axis_unit, first.axis_unit} <= set(Q_UNITS)
            remedy = f" (plotchi -u {first.axis_unit} converts)" if both else ""
            raise OutputError(
                f"{label}: wanted an axis in {first.axis_unit} as in {first_label}, found {curve.axis_label} in "
                f"{curve.axis_unit}: one picture has one axis{remedy}"
            )


def _draw_differences(counts: Axes, percent: Axes, curves: Sequence[Curve], colors: Sequence[ArrayLike]) -> None:
    x, first = curves[0].axis, finite(curves[0].intensity)
    drawn = [np.zeros(1)]
    for curve, color in zip(curves[1:], colors[1:], strict=True):
        difference = _on_axis(curve, x) - first
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            relative = finite(100 * difference / np.abs(first))
        draw_line(counts, x, difference, color)
        draw_line(percent, x, relative, color)
        drawn.append(relative)
    for panel in (counts, percent):
        panel.axhline(0, color="0.3", linewidth=0.8, zorder=1)
    finish(counts, "", "counts/pixel", None)
    finish(percent, axis_title(curves), "percent", None)
    _leave_outliers(percent, np.concatenate(drawn))


def _leave_outliers(axes: Axes, values: FloatArray) -> None:
    """Cut the axis at outliers, such as percents of values near zero."""
    low, high = np.nanpercentile(values, (1, 99))
    margin = 3 * (high - low)
    if margin > 0:
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, min(low - margin, 0)), min(top, max(high + margin, 0)))


def _on_axis(curve: Curve, axis: FloatArray) -> FloatArray:
    """Intensity at the points of another axis, NaN where the curve does not reach."""
    known = np.flatnonzero(np.isfinite(curve.axis))
    if not known.size:
        return np.full(axis.shape, np.nan)
    order = known[np.argsort(curve.axis[known], kind="stable")]  # files of others need not ascend
    return np.interp(axis, curve.axis[order], finite(curve.intensity)[order], left=np.nan, right=np.nan)


def _colors(count: int) -> list[ArrayLike]:
    """Colours for curves: well apart for a few, from dark to light in order for many."""
    if count <= len(_COLORS):
        return list(_COLORS[:count])
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.9, count)))
