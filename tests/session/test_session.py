"""Settings of a session: where they come from and what is refused."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from saxs_bluesky.callbacks import LiveCurves
from saxs_bluesky.errors import SchemaError
from saxs_bluesky.session import LiveWindows, load_settings, show_where_possible


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_are_a_simulated_beamline_in_the_working_folder(working_folder: Path) -> None:
    settings = load_settings({})
    assert settings.simulated
    assert (settings.catalog, settings.frames) == (str(working_folder / "catalog"), str(working_folder / "frames"))
    assert settings.calibration == ""


def test_file_in_the_working_folder_is_found(working_folder: Path) -> None:
    (working_folder / "beamline.toml").write_text('catalog = "http://localhost:8000/api"\noutput = "curves"\n')
    settings = load_settings({})
    assert settings.catalog == "http://localhost:8000/api"
    assert settings.output == str(working_folder / "curves")


def test_paths_are_relative_to_the_file_and_the_environment_comes_last(working_folder: Path) -> None:
    (working_folder / "etc").mkdir()
    (working_folder / "etc" / "saxs.toml").write_text('detector_prefix = "X13PIL:"\ncalibration = "cal.json"\n')
    settings = load_settings({"SAXS_BEAMLINE": "etc/saxs.toml", "SAXS_OUTPUT": "elsewhere"})
    assert settings.detector_prefix == "X13PIL:"
    assert settings.calibration == str(working_folder / "etc" / "cal.json")
    assert settings.output == str(working_folder / "elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('catalogue = "x"', 'beamline.toml: unknown key "catalogue", did you mean "catalog"?'),
        ("catalog = 3", "beamline.toml: catalog: wanted a text, found 3"),
        ("catalog = ", "beamline.toml: wanted TOML, found invalid value"),
        ('detector_prefix = "X:"', "beamline.toml: wanted a calibration for detector X:, found none"),
    ],
)
def test_bad_settings_are_refused(working_folder: Path, text: str, message: str) -> None:
    (working_folder / "beamline.toml").write_text(text)
    with pytest.raises(SchemaError) as caught:
        load_settings({})
    assert message in str(caught.value)


def test_file_that_is_named_must_be_there() -> None:
    with pytest.raises(SchemaError, match="wanted a file of settings, found No such file"):
        load_settings({"SAXS_BEAMLINE": "gone.toml"})


def test_windows_are_kept_alive_until_the_plan_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plt.figure()
    over, flushed = threading.Event(), []

    def flush() -> None:
        flushed.append(time.monotonic())
        if len(flushed) == 3:
            over.set()

    monkeypatch.setattr(figure.canvas, "flush_events", flush)
    LiveWindows().block(over)
    assert len(flushed) == 3
    plt.close(figure)


def test_plan_in_another_thread_touches_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plt.figure()
    over = threading.Event()
    monkeypatch.setattr(figure.canvas, "flush_events", lambda: pytest.fail("a window was touched"))
    thread = threading.Thread(target=LiveWindows().block, args=(over,))
    thread.start()
    time.sleep(0.2)
    over.set()
    thread.join(10)
    assert not thread.is_alive()
    plt.close(figure)


def test_no_window_is_opened_outside_of_ipython() -> None:
    live = LiveCurves()
    assert not show_where_possible(live)
