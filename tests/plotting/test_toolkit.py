"""Windows where Qt ends the program: with a binding that aborts, and with a real one that finds no plugin."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest

from tests.helpers.waiting import PATIENCE

SHOW = """
import matplotlib
from saxs_bluesky.callbacks import LiveCurves
LiveCurves().show()
print("alive with", matplotlib.get_backend())
"""
PROFILE = """
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import det
from saxs_bluesky.session import LiveWindows, show_where_possible
from saxs_bluesky.callbacks import LiveCurves
RE = RunEngine({}, during_task=LiveWindows())
print("window:", show_where_possible(LiveCurves()))
RE(count([det]))
print("alive with", __import__("matplotlib").get_backend())
"""
UNTRIED = """
import subprocess
from saxs_bluesky.plotting import avoid_broken_qt
subprocess.run = None  # calling it would fail
avoid_broken_qt()
print("alive")
"""


@pytest.fixture
def display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Environment with a display that takes connections and never answers, and a Qt that aborts when it is imported."""
    binding = tmp_path / "site" / "PyQt6" / "__init__.py"
    binding.parent.mkdir(parents=True)
    binding.write_text(
        "import os, sys\nsys.stderr.write('libxcb-cursor0 is needed\\n')\nsys.stderr.flush()\nos.abort()\n"
    )
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "wayland-9"))
        server.listen(100)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-9")
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("MPLBACKEND", raising=False)
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        if not mpl._c_internal_utils.display_is_valid():  # type: ignore[attr-defined]
            pytest.skip("needs the Wayland client library")
        yield dict(os.environ) | {"PYTHONPATH": str(binding.parents[1])}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_live_plot_does_not_end_the_session_where_qt_aborts(display) -> None:
    finished = run(display, "-c", SHOW)
    assert (finished.returncode, finished.stdout) == (0, "alive with agg\n")
    assert finished.stderr == (
        "Qt does not start on this display (libxcb-cursor0 is needed): "
        "there are no windows, since there is no other toolkit (such as Tk)\n"
    )


def test_profile_does_not_end_where_qt_aborts(display) -> None:
    finished = run(display, "-m", "IPython", "--no-banner", "--no-confirm-exit", "-c", PROFILE)
    assert finished.stdout.splitlines()[-2:] == ["window: False", "alive with agg"]
    assert finished.returncode == 0
    assert finished.stderr.count("Qt does not start") == 1


def test_real_qt_without_its_plugins_is_left_alone(display, tmp_path) -> None:
    found = importlib.util.find_spec("PySide6")
    if found is None or found.origin is None:
        pytest.skip("needs PySide6")
    display |= {
        "PYTHONPATH": str(Path(found.origin).parents[1]),
        "QT_QPA_PLATFORM_PLUGIN_PATH": str(tmp_path),
        "QT_API": "pyside6",
    }
    finished = run(display, "-m", "IPython", "--no-banner", "--no-confirm-exit", "-c", PROFILE)
    assert finished.stdout.splitlines()[-2:] == ["window: False", "alive with agg"]
    assert "Qt does not start on this display (" in finished.stderr


@pytest.mark.parametrize("missing", ["WAYLAND_DISPLAY", "PYTHONPATH"])
def test_nothing_is_tried_without_a_display_or_without_qt(display, missing) -> None:
    if missing == "PYTHONPATH" and importlib.util.find_spec("PySide6"):
        pytest.skip("Qt is installed")
    del display[missing]
    assert run(display, "-c", UNTRIED).stdout == "alive\n"


def test_toolkit_that_a_user_has_chosen_is_not_tried(display) -> None:
    assert run(display | {"MPLBACKEND": "tkagg"}, "-c", UNTRIED).stdout == "alive\n"
