"""Live pictures: what they show, and from which thread they are drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backend_bases import CloseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg

from saxs_bluesky.callbacks.live import LiveCurves
from saxs_bluesky.errors import OutputError

MakeRun = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_windows_left() -> Iterator[None]:
    yield
    plt.close("all")


def panels(live: LiveCurves) -> list[Axes]:
    return live.figure.axes


def panel(live: LiveCurves, title: str) -> Axes:
    (found,) = [axes for axes in panels(live) if title in (axes.get_title(), axes.get_ylabel().split("\n")[0])]
    return found


def shown(axes: Axes) -> np.ndarray:
    return np.asarray(axes.lines[0].get_xydata())


def title(live: LiveCurves) -> str:
    return live.figure.get_suptitle()


def test_before_the_first_frame_it_says_so() -> None:
    live = LiveCurves()
    live.draw()
    assert title(live) == "waiting for the first frame"


def test_latest_curves_are_shown(make_run: MakeRun) -> None:
    run = make_run(["/data/a.tif", "/data/b.tif"])
    live = LiveCurves(log=False)
    run.feed(live)
    live.draw()
    assert [axes.get_title() for axes in panels(live)[:3]] == ["R0 (radial)", "P1 (azimuthal)", "S2 (slice)"]
    for axes, curve in zip(panels(live), run.curves[1], strict=False):
        np.testing.assert_array_equal(shown(axes), np.column_stack([curve.axis, curve.intensity]))
        assert len(axes.collections) == 1  # the error band
    assert title(live) == "scan 7 · silver behenate · pilatus · frame 1 · b.tif"


def test_parameters_against_time(make_run: MakeRun) -> None:
    run = make_run()
    live = LiveCurves()
    run.feed(live)
    live.draw()
    wanted = [(3.5 * index, curves[0].integral.I2) for index, curves in enumerate(run.curves)]
    np.testing.assert_allclose(shown(panel(live, "Invariant I2")), wanted)
    assert panel(live, "Invariant I2").get_ylabel() == "Invariant I2\n(counts/pixel/nm$^{3}$)"
    assert panels(live)[-1].get_xlabel().startswith("Time since ")


def test_long_times_are_in_handy_units(make_run: MakeRun) -> None:
    live = LiveCurves()
    run = make_run()
    for name, doc in run.documents:
        if name == "event":
            doc["data"]["image_time"] = 1.7e9 + 300 * doc["data"]["frame_index"]
        live(name, doc)
    live.draw()
    assert panels(live)[-1].get_xlabel().endswith("(min)")
    np.testing.assert_allclose(shown(panel(live, "I0"))[:, 0], [0, 5, 10, 15, 20])


def test_parameters_against_the_scanned_motor(make_run: MakeRun) -> None:
    live = LiveCurves(parameters=["I0"])
    run = make_run(motor=True)
    run.feed(live)
    live.draw()
    wanted = [(0.25 * index, curves[0].integral.I0) for index, curves in enumerate(run.curves)]
    np.testing.assert_array_equal(shown(panel(live, "I0")), wanted)
    assert panels(live)[-1].get_xlabel() == "stage_x (mm)"


def test_time_may_be_wanted_in_a_scan(make_run: MakeRun) -> None:
    live = LiveCurves(against="time")
    make_run(motor=True).feed(live)
    live.draw()
    assert panels(live)[-1].get_xlabel().startswith("Time since ")


def test_curves_may_be_chosen(make_run: MakeRun) -> None:
    live = LiveCurves(curves=["S2"])
    make_run().feed(live)
    live.draw()
    assert [axes.get_title() for axes in panels(live)] == ["S2 (slice)"]


def test_unknown_parameter_is_named() -> None:
    with pytest.raises(OutputError, match="found I3"):
        LiveCurves(parameters=["I3"])


def test_failed_frame_is_told_and_leaves_a_gap(make_run: MakeRun) -> None:
    live = LiveCurves()
    run = make_run([f"/data/{name}.tif" for name in "abc"], failing=2)
    run.feed(live)
    live.draw()
    assert title(live).splitlines() == [
        "scan 7 · silver behenate · pilatus · frame 1 · b.tif",
        "1 of 3 frames failed, the latest is frame 2: /data/c.tif: wanted an image, found an empty file",
    ]
    np.testing.assert_array_equal(np.isnan(shown(panel(live, "I0"))[:, 1]), [False, False, True])


def test_run_of_failures_only(make_run: MakeRun) -> None:
    live = LiveCurves()
    make_run(["/data/a.tif"], failing=0).feed(live)
    live.draw()
    assert "1 of 1 frames failed" in title(live)


def test_scales_may_be_switched(make_run: MakeRun) -> None:
    live = LiveCurves()
    make_run().feed(live)
    live.draw()
    assert (panels(live)[0].get_xscale(), panels(live)[0].get_yscale()) == ("linear", "log")
    live.log, live.log_q = False, True
    live.draw()
    assert (panels(live)[0].get_xscale(), panels(live)[0].get_yscale()) == ("log", "linear")
    assert panels(live)[1].get_xscale() == "linear"


def test_new_run_begins_anew(make_run: MakeRun) -> None:
    live = LiveCurves()
    make_run(failing=1).feed(live)
    second = make_run(["", ""], scan_id=8)
    second.feed(live)
    live.draw()
    assert title(live) == "scan 8 · silver behenate · pilatus · frame 1"
    assert len(shown(panel(live, "I0"))) == 2


def test_start_of_a_run_keeps_the_last_picture(make_run: MakeRun) -> None:
    live = LiveCurves()
    make_run().feed(live)
    live(*make_run(scan_id=8).documents[0])
    live.draw()
    assert title(live).startswith("scan 7")


def test_one_of_two_detectors_may_be_followed(make_run: MakeRun) -> None:
    live = LiveCurves(detector="saxs")
    saxs, waxs = make_run(detector="saxs"), make_run(detector="waxs")
    for pair in zip(saxs.documents, waxs.documents, strict=True):
        for name, doc in pair:
            live(name, doc)
    live.draw()
    assert "· saxs ·" in title(live)


def test_only_the_last_frames_are_kept(make_run: MakeRun) -> None:
    live = LiveCurves(keep=3)
    make_run(motor=True).feed(live)
    live.draw()
    np.testing.assert_array_equal(shown(panel(live, "I0"))[:, 0], [0.5, 0.75, 1.0])


def test_documents_from_another_thread_draw_nothing(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveCurves()
    live.show()
    drawn: list[str] = []
    draw = FigureCanvasAgg.draw
    monkeypatch.setattr(
        FigureCanvasAgg, "draw", lambda canvas: (drawn.append(threading.current_thread().name), draw(canvas))
    )
    thread = threading.Thread(target=make_run().feed, args=(live,))
    thread.start()
    thread.join()
    assert drawn == []
    live._timer._on_timer()  # as the backend's event loop does
    assert drawn == ["MainThread"]
    assert "frame 4" in title(live)
    live._timer._on_timer()
    assert len(drawn) == 1  # nothing new


def test_drawing_leaves_time_to_others(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    live = LiveCurves()
    monkeypatch.setattr("saxs_bluesky.callbacks.live._live_curves.time.monotonic", lambda: now[0])

    def slow_draw() -> None:
        drawn.append(now[0])
        now[0] += 1.0
        live._drawn = live._version

    drawn: list[float] = []
    monkeypatch.setattr(live, "draw", slow_draw)
    for name, doc in make_run().documents:
        live(name, doc)
        live._tick()
        now[0] += 1.0
    assert drawn == [100.0, 103.0, 106.0, 109.0]


def test_zoom_of_the_user_stays(make_run: MakeRun) -> None:
    live = LiveCurves()
    run = make_run()
    for name, doc in run.documents[:3]:
        live(name, doc)
    live.draw()
    panels(live)[0].set_xlim(3, 5)
    for name, doc in run.documents[3:]:
        live(name, doc)
    live.draw()
    assert panels(live)[0].get_xlim() == (3, 5)
    assert panels(live)[0].get_autoscaley_on()
    assert "frame 4" in title(live)


def test_closed_window_is_drawn_no_more_and_can_be_opened_again(make_run: MakeRun) -> None:
    live = LiveCurves()
    live.show()
    first = live.figure
    assert live.show() is first
    first.canvas.callbacks.process("close_event", CloseEvent("close_event", first.canvas))  # as windows do
    plt.close(first)
    assert live._timer is None
    make_run().feed(live)
    assert live.show() is not first
    assert "frame 4" in title(live)


def test_window_is_refused_to_other_threads() -> None:
    live = LiveCurves()
    found: list[Exception] = []

    def show() -> None:
        try:
            live.show()
        except OutputError as error:
            found.append(error)

    thread = threading.Thread(target=show, name="worker")
    thread.start()
    thread.join()
    assert "wanted the main thread" in str(found[0])


def test_picture_is_saved_without_a_window(make_run: MakeRun, tmp_path: Path) -> None:
    live = LiveCurves()
    make_run().feed(live)
    assert live.save(tmp_path / "live.png").stat().st_size > 10_000
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("name", "change"),
    [("descriptor", {"configuration": 3}), ("event", {"data": {}}), ("start", {"uid": None, "detector": []})],
)
def test_it_never_raises(make_run: MakeRun, name: str, change: dict[str, Any]) -> None:
    live = LiveCurves()
    for kind, doc in make_run().documents:
        live(kind, doc | change if kind == name else doc)
    live("nonsense", {})
    live.draw()


def test_fault_of_a_picture_stays_in_the_log(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live = LiveCurves()
    make_run().feed(live)

    def broken() -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(live, "draw", broken)
    live._tick()
    assert "out of ink" in caplog.text
