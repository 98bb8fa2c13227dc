"""From files to curves and documents: what a pipeline makes of them, and what is left of it when it is killed."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest

from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction
from saxs_bluesky.callbacks.catalog_writer._run_journal import decode
from saxs_bluesky.errors import OutputError
from saxs_bluesky.file_pipeline import FilePipeline, ProgressJournal
from saxs_bluesky.frame_job import CurveFiles, OutputNames
from saxs_bluesky.reduction import Calibration, PilatusHeader, Reducer, read_chi, read_frame, stamp_of, write_frame
from saxs_bluesky.sources import DirectorySource, FileSource, Readiness
from tests.helpers.calibrations import small_document
from tests.helpers.crashing import KILLED, MOMENTS, away
from tests.helpers.repository import ROOT
from tests.helpers.waiting import PATIENCE

HEADER = PilatusHeader(entries={"Exposure_time": "1.0 s"})
FILES = CurveFiles(OutputNames())
NamedDocument = tuple[str, dict[str, Any]]


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    """R0 and S1 of the small detector."""
    document["Slices"] = [{"CutPosition": 5}]
    return Calibration.from_dict(document)


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Six images in three folders."""
    return make_images(tmp_path, rng)


def make_images(folder: Path, rng: np.random.Generator) -> Path:
    for number in range(6):
        path = folder / "data" / f"{number % 3}" / f"image_{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frame(path, rng.poisson(20, (60, 80)), HEADER)
    return folder / "data"


def images(data: Path) -> list[Path]:
    return sorted(data.rglob("*.tif"))


def chi(image: Path) -> Path:
    return image.parents[1] / "work" / f"{image.stem}.chi"


class Run:
    """A pipeline that has come to its end, and the documents that it made."""

    def __init__(
        self,
        data: Path,
        calibration: Calibration,
        *,
        files: CurveFiles | None = FILES,
        source: FileSource | None = None,
        deadline: float = 0.1,
        **parts: Any,
    ) -> None:
        self.raw: list[NamedDocument] = []
        self.reduced: list[NamedDocument] = []
        self.reduction = _Overheard(self.raw, calibration, [self.take], files=files, patience=0.1)
        source = source or DirectorySource(data, readiness=Readiness(settle=0.001, quiet=0.01, deadline=deadline))
        self.pipeline = FilePipeline(source, self.reduction, **parts)
        self.pipeline.run()
        assert self.reduction.wait_for_frames(PATIENCE)
        self.reduction.close(0)  # no wait for a catalog that is away

    def take(self, name: str, doc: dict[str, Any]) -> None:
        self.reduced.append((name, doc))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [doc["data"] for name, doc in self.reduced if name == "event"]

    @property
    def by_name(self) -> dict[str, dict[str, Any]]:
        return {Path(event["image_path"]).name: event for event in self.events}


class _Overheard(Reduction):
    def __init__(self, heard: list[NamedDocument], *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._heard = heard

    def __call__(self, name: str, doc: Any) -> None:
        self._heard.append((name, doc))
        super().__call__(name, doc)


def assert_curve_is_current(image: Path, reducer: Reducer) -> None:
    frame = read_frame(image)
    targets = CurveFiles().targets(image, ["R0", "S1"])
    for path, curve in zip(targets, reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff), strict=True):
        np.testing.assert_array_equal(read_chi(path).curve.intensity, curve.intensity)


# What it makes


def test_documents_are_as_the_schemas_have_them(data: Path, calibration: Calibration) -> None:
    (data / "0" / "short.tif").write_bytes(images(data)[0].read_bytes()[:-10])
    run = Run(data, calibration)
    for documents in (run.raw, run.reduced):
        assert [name for name, _ in documents] == ["start", "descriptor", *["event"] * 7, "stop"]
        for name, doc in documents:
            as_json = json.loads(json.dumps(doc, default=np.ndarray.tolist))
            event_model.schema_validators[event_model.DocumentNames[name]].validate(as_json)
        descriptor = documents[1][1]
        for _, event in documents[2:-1]:
            assert event["data"].keys() == event["timestamps"].keys() == descriptor["data_keys"].keys()
        assert [event["seq_num"] for _, event in documents[2:-1]] == list(range(1, 8))
        assert documents[-1][1]["num_events"] == {"primary": 7}
    assert run.reduced[0][1]["original_run_uid"] == run.raw[0][1]["uid"]


def test_events_tell_the_files_of_the_curves(data: Path, calibration: Calibration) -> None:
    (data / "0" / "short.tif").write_bytes(images(data)[0].read_bytes()[:-10])
    run = Run(data, calibration)
    for image in images(data):
        event = run.by_name[image.name]
        written = {key: event[key] for key in ("R0_file", "S1_file", "file_failure")}
        if image.name == "short.tif":
            assert written == {"R0_file": "", "S1_file": "", "file_failure": ""}
            assert "found a file cut short" in event["failure"]
        else:
            slice_file = str(chi(image)).replace(".chi", "_cS1.chi")
            assert written == {"R0_file": str(chi(image)), "S1_file": slice_file, "file_failure": ""}
            assert event["failure"] == ""
    assert (run.pipeline.statistics.done, run.pipeline.statistics.failed) == (6, 1)


def test_order_of_the_files_is_kept(data: Path, calibration: Calibration, tmp_path: Path) -> None:
    run = Run(data, calibration, curves=CurveList(data, keep=False))
    wanted = [str(path) for path in images(data)]
    assert [doc["data"]["image_path"] for name, doc in run.raw if name == "event"] == wanted
    assert [event["image_path"] for event in run.events] == wanted
    lines = (tmp_path / "results" / "filelist_data.log").read_text().splitlines()
    assert [line.split(", ")[0] for line in lines[::2]] == [
        f"/{os.path.relpath(chi(image), tmp_path)}" for image in images(data)
    ]


def test_second_image_that_would_write_to_the_same_file_is_refused(
    data: Path, calibration: Calibration, rng: np.random.Generator
) -> None:
    first = data / "0" / "image_0.tif"
    second = data / "1" / "image_0.tif"
    write_frame(second, rng.poisson(30, (60, 80)), HEADER)
    run = Run(data, calibration)
    failures = {event["image_path"]: event["failure"] for event in run.events if event["failure"]}
    assert failures == {
        str(second): f"{second}: wanted names of its own for its curves, "
        f"found those of {first} at {data / 'work' / 'image_0'}"
    }
    assert_curve_is_current(first, Reducer(calibration))


# What takes no more


def test_file_in_the_way_of_the_curves_costs_files_and_no_curve(data: Path, calibration: Calibration) -> None:
    (data / "work").write_text("in the way")
    run = Run(data, calibration, curves=CurveList(data, keep=False))
    statistics = run.pipeline.statistics
    assert (statistics.done, statistics.failed, statistics.unwritten) == (6, 0, 6)
    for event in run.events:
        assert event["file_failure"] == f"{data / 'work'}: wanted a folder to write curves to, found File exists"
        assert (event["R0_file"], event["S1_file"]) == ("", "")
        assert np.isfinite(event["R0_intensity"]).any()
    assert (data.parent / "results" / "filelist_data.log").read_text() == ""


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond a size meanwhile: for those who write, a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_disk_that_is_full_costs_files_and_no_curve(data: Path, calibration: Calibration) -> None:
    with largest_file(2000):
        run = Run(data, calibration)
    assert run.pipeline.statistics.unwritten == 6
    for event in run.events:
        assert "the curve cannot be written (File too large)" in event["file_failure"]
        assert np.isfinite(event["R0_intensity"]).any()
    assert list((data / "work").iterdir()) == []  # nothing by half


def test_list_that_cannot_be_written_costs_its_lines_and_is_told_once(
    data: Path, calibration: Calibration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    curves = CurveList(data, keep=False)
    path = tmp_path / "results" / "filelist_data.log"
    path.unlink()
    path.symlink_to("/dev/full")
    run = Run(data, calibration, curves=curves)
    assert curves.failed == 12
    assert caplog.messages == [f"{path}: a curve cannot be listed (No space left on device)"]
    statistics = run.pipeline.statistics
    assert (statistics.done, statistics.failed, statistics.unwritten) == (6, 0, 0)


def test_journal_that_cannot_be_written_costs_no_curve_and_is_told_once(
    data: Path, calibration: Calibration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = ProgressJournal(tmp_path / "state")
    with largest_file(4000):
        run = Run(data, calibration, files=None, progress=progress)
    progress.close()
    assert run.pipeline.statistics.done == 6
    (message,) = caplog.messages
    assert message.endswith("(No space left on device): after a crash, more images are done again than needed")


# The journal


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], ProgressJournal]]:
    journals: list[ProgressJournal] = []

    def begin() -> ProgressJournal:
        for journal in journals:
            journal.close()
        journals.append(ProgressJournal(tmp_path / "state"))
        return journals[-1]

    yield begin
    for journal in journals:
        journal.close()


Open = Callable[[], ProgressJournal]


def event(number: int) -> dict[str, Any]:
    return {"seq_num": number, "data": {"image_path": f"{number}.tif", "file_stamp": number}}


def noted(progress: ProgressJournal, *numbers: int) -> None:
    progress.note_document("start", {"uid": "u"})
    for number in numbers:
        progress.note_document("event", event(number))


def journal(tmp_path: Path) -> Path:
    return tmp_path / "state" / "progress.jsonl"


def test_journal_tells_what_a_program_left(opened: Open) -> None:
    progress = opened()
    assert progress.interrupted is None
    progress.begin("this", [("0.tif", 0)])
    noted(progress, 1, 2)
    progress.note_done(1, 100)
    progress.note_catalogued({"reduced": [(0, 1)]})
    left = opened().interrupted
    assert left is not None
    assert left.identity == "this"
    assert left.before == 1
    assert left.files == [("0.tif", 0), ("1.tif", 1), ("2.tif", 2)]
    assert (left.done, left.catalogued, left.ended) == (1, {"reduced": [(0, 1)]}, False)
    assert [left.list_size(frames) for frames in (0, 1, 2)] == [0, 100, 100]
    progress = opened()
    progress.note_end()
    left = opened().interrupted
    assert left is not None
    assert left.ended


def test_nothing_is_left_of_what_came_to_its_end(opened: Open, tmp_path: Path) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    progress.clear()
    assert opened().interrupted is None
    assert not journal(tmp_path).exists()


@pytest.mark.parametrize("length", [1, 40])
def test_line_that_was_cut_short_is_left_out(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    progress = opened()
    progress.begin("this")
    noted(progress, 1, 2, 3)
    content = journal(tmp_path).read_bytes()
    journal(tmp_path).write_bytes(content[:-length])
    progress = opened()
    assert progress.interrupted is not None
    assert progress.interrupted.files == [("1.tif", 1), ("2.tif", 2)]
    assert "bytes are cut short and left out, set aside in" in caplog.text
    assert not progress.interrupted.is_damaged
    progress.note_document("event", event(3))
    left = opened().interrupted
    assert left is not None
    assert [path for path, _ in left.files] == ["1.tif", "2.tif", "3.tif"]


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 50,
        b"\xff\xfe garbage",
        b"[" * 100_000,
        b'["event"]',
        b'["of the future",1]',
        b'["known",7,"stamp"]',
        b'["known","folder","a/b","12"]',
        b'["known","folder","a","not hex"]',
        b"[]",
        b"{}",
        b"null",
        b'"text"',
        b'[["start"],{}]',
        b'["done",-1,0]',
        b'["done",1e3,0]',
        b'["event",{}]',
        b'["catalogued",{"uid":[[1]]}]',
        b'["catalogued",[7]]',
        b'["event",{"seq_num":1,"data":{"image_path":"x","file_stamp":1}},"00000000"]',
    ],
    ids=lambda line: line[:20].decode(errors="replace").replace("\0", "0"),
)
def test_line_that_is_damaged_costs_itself_and_is_kept(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    progress = opened()
    progress.begin("this")
    noted(progress, 1, 2, 3)
    progress.note_done(2, 50)
    lines = journal(tmp_path).read_bytes().splitlines(keepends=True)
    journal(tmp_path).write_bytes(b"".join([*lines[:-2], line + b"\n", *lines[-2:]]))
    left = opened().interrupted
    assert left is not None
    assert left.files == [("1.tif", 1), ("2.tif", 2), ("3.tif", 3)]
    assert (left.done, left.list_size(2)) == (2, 50)
    (kept,) = (tmp_path / "state").glob("progress.jsonl.damaged-*")
    assert kept.read_bytes() == line + b"\n"
    assert f"1 lines are damaged, set aside in {kept}" in caplog.text
    caplog.clear()
    again = opened().interrupted
    assert again is not None
    assert again.files == left.files
    assert caplog.messages == []  # the file is whole again


def test_event_whose_line_is_damaged_is_missed(opened: Open, tmp_path: Path) -> None:
    progress = opened()
    progress.begin("this")
    noted(progress, 1, 2, 3, 4)
    content = journal(tmp_path).read_bytes()
    journal(tmp_path).write_bytes(content.replace(b'"2.tif"', b'"2\0tif"').replace(b'["event",{"seq_num":3', b'["e'))
    left = opened().interrupted
    assert left is not None
    assert left.is_damaged
    assert left.missing() == [2, 3]
    assert left.named == ["3.tif"]
    assert left.files == [("1.tif", 1), ("4.tif", 4)]


def test_event_whose_line_is_damaged_elsewhere_still_tells_its_file(opened: Open, tmp_path: Path) -> None:
    image = tmp_path / "image.tif"
    image.write_bytes(b"content")
    data = {"image_path": str(image), "file_stamp": stamp_of(image.stat()), "exposure_time": 12.5}
    progress = opened()
    progress.begin("this")
    noted(progress)
    progress.note_document("event", {"seq_num": 1, "data": data})
    content = journal(tmp_path).read_bytes()
    journal(tmp_path).write_bytes(content.replace(b"12.5", b"13.5"))
    left = opened().interrupted
    assert left is not None
    assert left.events == {}
    assert left.verified == {1: (str(image), stamp_of(image.stat()))}


@pytest.mark.parametrize("harm", ["emptied", "removed", "folder", "newer", "zeros"])
def test_journal_that_is_gone_is_missed_and_what_was_to_be_done_is_known(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    progress.note_document("start", {"uid": "u"})
    progress.note_document("descriptor", {"uid": "d", "run_start": "u"})
    progress.note_document("event", event(1))
    if harm == "emptied":
        journal(tmp_path).write_bytes(b"")
    elif harm == "zeros":
        journal(tmp_path).write_bytes(b"\0" * 4096)
    elif harm == "newer":
        journal(tmp_path).write_bytes(b'["journal",3,"more","than",["this"]]\n')
    else:
        journal(tmp_path).unlink()
        if harm == "folder":
            journal(tmp_path).mkdir()
    left = opened().interrupted
    assert left is not None
    assert left.is_damaged
    assert "the journal of a run that had begun is gone or empty" in caplog.text
    assert (left.identity, left.start, left.files) == ("this", {"uid": "u"}, [("0.tif", 0)])
    if harm in ("folder", "newer"):
        assert len(list((tmp_path / "state").glob("progress.jsonl.damaged-*"))) == 1


def test_beginning_that_is_damaged_is_known_from_its_copy(opened: Open, tmp_path: Path) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    progress.note_document("start", {"uid": "u"})
    progress.note_document("descriptor", {"uid": "d", "run_start": "u"})
    progress.note_document("event", event(1))
    lines = journal(tmp_path).read_bytes().splitlines(keepends=True)
    journal(tmp_path).write_bytes(b"".join([b"damaged\n"] * (len(lines) - 1) + lines[-1:]))
    left = opened().interrupted
    assert left is not None
    assert (left.identity, left.before, left.files) == ("this", 1, [("0.tif", 0), ("1.tif", 1)])
    assert [name for name, _ in left.documents] == ["start", "descriptor", "event"]


def test_journal_of_the_first_version_is_taken_over(opened: Open, tmp_path: Path) -> None:
    journal(tmp_path).parent.mkdir()
    lines = [["identity", "this"], ["known", "/data/0.tif", 0], ["start", {"uid": "u"}]]
    lines += [["event", event(1)], ["event", event(2)], ["done", 1, 100], ["catalogued", 1]]
    journal(tmp_path).write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    progress = opened()
    left = progress.interrupted
    assert left is not None
    assert left.files == [("/data/0.tif", 0), ("1.tif", 1), ("2.tif", 2)]
    assert (left.before, left.done, left.list_size(1), left.catalogued) == (1, 1, 100, {"": [(0, 1)]})
    progress.go_on("this", left, 3)
    left = opened().interrupted
    assert left is not None
    assert (left.before, left.files) == (3, [("/data/0.tif", 0), ("1.tif", 1), ("2.tif", 2)])


def test_journal_of_the_first_version_knows_its_task_by_another_text(opened: Open, tmp_path: Path) -> None:
    journal(tmp_path).parent.mkdir()
    journal(tmp_path).write_bytes(b'["identity","before"]\n["known","/data/0.tif",0]\n')
    progress = opened()
    progress.adopt("another", "now")
    assert progress.interrupted is not None
    assert progress.interrupted.identity == "before"
    progress.adopt("before", "now")
    assert progress.interrupted.identity == "now"
    progress.go_on("now", progress.interrupted, 1)
    progress = opened()
    progress.adopt("now", "later")  # it is of the second version
    assert progress.interrupted is not None
    assert progress.interrupted.identity == "now"


# Its size


def test_journal_that_is_compacted_knows_the_same(opened: Open, tmp_path: Path) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    noted(progress, *range(1, 201))
    for number in range(1, 191):
        progress.note_done(number, 10 * number)
    progress.compact(180)
    assert b'"event"' not in b"".join(path.read_bytes() for path in (tmp_path / "state").glob("known-*"))
    assert journal(tmp_path).read_bytes().count(b'"event"') == 20
    noted_after = [201, 202]
    for number in noted_after:
        progress.note_document("event", event(number))
    left = opened().interrupted
    assert left is not None
    assert sorted(left.files) == sorted((f"{number}.tif", number) for number in range(203))
    assert (left.before, left.compacted, left.done, left.missing()) == (1, 180, 190, [])
    assert [left.list_size(frames) for frames in (180, 181, 190)] == [1800, 1810, 1900]
    assert list(left.events) == list(range(181, 203))


def test_last_file_stays_in_the_journal_since_there_may_be_more_of_it(opened: Open) -> None:
    progress = opened()
    progress.begin("this")
    noted(progress, 1)
    for number in (2, 3):  # pages of a file
        progress.note_document("event", {"seq_num": number, "data": {"image_path": "pages.tif", "file_stamp": 7}})
    progress.compact(3)
    left = opened().interrupted
    assert left is not None
    assert (left.compacted, list(left.events)) == (1, [2, 3])


class StopHere(BaseException):
    """Raised in place of a kill."""


@pytest.mark.parametrize("step", range(12))
def test_compaction_that_is_cut_short_at_any_step_loses_nothing(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Each call that changes a file is the last one."""
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    noted(progress, *range(1, 101))
    for number in range(1, 101):
        progress.note_done(number, number)
    progress.compact(50)
    progress.note_asked_again("/data")
    for number in range(101, 201):
        progress.note_document("event", event(number))
        progress.note_done(number, number)
    steps = iter(range(100))

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if next(steps) == step:
                raise StopHere
            return method(*arguments, **keywords)

        return call

    with monkeypatch.context() as patched:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "open")):
            patched.setattr(owner, name, counted(getattr(owner, name)))
        with suppress(StopHere):
            progress.compact(180)
    left = opened().interrupted
    assert left is not None
    assert sorted(left.files) == sorted((f"{number}.tif", number) for number in range(101, 201))
    assert left.missing() == []
    assert left.done == 200
    assert left.list_size(190) == 190
    assert left.asked == [("/data", True)]


def test_images_that_are_asked_for_again_are_not_known_after_a_crash(opened: Open) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    noted(progress, 1, 2, 3)
    progress.note_asked_again("/data")
    progress.note_document("event", event(4))
    left = opened().interrupted
    assert left is not None
    assert left.files == [("4.tif", 4)]
    assert left.asked == [("/data", True)]
    progress = opened()
    assert progress.interrupted is not None
    progress.go_on("this", progress.interrupted, 5)
    noted(progress, 1)
    left = opened().interrupted
    assert left is not None
    assert left.files == [("4.tif", 4), ("1.tif", 1)]
    assert (left.before, left.asked) == (5, [("/data", True)])


def test_images_may_be_asked_for_again_while_what_was_left_is_completed(opened: Open) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    noted(progress, 1)
    progress = opened()
    left = progress.interrupted
    assert left is not None
    progress.note_asked_again("/data")
    progress.go_on("this", left, 2)
    left = opened().interrupted
    assert left is not None
    assert (left.files, left.asked) == ([], [("/data", True)])


def test_known_files_survive_two_crashes(opened: Open) -> None:
    progress = opened()
    progress.begin("this")
    noted(progress, 1)
    for number in (2, 3):
        progress = opened()
        assert progress.interrupted is not None
        progress.go_on("this", progress.interrupted, number - 1)
        noted(progress, number)
    left = opened().interrupted
    assert left is not None
    assert left.files == [("1.tif", 1), ("2.tif", 2), ("3.tif", 3)]
    assert [name for name, _ in left.documents] == ["start", "event"]


def test_crash_while_the_journal_is_begun_leaves_the_old_one(opened: Open, tmp_path: Path) -> None:
    progress = opened()
    progress.begin("this", [("0.tif", 0)])
    before = journal(tmp_path).read_bytes()
    with largest_file(10):
        progress.begin("other", [("1.tif", 1)])  # no room for the draft
    assert journal(tmp_path).read_bytes() == before


def test_journal_has_no_gaps_where_the_disk_was_full_for_a_while(opened: Open, tmp_path: Path) -> None:
    progress = opened()
    progress.begin("this")
    noted(progress, 1, 2)
    with largest_file(journal(tmp_path).stat().st_size + 10):
        progress.note_document("event", event(3))
    # Or it would be the third of the run, and what is done of it would be taken for that of another.
    progress.note_document("event", event(4))
    progress.note_done(4, 100)
    left = opened().interrupted
    assert left is not None
    assert left.files == [("1.tif", 1), ("2.tif", 2)]
    assert left.done == 0


def test_journal_of_another_program_at_work_is_refused(opened: Open, tmp_path: Path) -> None:
    opened()
    with pytest.raises(OutputError, match=r"state: the journal folder is used by another process"):
        ProgressJournal(tmp_path / "state")


def test_journal_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(OutputError, match="state: the journal cannot be written here: File exists"):
        ProgressJournal(tmp_path / "state")


# Crashes


FIRST = [moment for moment in MOMENTS if moment not in {"catalog looked through", "catalogued noted", "recovered"}]
AGAIN = [
    "frame has its curves",
    "event in the catalog",
    "half of the curves listed",
    "curves listed",
    "frame done",
    "end noted",
    "raw run stopped",
    "catalog looked through",
    "catalogued noted",
    "recovered",
    "begun anew",
]
Story = tuple[bool, tuple[str, ...]]
STORIES: list[Story] = [
    *((catalog, (moment,)) for catalog in (True, False) for moment in FIRST),
    *((True, (first, again)) for first in ("event in the catalog", "half of the curves listed") for again in AGAIN),
    *(
        (False, ("curves listed", again))
        for again in ("frame has its curves", "half of the curves listed", "end noted")
    ),
    (True, ("event in the catalog", "half of the curves listed", "catalogued noted", "curves listed", "recovered")),
]


@dataclass
class Ended:
    """What is left when all is over."""

    folder: Path
    codes: list[int]

    def documents(self) -> list[list[NamedDocument]]:
        """Those that the catalog gets, run by run."""
        paths = sorted((self.folder / "state" / "catalog").glob("*.jsonl"))
        return [[decode(line) for line in path.read_bytes().splitlines(keepends=True)] for path in paths]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[Story, Ended]:
    """All stories, told by one process, which has loaded everything once."""
    told = tmp_path_factory.mktemp("stories")
    plan = []
    original = told / "original"
    make_images(original, np.random.default_rng(1))
    (original / "cal.json").write_text(json.dumps(small_document(Slices=[{"CutPosition": 5}])))
    for number, (catalog, moments) in enumerate(STORIES):
        folder = told / f"{number:03d}"
        shutil.copytree(original, folder)
        plan.append((str(folder), catalog, [*moments, ""]))
    (told / "plan.json").write_text(json.dumps(plan))
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.crashing", told / "plan.json"], cwd=ROOT, check=True, timeout=300
    )
    folders = [Path(where) for where, _, _ in plan]
    return {
        story: Ended(folder, json.loads((folder / "codes.json").read_text()))
        for story, folder in zip(STORIES, folders, strict=True)
    }


@pytest.mark.parametrize("story", STORIES, ids=lambda story: ", ".join(story[1]) + (" (catalog)" if story[0] else ""))
def test_whenever_it_is_killed_each_frame_is_there_once(ended: dict[Story, Ended], story: Story) -> None:
    left = ended[story]
    assert left.codes == [*[KILLED] * len(story[1]), 0], (left.folder / "log").read_text()
    found = images(left.folder / "data")
    reducer = Reducer(Calibration.from_dict(small_document(Slices=[{"CutPosition": 5}])))
    for image in found:
        assert_curve_is_current(image, reducer)
    lines = (left.folder / "results" / "filelist_data.log").read_text().splitlines()
    targets = [chi for image in found for chi in CurveFiles().targets(image, ["R0", "S1"])]
    wanted = Counter(f"/{os.path.relpath(target, left.folder)}" for target in targets)
    assert Counter(line.split(", ")[0] for line in lines) == wanted
    assert not list(left.folder.rglob(".*.tmp"))
    assert not (left.folder / "state" / "progress.jsonl").exists()
    if story[0]:
        assert_catalogued_once(left.documents(), found)


def assert_catalogued_once(runs: list[list[NamedDocument]], found: list[Path]) -> None:
    raw: Counter[str] = Counter()
    reduced: Counter[str] = Counter()
    frames: dict[str, list[int]] = defaultdict(list)
    events_of: dict[str, int] = {}
    for documents in runs:
        start, stop = documents[0][1], documents[-1][1]
        assert [name for name, _ in documents if name in {"start", "stop"}] == ["start", "stop"]
        assert documents[-1][0] == "stop"
        events = [doc for name, doc in documents if name == "event"]
        assert [doc["seq_num"] for doc in events] == list(range(1, len(events) + 1))
        assert stop["num_events"].get("primary", 0) == len(events)
        paths = [doc["data"]["image_path"] for doc in events]
        if "original_run_uid" in start:
            reduced.update(paths)
            frames[start["original_run_uid"]] += [doc["data"]["frame_index"] for doc in events]
        else:
            raw.update(paths)
            events_of[start["uid"]] = len(events)
    once = Counter(str(image) for image in found)
    assert raw == once
    assert reduced == once
    assert {uid: sorted(indices) for uid, indices in frames.items()} == {
        uid: list(range(number)) for uid, number in events_of.items() if number
    }


def test_another_task_begins_anew_and_completes_what_was_left(
    data: Path, calibration: Calibration, tmp_path: Path
) -> None:
    progress = ProgressJournal(tmp_path / "state")
    progress.begin("one thing")
    documents = [(name, doc) for name, doc in DirectorySource(data, readiness=Readiness(settle=0.001)).documents()]
    for name, doc in documents[:4]:
        progress.note_document(name, doc)
    progress.close()
    progress = ProgressJournal(tmp_path / "state")
    run = Run(data, calibration, progress=progress, identity="another")
    progress.close()
    starts = [doc["uid"] for name, doc in run.raw if name == "start"]
    assert starts[0] == documents[0][1]["uid"]
    assert len(starts) == 2
    stop = next(doc for name, doc in run.raw if name == "stop")
    assert (stop["exit_status"], stop["num_events"]) == ("abort", {"primary": 2})
    assert [event["frame_index"] for event in run.events] == [0, 1, *range(6)]


def test_program_that_was_told_to_stop_leaves_no_journal(data: Path, calibration: Calibration, tmp_path: Path) -> None:
    progress = ProgressJournal(tmp_path / "state")
    source = DirectorySource(data)
    source.stop()
    run = Run(data, calibration, source=source, progress=progress)
    progress.close()
    assert [name for name, _ in run.raw] == ["start", "descriptor", "stop"]
    assert not journal(tmp_path).exists()


def test_journal_of_a_catalog_that_is_away_is_kept(
    data: Path, calibration: Calibration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        writer = CatalogWriter(away, journal=tmp_path / "catalog")
        Run(data, calibration, writer=writer)
        assert not writer.close(0)
    names = Counter(
        decode(line)[0] for path in (tmp_path / "catalog").glob("*.jsonl") for line in path.read_bytes().splitlines()
    )
    assert names == {"start": 2, "descriptor": 2, "event": 12, "stop": 2}
