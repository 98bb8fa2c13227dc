"""``saxsleash plot``: the latest curves of a server, in a window or in a figure for a file."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from matplotlib.figure import Figure

from saxs_bluesky.cli._figure import figure_in_window
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash import LeashClient, Response, graph_curves
from saxs_bluesky.plotting import Scale, compare_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_PANELS = 16
_POLL_SECONDS = 1.0  # seconds
_WINDOW_SECONDS = 0.05  # seconds


@dataclass(frozen=True)
class Style:
    """How curves are drawn: points that are left out at both ends, and scales of the axes."""

    skip: int
    clip: int
    x_scale: Scale
    y_scale: Scale


def draw_answer(figure: Figure, data: Mapping[str, Any], style: Style) -> None:
    """Draw the curves of an answer to ``plot``, each in a panel of its own, in place of what the figure shows.

    Raises
    ------
    SaxsError
        They cannot be drawn.
    """
    graphs = graph_curves(data, skip=style.skip, clip=style.clip)[:_MOST_PANELS]
    figure.clear()
    figure.suptitle(_title(data), fontsize="medium", parse_math=False)
    if not graphs:
        return
    columns = math.ceil(math.sqrt(len(graphs)))
    rows = math.ceil(len(graphs) / columns)
    panels = figure.subfigures(rows, columns, squeeze=False).ravel()
    for panel, graph in zip(panels, graphs, strict=False):
        compare_curves(
            [graph.curve],
            [graph.curve.name],
            x_scale=style.x_scale,
            y_scale=style.y_scale,
            title=graph.title,
            figure=cast("Figure", panel),  # a part of one has all that is needed
        )


def new_figure(data: Mapping[str, Any], style: Style) -> Figure:
    """Make a figure of the curves of an answer to ``plot``, to be saved in a file."""
    count = min(max(1, len(data.get("graphs", []))), _MOST_PANELS)
    columns = math.ceil(math.sqrt(count))
    figure = Figure(figsize=(1.5 + 5.5 * columns, 1.3 + 3.8 * math.ceil(count / columns)), layout="constrained")
    draw_answer(figure, data, style)
    return figure


def _title(data: Mapping[str, Any]) -> str:
    stat = data.get("stat", {})
    numbers = [f"{name} {stat[name]}" for name in ("images processed", "queue length") if name in stat]
    lines = (str(data.get("filename", "no image yet")), ", ".join(numbers))
    return "\n".join("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in x) for x in lines)


class PlotWindow:
    """A window with the latest curves of a server; used in the main thread.

    Parameters
    ----------
    style
        How curves are drawn.

    Raises
    ------
    OutputError
        There is no display, or no toolkit for windows.
    """

    def __init__(self, style: Style) -> None:
        import matplotlib.pyplot as plt  # only here, since it looks for a display

        self._figure = figure_in_window("saxsleash", example="-o plot.png")
        self._plt = plt
        self._style = style
        self._shown = ""

    def close(self) -> None:
        """Close the window."""
        self._plt.close(self._figure)

    def follow(self, client: LeashClient, stopped: Callable[[], bool]) -> None:
        """Ask once a second, and draw new curves, until the window is closed or ``stopped`` returns True.

        Raises
        ------
        SaxsError
            The first request failed. Later errors are shown in the window, and the server is asked again.
        """
        self._draw(client.plot())
        self._figure.show()
        with _polled_answers(client) as latest:
            while self._plt.fignum_exists("saxsleash") and not stopped():
                answer = latest()
                if answer is not None:
                    self._show_answer(answer)
                self._figure.canvas.flush_events()
                time.sleep(_WINDOW_SECONDS)

    def _show_answer(self, answer: Response | SaxsError) -> None:
        try:
            if isinstance(answer, SaxsError):
                raise answer
            self._draw(answer)
        except SaxsError as error:
            self._shown = ""
            self._figure.suptitle(str(error), fontsize="medium", color="#b00000", parse_math=False, wrap=True)
            self._figure.canvas.draw_idle()

    def _draw(self, answer: Response) -> None:
        stat = {name: value for name, value in answer.data.get("stat", {}).items() if name != "time"}
        content = repr((answer.result, answer.data.get("filename"), answer.data.get("graphs"), stat))
        if content == self._shown:
            return
        views = [_view(axes) for axes in self._figure.axes]
        draw_answer(self._figure, answer.data, self._style)
        for axes, view in zip(self._figure.axes, views, strict=False):
            axes.set(**view)
        if not answer.data.get("graphs"):
            self._figure.suptitle(f"no curves yet ({answer.result})", parse_math=False)
        self._figure.canvas.draw_idle()
        self._shown = content


def _view(axes: Axes) -> dict[str, tuple[float, float]]:
    """Limits that the user has chosen with the mouse."""
    view = {}
    if not axes.get_autoscalex_on():
        view["xlim"] = axes.get_xlim()
    if not axes.get_autoscaley_on():
        view["ylim"] = axes.get_ylim()
    return view


@contextmanager
def _polled_answers(client: LeashClient) -> Iterator[Callable[[], Response | SaxsError | None]]:
    """Ask in a thread, so that the window does not freeze; yields a function that returns the latest new answer."""
    latest: list[Response | SaxsError] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(_POLL_SECONDS):
            try:
                latest[:] = [client.plot()]
            except SaxsError as error:
                latest[:] = [error]

    thread = threading.Thread(target=ask, name="saxsleash", daemon=True)
    thread.start()
    try:
        yield lambda: latest.pop() if latest else None
    finally:
        stop.set()
        client.disconnect()
        thread.join()
