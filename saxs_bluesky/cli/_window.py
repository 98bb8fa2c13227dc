"""A window beside the work of a command."""

from __future__ import annotations

import time
from collections.abc import Callable

from saxs_bluesky.callbacks import LiveCurves
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.plotting import can_open_windows

_PAUSE = 0.05  # seconds


class Window:
    """Shows the latest curves; used in the main thread.

    Raises
    ------
    SaxsError
        There is no display, or no toolkit for windows.
    """

    def __init__(self) -> None:
        if not can_open_windows():
            raise SaxsError("no display, or no toolkit for a window (Tk, or pip install pyside6)")
        import matplotlib.pyplot as plt  # only here, since it chooses a toolkit

        self._plt = plt
        #: What draws the curves: a sink.
        self.live = LiveCurves()
        self._figure = self.live.show()

    @property
    def is_open(self) -> bool:
        """True until it is closed."""
        return bool(self._plt.fignum_exists(self._figure.number))

    def live_on(self) -> None:
        """Answer the mouse, and draw what is new."""
        if self.is_open:
            self._figure.canvas.flush_events()

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Leave it open until somebody closes it, or ``stopped`` says so."""
        while self.is_open and not stopped():
            self.live_on()
            time.sleep(_PAUSE)
