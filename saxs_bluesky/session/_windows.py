"""Windows of live plots in an IPython session, while the prompt waits and while a plan runs."""

from __future__ import annotations

import logging
import os
import threading

import matplotlib as mpl
from bluesky.utils import DefaultDuringTask
from matplotlib._pylab_helpers import Gcf

from saxs_bluesky.callbacks import LiveCurves
from saxs_bluesky.plotting import avoid_broken_qt, has_windows

_log = logging.getLogger(__name__)

_WINDOWS_EVERY = 0.05  # seconds: windows answer, and the plan's end is hardly late


def show_where_possible(live: LiveCurves) -> bool:
    """Open the window of the live plot in an IPython session that has a display; elsewhere, do nothing.

    Parameters
    ----------
    live
        The live plot.

    Returns
    -------
    Whether there is a window now.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    if shell is None or not has_windows(os.environ.get("MPLBACKEND", "auto")):
        return False
    try:
        avoid_broken_qt()
        # Lets windows live while the prompt waits for input.
        _, backend = shell.enable_matplotlib()
        if not has_windows(backend):
            return False
        live.show()
    # No display, no toolkit, a toolkit that does not start: a session goes on without the window.
    except Exception as error:  # noqa: BLE001 (each toolkit has errors of its own)
        _log.warning("no window for the live plot: %s", error)
        return False
    return True


class LiveWindows(DefaultDuringTask):
    """Keeps the windows of Matplotlib alive while a plan runs: a RunEngine's ``during_task``.

    bluesky's own does so for Qt alone.
    """

    def __init__(self) -> None:
        avoid_broken_qt()  # bluesky's starts Qt if Matplotlib would use it
        super().__init__()  # type: ignore[no-untyped-call]

    def block(self, blocking_event: threading.Event) -> None:
        """Wait until the plan has ended."""
        if "qt" in mpl.get_backend().lower() or threading.current_thread() is not threading.main_thread():
            super().block(blocking_event)  # type: ignore[no-untyped-call]
        while not blocking_event.wait(_WINDOWS_EVERY):
            for manager in Gcf.get_all_fig_managers():
                manager.canvas.flush_events()
