"""A reduction whose frames hang, whose threads end, and whose sinks do not only raise exceptions."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.errors import PipelineError
from saxs_bluesky.file_pipeline import FilePipeline
from saxs_bluesky.reduction import Calibration, Reducer, write_frame
from saxs_bluesky.sources import DirectorySource, Readiness
from tests.helpers.waiting import PATIENCE, until


class Collected(list[tuple[str, dict[str, Any]]]):
    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.append((name, doc))

    @property
    def failures(self) -> list[str]:
        return [doc["data"]["failure"] for name, doc in self if name == "event"]


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> Path:
    (tmp_path / "data").mkdir()
    for number in range(5):
        write_frame(tmp_path / "data" / f"{number}.tif", rng.poisson(20, (60, 80)))
    return tmp_path / "data"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reading 2.tif does not come back before this is set."""
    from saxs_bluesky.frame_job import _frame_job as work

    gate, load = threading.Event(), work.load

    def slow(reference: Any, *more: Any, **keywords: Any) -> Any:
        if reference.path.endswith("2.tif"):
            gate.wait(PATIENCE)
        return load(reference, *more, **keywords)

    monkeypatch.setattr(work, "load", slow)
    yield gate
    gate.set()


def reduce(images: Path, calibration: Calibration, **keywords: Any) -> tuple[Reduction, Collected]:
    collected = Collected()
    reduction = Reduction(calibration, [collected], **keywords)
    for name, doc in DirectorySource(images, readiness=Readiness(settle=0.01)).documents():
        reduction(name, doc)
    return reduction, collected


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    calibration = Calibration.from_dict(document)
    _ = Reducer(calibration).template
    return calibration


def test_frame_that_hangs_in_the_reductions_own_thread_fails_alone(
    images: Path, calibration: Calibration, hanging: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    begin = time.monotonic()
    reduction, collected = reduce(images, calibration, task_seconds=2.0, patience=0.5)
    assert reduction.wait(PATIENCE)
    assert 2.0 < time.monotonic() - begin < 15.0
    path = images / "2.tif"
    text = f"{path}: not reduced within 2.5 s and given up: its file system may not answer"
    assert collected.failures == ["", "", text, "", ""]
    assert f"{path} is given up after 2 s" in caplog.text
    hanging.set()  # it comes back after all, and its result is nobody's
    assert reduction.close(PATIENCE)
    assert collected.failures == ["", "", text, "", ""]
    assert (reduction.status.reduced, reduction.status.failed) == (4, 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_frames_that_are_not_reduced_when_the_program_ends_are_told_in_the_stop_document(
    images: Path,
    calibration: Calibration,
    hanging: threading.Event,
    caplog: pytest.LogCaptureFixture,
    workers: int,
) -> None:
    executor = ThreadPoolExecutor(workers) if workers else None
    reduction, collected = reduce(images, calibration, executor=executor)
    until(lambda: len(collected.failures) == 2)
    reduction.leave(0.0, time.monotonic() + 0.5)
    assert collected.failures == ["", ""]
    assert collected[-1][1]["exit_status"] == "abort"
    text = "3 frames were not reduced: the program ended before; reduce_run does it again"
    assert collected[-1][1]["reason"] == text
    assert "the program ends, and 3 frames and 0 documents are not reduced any more" in caplog.text
    hanging.set()
    assert reduction.close(PATIENCE)
    if executor is not None:
        executor.shutdown()
    assert len(collected.failures) == 2


def test_all_is_reduced_when_the_program_ends_where_there_is_time(images: Path, calibration: Calibration) -> None:
    reduction, collected = reduce(images, calibration)
    reduction.leave(0.0, time.monotonic() + PATIENCE)
    assert collected.failures == [""] * 5
    assert collected[-1][1]["exit_status"] == "success"


@pytest.mark.logs_errors
def test_thread_that_ends_before_its_time_is_told_and_waited_for_by_nobody(
    images: Path, calibration: Calibration, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for method in ("_follow", "_reduce", "_deliver"):
        with monkeypatch.context() as patch:

            def broken(self: Any) -> None:
                raise MemoryError("no room")

            broken.__name__ = method
            patch.setattr(Reduction, method, broken)
            reduction, _ = reduce(images, calibration, window=2)
            assert not reduction.wait(PATIENCE)
            assert reduction.status.ended == f"unexpected MemoryError in its thread {method[1:]}: no room"
            reduction("start", {"uid": str(uuid4()), "time": 0.0})
            assert "is not reduced, nor are those after it: the reduction has ended" in caplog.text
            caplog.clear()
            begin = time.monotonic()
            assert not reduction.close(PATIENCE)
            assert time.monotonic() - begin < PATIENCE / 2


@pytest.mark.logs_errors
def test_pipeline_whose_reduction_has_ended_ends(
    images: Path, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(Reduction, "_deliver", broken)
    pipeline = FilePipeline(DirectorySource(images), Reduction(calibration))
    with pytest.raises(PipelineError, match="the reduction has ended: unexpected MemoryError"):
        pipeline.run()


def test_sink_that_exits_hurts_nobody_else(images: Path, calibration: Calibration) -> None:
    collected = Collected()
    reduction = Reduction(calibration, [lambda name, doc: sys.exit(3), collected])
    for name, doc in DirectorySource(images, readiness=Readiness(settle=0.01)).documents():
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert collected.failures == [""] * 5
    assert reduction.status.sink_errors == 8
    assert reduction.close(PATIENCE)


class Broken(Executor):
    """Workers that do not start."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("wanted workers that start, found none"))
        return future


def test_workers_that_do_not_start_are_told_of_once(
    images: Path, calibration: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    reduction, collected = reduce(images, calibration, executor=Broken())
    assert reduction.wait(PATIENCE)
    assert collected.failures == [""] * 5
    assert caplog.text.count("the workers do no more (wanted workers that start, found none)") == 1
    assert reduction.close(PATIENCE)


def test_reduction_that_is_abandoned_delivers_nothing_more(
    images: Path, calibration: Calibration, hanging: threading.Event
) -> None:
    reduction, collected = reduce(images, calibration)
    deadline = time.monotonic() + PATIENCE
    while len(collected.failures) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    waiting = ThreadPoolExecutor(1).submit(reduction.wait)
    reduction.abandon()
    hanging.set()
    # Nothing more comes, so nobody waits for it, however long they would.
    assert waiting.result(PATIENCE) is False
    assert not reduction.close()
    assert collected.failures == ["", ""]


@pytest.mark.logs_errors
def test_journal_that_fails_loses_what_it_was_given_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> None:
        raise ConnectionError("the catalog is away")

    writer = CatalogWriter(away, journal=tmp_path / "journal")
    append, failures = writer._journal.append, iter([OSError("input/output error")])

    def sometimes(batch: Any) -> Any:
        for error in failures:
            raise error
        return append(batch)

    monkeypatch.setattr(writer._journal, "append", sometimes)
    writer("start", {"uid": "one", "time": 0.0})
    assert writer.wait_for_journal(PATIENCE)
    writer("start", {"uid": "two", "time": 0.0})
    assert writer.wait_for_journal(PATIENCE)
    assert (writer.counters.lost, writer.counters.journaled) == (1, 1)
    assert "1 documents are lost: the journal could not take them (input/output error)" in caplog.text
    writer.close(0)
    assert writer.has_ended


@pytest.mark.logs_errors
def test_documents_after_the_end_are_told_once(
    images: Path, calibration: Calibration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reduction, collected = reduce(images, calibration)
    assert reduction.close(PATIENCE)
    writer = CatalogWriter(str(tmp_path / "away"), journal=tmp_path / "journal")
    writer.close(0)
    for _ in range(20):
        reduction("event", {"descriptor": ""})
        writer("event", {"descriptor": ""})
    assert [record.message for record in caplog.records if "document" in record.message] == [
        "a document (event) is not reduced, nor are those after it: the reduction has ended (it was closed)",
        "a document (event) is lost: the writer is closed; those after it are counted",
    ]
    assert writer.counters.lost == 20
    assert len(collected.failures) == 5
