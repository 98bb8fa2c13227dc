"""What a live merge keeps, and what it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from event_model import compose_run

from saxs_bluesky.callbacks import LiveMerge, Reduction
from saxs_bluesky.callbacks.merge import _logger_entries
from saxs_bluesky.callbacks.merge._live_merge import _without_arrays
from saxs_bluesky.callbacks.merge._logger_entries import LoggerEntries
from saxs_bluesky.documents import MergeCounts, MergedColumn, MergedRunComposer
from saxs_bluesky.reduction import Calibration
from tests.helpers.waiting import PATIENCE


def test_only_the_latest_entries_are_kept_in_the_order_of_their_times(monkeypatch: Any) -> None:
    monkeypatch.setattr(_logger_entries, "_KEPT", 10)
    descriptor = {
        "name": "oven",
        "time": 0.0,
        "data_keys": {"t": {"dtype": "number", "shape": [], "source": "test"}},
        "configuration": {},
    }
    entries = LoggerEntries(descriptor, "run", method=None, tolerance=None, offset=0.0)
    for time in [*range(30), 28.5]:
        entries.add({"time": float(time), "data": {"t": float(time)}})
    table = entries.table(-100.0, 100.0)
    seconds = table.times / 1e9
    assert len(seconds) <= 20
    assert seconds[-3:].tolist() == [28.0, 28.5, 29.0]
    assert table.columns["t"].tolist() == seconds.tolist()


def test_images_do_not_wait_in_memory() -> None:
    event = {"data": {"image": np.zeros((1000, 1000)), "curve": [1.0], "t": 1.0}, "time": 1.0}
    assert _without_arrays(event)["data"] == {"t": 1.0}
    assert event["data"].keys() == {"image", "curve", "t"}


def test_runs_of_which_nothing_was_reduced_are_given_up() -> None:
    live = LiveMerge()
    for _ in range(50):
        run = compose_run()
        live("start", dict(run.start_doc))
        live("stop", dict(run.compose_stop()))
    assert live.wait(PATIENCE)
    assert len(live._raw.runs()) <= 22
    live.close()


def test_merged_run_is_neither_reduced_nor_merged_again(document: dict[str, Any]) -> None:
    """Also one of images that come from no run, and that has paths of image files."""
    found: list[str] = []
    column = MergedColumn("image_path", "string", "images", "images")
    run = MergedRunComposer(None, [column], [])
    reduction = Reduction(Calibration.from_dict(document), [lambda name, _: found.append(name)])
    live = LiveMerge([lambda name, _: found.append(name)], reduced=False)
    for name, doc in (run.start, run.describe(), run.event(1.0, {"image_path": "a.tif"}), run.stop(MergeCounts())):
        reduction(name, doc)
        live(name, doc)
    reduction.close()
    live.close()
    assert found == []
    assert reduction.status.failed == 0
