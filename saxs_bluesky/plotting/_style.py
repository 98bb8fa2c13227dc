"""What all pictures share: scales, lines, error bands, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogFormatterSciNotation
from numpy.typing import ArrayLike

from saxs_bluesky.reduction import Curve
from saxs_bluesky.reduction.arrays import FloatArray

Scale: TypeAlias = Literal["linear", "log", "symlog"]
"""Scale of an axis; symlog is linear around 0."""

DEVIATION_COLOR = "#ffe680"
"""Colour of the band of the standard deviation of the pixels in each bin."""
SIGMA_COLOR = "#7db8e8"
"""Colour of the band of the Poisson error."""
INTENSITY = "Intensity (counts/pixel)"
_AXIS_NAMES = {"q": "q", "2theta": r"2$\theta$", "phi": r"$\varphi$", "q_h": "q$_h$", "q_v": "q$_v$"}
_UNIT_NAMES = {"1/nm": "nm$^{-1}$", "1/A": "\u00c5$^{-1}$", "deg": "\N{DEGREE SIGN}"}


def draw_line(axes: Axes, x: FloatArray, y: FloatArray, color: ArrayLike, label: str | None = None) -> None:
    axes.plot(x, y, color=color, linewidth=1.1, label=label)
    # A point between two gaps has no line through it: without a dot it would not be seen.
    gap = np.concatenate([[True], np.isnan(y), [True]])
    alone = ~gap[1:-1] & gap[:-2] & gap[2:]
    if alone.any():
        axes.plot(x[alone], y[alone], ".", color=color)


def draw_band(axes: Axes, curve: Curve, error: FloatArray, scale: Scale, color: str, label: str) -> None:
    """Fill between intensity minus and plus error, as far as the scale can show it."""
    intensity, error = finite(curve.intensity), finite(error)
    floor = _floor(intensity) if scale == "log" else -math.inf
    upper = intensity + error
    seen = upper > floor
    if not seen.any():
        return
    lower = np.maximum(intensity - error, floor)
    band = axes.fill_between(curve.axis, lower, upper, where=seen, color=color, linewidth=0, label=label)
    if scale == "log":
        # No margin below a band that was cut off: it ends where the picture does.
        band.sticky_edges.y.append(floor)


def _floor(intensity: FloatArray) -> float:
    """Lower edge of a logarithmic picture: half a decade below the smallest intensity."""
    positive = intensity[intensity > 0]
    return float(positive.min()) / 10**0.5 if positive.size else math.inf


def set_scale(axis: Axis, scale: Scale, values: Sequence[FloatArray]) -> None:
    """Give an axis its scale, and to the axes that share it; ``values`` tell what symlog shows linearly.

    Parameters
    ----------
    axis
        One axis of a plot.
    scale
        ``linear``, ``log`` or ``symlog``.
    values
        What is drawn, each of shape (n,): around zero, symlog is linear up to the smallest of them.
    """
    # An axis cannot do it alone: panels that share it must follow.
    setter = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    if scale == "symlog":
        setter(scale, linthresh=_linear_below(np.concatenate(values)))
    else:
        setter(scale)
    if scale == "log":
        axis.set_minor_formatter(LogNumbers())
        axis.set_major_formatter(LogNumbers())


class LogNumbers(LogFormatterSciNotation):
    """Plain numbers where they are short all along the axis, powers of ten elsewhere."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = super().__call__(x, pos)
        assert self.axis is not None
        low, high = self.axis.get_view_interval()
        return f"{x:g}" if text and low > 1e-3 and high < 1e5 else text


def _linear_below(values: FloatArray) -> float:
    """Where a symlog scale turns linear: at the smallest value, six decades below the largest at most."""
    sizes = np.abs(finite(values))
    sizes = sizes[sizes > 0]
    return float(max(sizes.min(), sizes.max() * 1e-6)) if sizes.size else 1.0


def draw_legend(axes: Axes, columns: int = 1, size: str = "medium") -> None:
    # Opaque, since PostScript knows no transparency. "best" is the default, but a search by default
    # that takes long makes Matplotlib warn.
    axes.legend(loc="best", framealpha=1, ncols=columns, fontsize=size)


def note_lack(axes: Axes, drawn: Sequence[FloatArray], scale: Scale) -> None:
    """Write into the axes why a picture is empty."""
    if all(np.isnan(values).all() for values in drawn):
        lacking = "no positive intensity" if scale == "log" else "no intensity"
        axes.text(0.5, 0.5, lacking, transform=axes.transAxes, ha="center", va="center", color="0.4")


def finish(axes: Axes, x_title: str, y_title: str, title: str | None) -> None:
    """Give axes their titles, margins and grid.

    Parameters
    ----------
    axes
        Axes to finish.
    x_title, y_title
        Quantity and unit of each axis.
    title
        Text above the axes; None: none.
    """
    axes.set(xlabel=x_title, ylabel=y_title)
    if title:
        axes.set_title(plain(title))
    axes.margins(x=0.02)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def axis_title(curves: Sequence[Curve]) -> str:
    names = dict.fromkeys(_AXIS_NAMES.get(curve.axis_label, plain(curve.axis_label)) for curve in curves)
    unit = next((curve.axis_unit for curve in curves if curve.axis_unit), "")
    title = ", ".join(name for name in names if name)
    return f"{title} ({_UNIT_NAMES.get(unit, plain(unit))})" if unit else title


def visible(values: FloatArray, scale: Scale) -> FloatArray:
    """Values that a scale can show, NaN in place of the others."""
    numbers = finite(values)
    return np.where(numbers > 0, numbers, np.nan) if scale == "log" else numbers


def finite(values: FloatArray) -> FloatArray:
    """Values that are numbers, and none so large that Matplotlib's arithmetic overflows; NaN in place of the others."""
    return np.where(np.abs(values) < 1e150, values, np.nan)


def plain(text: str) -> str:
    """Text to be drawn as it is: no formulas, no characters that cannot be drawn."""
    printable = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    # A name that begins with an underscore is left out of legends.
    return re.sub("^_", " _", printable).replace("$", r"\$")
