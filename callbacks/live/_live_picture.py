"""The picture that follows a reduced run: the latest curves, and how the integral parameters went."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saxs_bluesky.plotting import finish, plain, plot_curve, set_scale
from saxs_bluesky.reduction import Curve
from saxs_bluesky.reduction.arrays import FloatArray

SIZE = (13.0, 7.0)
_TITLES = {"I0": "I0", "I1": "I1", "I2": "Invariant I2", "correlation_length": "Correlation length"}
# Told apart by colour-blind eyes: Okabe & Ito, Color Universal Design (2008).
_COLORS = ("#10243e", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_FAILED = "#b30000"
_MOST_TITLE = 120  # characters
_CURVES_IN_COLUMN = 3


@dataclass(frozen=True)
class History:
    """Integral parameters of the frames of a run.

    Parameters
    ----------
    x
        What they are drawn against, shape (frames,); seconds since 1970 for the time.
    label
        Title of that axis; empty for the time.
    values
        For each parameter its value in each frame, by curve, of shape (frames,); NaN where it failed.
    units
        Unit of each parameter.
    """

    x: FloatArray
    label: str
    values: Mapping[str, Mapping[str, FloatArray]]
    units: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """All that a picture shows.

    ``problem`` says what went wrong in the run so far, and ``failed`` whether the latest frame did.
    """

    title: str = ""
    problem: str = ""
    failed: bool = False
    curves: tuple[Curve, ...] = ()
    history: History | None = None
    log: bool = True
    log_q: bool = False


class LivePicture:
    """Draws snapshots on a figure; axes stay as long as they fit, and with them where a user zoomed in."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self._layout: object = None
        self._curve_panels: dict[str, Axes] = {}
        self._history_panels: dict[str, Axes] = {}

    def draw(self, snapshot: Snapshot) -> None:
        """Bring the figure to what a snapshot shows; the canvas is not drawn."""
        names = [curve.name for curve in snapshot.curves]
        parameters = list(snapshot.history.values) if snapshot.history else []
        layout = (names, parameters, snapshot.log, snapshot.log_q)
        if layout != self._layout:
            self._lay_out(names, parameters)
            self._layout = layout
        self._draw_title(snapshot)
        for position, curve in enumerate(snapshot.curves):
            with _view_kept(self._curve_panels[curve.name]) as panel:
                plot_curve(curve, panel, log=snapshot.log, title=f"{curve.name} ({curve.kind})", legend=position == 0)
                if snapshot.log_q and curve.kind == "radial":
                    set_scale(panel.xaxis, "log", [curve.axis])
        if snapshot.history is not None:
            self._draw_history(snapshot.history)

    def _lay_out(self, curves: list[str], parameters: list[str]) -> None:
        self.figure.clear()
        columns = max(1, math.ceil(len(curves) / _CURVES_IN_COLUMN))
        widths = [1.0] * columns + [0.8] * bool(parameters)
        halves = self.figure.add_gridspec(1, len(widths), width_ratios=widths)
        self._curve_panels, self._history_panels = {}, {}
        rows = math.ceil(len(curves) / columns)
        for column in range(columns if curves else 0):
            # The first curve is the one that is looked at most.
            ratios = [1.5 if row == column == 0 else 1.0 for row in range(rows)]
            cells = halves[column].subgridspec(rows, 1, height_ratios=ratios)
            for row, name in enumerate(curves[column * rows : (column + 1) * rows]):
                self._curve_panels[name] = self.figure.add_subplot(cells[row])
        if parameters:
            shared: Axes | None = None
            cells = halves[-1].subgridspec(len(parameters), 1)
            for row, parameter in enumerate(parameters):
                shared = self._history_panels[parameter] = self.figure.add_subplot(cells[row], sharex=shared)

    def _draw_title(self, snapshot: Snapshot) -> None:
        lines = [snapshot.title or "waiting for the first frame", snapshot.problem]
        text = "\n".join(plain(_shortened(line)) for line in lines if line)
        self.figure.suptitle(text, color=_FAILED if snapshot.failed else "black")

    def _draw_history(self, history: History) -> None:
        x, label = (history.x, history.label) if history.label else _since_first(history.x)
        last = list(self._history_panels)[-1]
        for parameter, panel in self._history_panels.items():
            with _view_kept(panel):
                for (name, values), color in zip(history.values[parameter].items(), cycle(_COLORS), strict=False):
                    size = 5 if x.size < 100 else 2.5
                    panel.plot(x, values, ".-", color=color, linewidth=0.9, markersize=size, label=plain(name))
                    panel.plot(x[-1:], values[-1:], "o", color=color, markersize=9, fillstyle="none")
                title = f"{_TITLES[parameter]}\n({_raised(history.units[parameter])})"
                finish(panel, label if parameter == last else "", title, None)
                panel.ticklabel_format(axis="y", useOffset=False, useMathText=True, scilimits=(-3, 5))
                panel.tick_params(labelbottom=parameter == last)
                if len(history.values[parameter]) > 1 and panel is next(iter(self._history_panels.values())):
                    panel.legend(loc="upper left", framealpha=1)


@contextmanager
def _view_kept(panel: Axes) -> Iterator[Axes]:
    """Clear a panel to draw it anew, and show again what part of it the user had zoomed to."""
    x = None if panel.get_autoscalex_on() else panel.get_xlim()
    y = None if panel.get_autoscaley_on() else panel.get_ylim()
    panel.clear()
    yield panel
    if x is not None:
        panel.set_xlim(x)
    if y is not None:
        panel.set_ylim(y)


def _since_first(times: FloatArray) -> tuple[FloatArray, str]:
    """Times since the first in a handy unit, and the title that says so."""
    first = datetime.fromtimestamp(times[0], tz=UTC).astimezone()
    span = times.max() - times.min()
    unit, seconds = ("h", 3600.0) if span > 3 * 3600 else ("min", 60.0) if span > 600 else ("s", 1.0)
    return (times - times[0]) / seconds, f"Time since {first:%H:%M:%S} ({unit})"


def _raised(unit: str) -> str:
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", unit)


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_TITLE else f"{text[: _MOST_TITLE - 1]}…"
