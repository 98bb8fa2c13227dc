"""A file whose failure is known already: nobody waits for it, or reads it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.documents import RawRun
from saxs_bluesky.frame_job import reduced_documents
from saxs_bluesky.reduction import Calibration, Reducer, stamp_of, write_frame
from saxs_bluesky.sources import FoundFile, RawRunComposer
from tests.helpers.waiting import PATIENCE


def found(path: Path) -> FoundFile:
    status = path.stat()
    return FoundFile(str(path), stamp_of(status), status.st_size, status.st_mtime, None)


def raw_documents(good: Path, failed: Path) -> list[tuple[str, dict[str, Any]]]:
    run = RawRunComposer({})
    events = [
        run.event(FoundFile(str(failed), 1, 0, 1.0, None, f"{failed}: cut short")),
        run.event(found(good)),
    ]
    return [*run.opening, *events, run.stop()]


def test_failure_of_an_event_is_that_of_its_frame(tmp_path: Path, document: dict[str, Any]) -> None:
    write_frame(tmp_path / "a.tif", np.ones((60, 80)))
    write_frame(tmp_path / "b.tif", np.ones((60, 80)))  # whole by now: another event will tell
    documents = raw_documents(tmp_path / "a.tif", tmp_path / "b.tif")
    raw = RawRun(documents[0][1])
    tasks = [task for name, doc in documents for task in raw.frames(name, doc)]
    assert [task.failure for task in tasks] == [f"{tmp_path / 'b.tif'}: cut short", ""]
    reduced = [
        doc["data"]
        for name, doc in reduced_documents(documents, Reducer(Calibration.from_dict(document)))
        if name == "event"
    ]
    assert reduced[0]["image_path"] == str(tmp_path / "b.tif")
    assert reduced[0]["failure"] == f"{tmp_path / 'b.tif'}: cut short"


def test_nobody_waits_for_files_that_failed(tmp_path: Path, document: dict[str, Any]) -> None:
    write_frame(tmp_path / "a.tif", np.ones((60, 80)))
    run = RawRunComposer({})
    events: list[dict[str, Any]] = []
    reduction = Reduction(
        Calibration.from_dict(document),
        [lambda name, doc: events.append(doc) if name == "event" else None],
        patience=60.0,
    )
    for name, doc in run.opening:
        reduction(name, doc)
    begin = time.monotonic()
    for number in range(100):
        reduction(*run.event(FoundFile(f"/absent/{number}.tif", 0, 0, float("nan"), None, f"{number}: absent")))
    reduction(*run.event(found(tmp_path / "a.tif")))
    reduction(*run.stop())
    assert reduction.close(PATIENCE)
    assert time.monotonic() - begin < 20
    assert [event["data"]["failure"] for event in events] == [*(f"{number}: absent" for number in range(100)), ""]
