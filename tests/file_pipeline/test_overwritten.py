"""Files that are overwritten between their event and their reduction."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.documents import FrameTask, TiffFrame
from saxs_bluesky.file_pipeline import FilePipeline
from saxs_bluesky.frame_job import CurveFiles, FrameResult
from saxs_bluesky.reduction import Calibration, PilatusHeader, read_chi, write_frame
from saxs_bluesky.sources import DirectorySource
from tests.helpers.waiting import PATIENCE

SHAPE = (60, 80)


def write(path: Path, value: int) -> None:
    path.parent.mkdir(exist_ok=True)
    write_frame(path, np.full(SHAPE, value), PilatusHeader(entries={"Exposure_time": f"{value}.0 s"}))


class Late(Executor):
    """Does the work here, after something has happened to the file."""

    def __init__(self, happens: Any) -> None:
        self._happens = happens

    def submit(self, work: Any, task: FrameTask, *arguments: Any, **_: Any) -> Future[FrameResult]:
        future: Future[FrameResult] = Future()
        future.set_result(work(self._happens(task), *arguments))
        return future


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    return Calibration.from_dict(document)


def run(folder: Path, calibration: Calibration, happens: Any) -> tuple[list[dict[str, Any]], FilePipeline]:
    events: list[dict[str, Any]] = []

    def keep(name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            events.append(doc["data"])

    reduction = Reduction(calibration, [keep], executor=Late(happens), files=CurveFiles(), patience=1)
    pipeline = FilePipeline(DirectorySource(folder), reduction)
    pipeline.run()
    assert reduction.close(PATIENCE)
    return events, pipeline


def mean(events: list[dict[str, Any]]) -> list[float]:
    return [float(np.nanmean(data["R0_intensity"])) for data in events if not data["failure"]]


def test_newer_content_is_reduced_once_before_a_single_run_ends(tmp_path: Path, calibration: Calibration) -> None:
    image = tmp_path / "data" / "a.tif"
    write(image, 1)
    happened = []

    def overwrite_once(task: FrameTask) -> FrameTask:
        if not happened:
            happened.append(task)
            assert not (tmp_path / "work").exists()
            write(image, 2)
        return task

    events, pipeline = run(tmp_path / "data", calibration, overwrite_once)
    assert [data["failure"] for data in events] == [
        f"{image}: the file was overwritten before it was reduced; its newer content is another event",
        "",
    ]
    assert mean(events) == [pytest.approx(2)]
    assert np.nanmean(read_chi(tmp_path / "work" / "a.chi").curve.intensity) == pytest.approx(2)
    numbers = pipeline.statistics
    assert (numbers.done, numbers.failed, numbers.superseded, numbers.outdated) == (1, 0, 1, 0)


def test_newer_content_that_goes_away_is_told(tmp_path: Path, calibration: Calibration) -> None:
    image = tmp_path / "data" / "a.tif"
    write(image, 1)

    def overwrite(task: FrameTask) -> FrameTask:
        write(image, 2)
        return task

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectorySource, "look_again", lambda _, path: Path(path).unlink())
        events, pipeline = run(tmp_path / "data", calibration, overwrite)
    assert len(events) == 1
    assert pipeline.statistics.outdated == 1


def test_worker_that_sees_other_inodes_goes_by_size_and_time(
    tmp_path: Path, calibration: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a computer with a network filesystem that numbers files in its own way."""
    for number in range(60):  # more than are in hand at a time
        write(tmp_path / "data" / f"{number:02d}.tif", number + 1)
    by_stamp: list[bool] = []

    def elsewhere(task: FrameTask) -> FrameTask:
        frame = task.reference
        assert isinstance(frame, TiffFrame)
        assert frame.content is not None
        by_stamp.append(frame.content.by_stamp)
        return replace(task, reference=replace(frame, content=replace(frame.content, stamp=frame.content.stamp ^ 1)))

    events, pipeline = run(tmp_path / "data", calibration, elsewhere)
    assert mean(events) == pytest.approx(range(1, 61))
    assert pipeline.statistics.superseded == 0
    assert (by_stamp[0], by_stamp[-1]) == (True, False)
    assert "workers see other inode numbers" in caplog.text
