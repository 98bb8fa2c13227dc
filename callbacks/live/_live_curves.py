"""Live pictures of a reduced run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import TimerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saxs_bluesky.callbacks.live._live_data import LiveData
from saxs_bluesky.callbacks.live._live_picture import SIZE, LivePicture
from saxs_bluesky.errors import OutputError
from saxs_bluesky.plotting import avoid_broken_qt, save_figure

_log = logging.getLogger(__name__)


class LiveCurves:
    """A sink for the documents of reduced runs that shows the latest curves and integral parameters.

    Documents may come from any thread and are only noted. Pictures are drawn in the GUI's thread, by a timer
    of the figure's canvas, which draws what is newest; frames in between are left out. At an IPython
    prompt: ``live.show()``. Without a display: ``live.draw()``, or ``live.save("live.png")``.

    The run shown is the one that began last. Each run starts its parameters anew and keeps the latest
    ``keep`` frames.

    Parameters
    ----------
    curves
        Names of the curves to show; None: all.
    parameters
        Which integral parameters to show, of ``I0``, ``I1``, ``I2``, ``correlation_length``; those of radial curves.
    against
        Data key of the scanned motor to draw them against, or ``time``; None: the motor of a scan with one
        dimension, the time otherwise.
    detector
        Name of the detector to follow, where several are reduced; None: any.
    log
        Logarithmic intensity.
    log_q
        Logarithmic q, for radial curves.
    keep
        How many frames to keep the parameters of.
    interval
        Least time between two pictures, seconds. Drawing never takes more than a third of the GUI's time.

    Attributes
    ----------
    figure
        Where pictures are drawn; `show` makes it another.
    log, log_q
        Whether the intensity, and q in radial curves, are logarithmic; may be set at any time.

    Raises
    ------
    OutputError
        A parameter is none.
    """

    def __init__(
        self,
        *,
        curves: Sequence[str] | None = None,
        parameters: Sequence[str] = ("I0", "I2", "correlation_length"),
        against: str | None = None,
        detector: str | None = None,
        log: bool = True,
        log_q: bool = False,
        keep: int = 2000,
        interval: float = 0.2,
    ) -> None:
        # What documents bring, from any thread, under the lock.
        self._lock = threading.Lock()
        self._data = LiveData(curves, parameters, against, detector, keep)
        self.log = log
        self.log_q = log_q
        self._changes = 0

        # What pictures need, in the thread that draws.
        self.figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasAgg(self.figure)  # one that draws without a display, in place of one that does not draw
        self._picture = LivePicture(self.figure)
        self._timer: TimerBase | None = None
        self._interval = interval
        self._drawn: object = None
        self._not_before = 0.0

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note what a document brings; it never raises."""
        try:
            with self._lock:
                self._changes += self._data.note_document(name, doc)
        # A picture is not worth a measurement.
        except Exception:  # noqa: BLE001
            _log.warning("LiveCurves: a %s document could not be understood", name, exc_info=True)

    @property
    def _version(self) -> tuple[int, bool, bool]:
        """Another one where there is something new to draw."""
        return self._changes, self.log, self.log_q

    def draw(self) -> None:
        """Draw what is newest, now; in the GUI's thread where the figure is in a window."""
        with self._lock:
            self._drawn, snapshot = self._version, self._data.snapshot(log=self.log, log_q=self.log_q)
        self._picture.draw(snapshot)
        self.figure.canvas.draw()

    def save(self, path: str | Path) -> Path:
        """Write a picture of what is newest, in the format that the suffix says; from any thread.

        Raises
        ------
        OutputError
            The suffix stands for no format, or the file cannot be written.
        """
        with self._lock:
            snapshot = self._data.snapshot(log=self.log, log_q=self.log_q)
        # On a figure of its own: that of a window belongs to the GUI's thread.
        picture = LivePicture(Figure(figsize=SIZE, layout="constrained"))
        picture.draw(snapshot)
        return save_figure(picture.figure, path)

    def show(self) -> Figure:
        """Open a window that follows the run, or bring it to the front; from the main thread.

        Returns
        -------
        The figure, which notebooks show.

        Raises
        ------
        OutputError
            This is not the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            found = threading.current_thread().name
            raise OutputError(f"LiveCurves.show: wanted the main thread, where windows live, found thread {found}")
        # pyplot chooses a backend when it is imported: only those who want a window need one.
        import matplotlib.pyplot as plt

        avoid_broken_qt()
        if self.figure.canvas.manager is None or not plt.fignum_exists(self.figure.number):
            self.figure = plt.figure(figsize=SIZE, layout="constrained")
            self._picture = LivePicture(self.figure)
            self.follow()
        self.draw()
        self.figure.show(warn=False)
        return self.figure

    def follow(self) -> None:
        """Redraw from now on by a timer of the figure's canvas; in the GUI's thread.

        `show` does it. Programs that put ``figure`` on a canvas of their own call it after that.
        """
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.figure.canvas.new_timer(interval=max(1, round(1000 * self._interval)))
        self._timer.add_callback(self._tick)
        self.figure.canvas.mpl_connect("close_event", self._stop_following)
        self._timer.start()

    def _stop_following(self, event: object) -> None:  # noqa: ARG002 - the signature that Matplotlib wants
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _tick(self) -> None:
        begin = time.monotonic()
        if self._version == self._drawn or begin < self._not_before:
            return
        try:
            self.draw()
        # In a GUI's event loop: an exception can end the program.
        except Exception:  # noqa: BLE001
            _log.warning("LiveCurves: the picture could not be drawn", exc_info=True)
        end = time.monotonic()
        self._not_before = end + 2 * (end - begin)
