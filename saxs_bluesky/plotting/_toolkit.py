"""The toolkit that makes windows: one that does not end the program."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import subprocess
import sys

import matplotlib as mpl
from matplotlib.backends.registry import BackendFilter, backend_registry

from saxs_bluesky.errors import printable

_log = logging.getLogger(__name__)

_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_OTHERS = {"gtk4agg": "GTK 4", "gtk3agg": "GTK 3", "tkagg": "Tk", "wxagg": "wx"}  # in Matplotlib's order
_START_QT = "from matplotlib.backends.backend_qt import _create_qApp; _create_qApp()"
_PATIENCE = 60.0  # seconds for Qt to start; the first start after an installation reads a lot


def avoid_broken_qt() -> None:
    """Make Matplotlib use another toolkit where Qt would abort the program; from the main thread.

    Qt calls ``abort()`` where it cannot use a display, as PySide6 does without libxcb-cursor, and nothing
    can catch that. Whether it does is tried in a process of its own, once, and only if Matplotlib would
    use Qt, there is a display, and no Qt runs in this process yet. A warning tells which toolkit is used
    instead, and why.
    """
    backend = dict.__getitem__(mpl.rcParams, "backend")  # the usual way makes Matplotlib choose one
    if isinstance(backend, str) and "qt" not in backend.lower():
        return
    if _qt_runs() or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    failure = _failure_of_qt()
    if failure:
        _log.warning("Qt does not start on this display (%s): %s", failure, _use_another())


def has_windows(backend: str) -> bool:
    """True if a backend of Matplotlib makes windows, or is yet to be chosen (``auto``)."""
    headless = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    return backend.lower() not in {name.lower() for name in headless}


def can_open_windows() -> bool:
    """True if there is a display and a toolkit that makes windows on it, which is loaded; from the main thread."""
    import matplotlib.pyplot as plt  # only here, since it chooses a backend

    avoid_broken_qt()
    try:
        plt.draw_if_interactive()  # loads the backend; there is nothing to draw yet
    except ImportError:
        return False
    return has_windows(plt.get_backend())


def _qt_runs() -> bool:
    widgets = [sys.modules.get(f"{binding}.QtWidgets") for binding in _BINDINGS]
    return any(module is not None and module.QApplication.instance() is not None for module in widgets)


@functools.cache
def _failure_of_qt() -> str:
    """Why Qt ends a program here; empty if it does not, or is not installed."""
    if not any(importlib.util.find_spec(binding) for binding in _BINDINGS):
        return ""
    try:
        ended = subprocess.run(  # noqa: S603 (this interpreter)
            [sys.executable, "-c", _START_QT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it does not answer within {_PATIENCE:g} s"
    if ended.returncode >= 0:  # it works, or raises what Matplotlib understands
        return ""
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    needed = [line for line in lines if "needed" in line] or lines
    return printable(needed[0]) if needed else f"it ends the program by signal {-ended.returncode}"


def _use_another() -> str:
    """Make Matplotlib use the first other toolkit that can be loaded; what to tell of it."""
    import matplotlib.pyplot as plt

    for backend, toolkit in _OTHERS.items():
        if backend == "tkagg" and not os.environ.get("DISPLAY"):  # it has no other way to a display
            continue
        try:
            plt.switch_backend(backend)
        except (ImportError, ValueError):  # the latter comes of a GTK of another version
            continue
        mpl.rcParamsOrig["backend"] = backend  # where IPython looks
        return f"windows are made by {toolkit} instead"
    plt.switch_backend("agg")
    mpl.rcParamsOrig["backend"] = "agg"
    return "there are no windows, since there is no other toolkit (such as Tk)"
