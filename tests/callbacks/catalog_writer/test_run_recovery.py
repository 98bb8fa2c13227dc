"""Journal files of runs that an earlier program left, damaged in every way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal

NamedDocument = tuple[str, dict[str, Any]]
DOCUMENTS: list[NamedDocument] = [
    ("start", {"uid": "run", "time": 1.0}),
    ("descriptor", {"uid": "d", "run_start": "run", "name": "primary"}),
    *(
        ("event", {"uid": f"e{n}", "data": {"x": n, "frame_index": n - 1}, "seq_num": n, "descriptor": "d"})
        for n in (1, 2, 3)
    ),
    ("stop", {"uid": "s", "run_start": "run"}),
]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    journals: list[Journal] = []

    def begin() -> Journal:
        for journal in journals:
            journal.close()
        journals.append(Journal(tmp_path / "journal"))
        return journals[-1]

    yield begin
    for journal in journals:
        journal.close()


@pytest.fixture
def path(opened: Callable[[], Journal]) -> Path:
    """Journal file of a run that has stopped."""
    journal = opened()
    journal.append(DOCUMENTS)
    return next(journal.folder.glob("*.jsonl"))


def names(run: RunJournal) -> list[str]:
    return [name if name != "event" else f"event {doc['seq_num']}" for name, doc in run.documents()]


WHOLE = ["start", "descriptor", "event 1", "event 2", "event 3", "stop"]


@pytest.mark.parametrize(
    ("number", "left"),
    [
        (0, WHOLE),  # start and descriptor are kept twice
        (1, WHOLE),
        (3, ["start", "descriptor", "event 1", "event 3", "stop"]),
        (5, ["start", "descriptor", "event 1", "event 2", "event 3"]),
    ],
)
@pytest.mark.parametrize("harm", [lambda line: line.replace(b"uid", b"uib", 1), lambda _: b"\0\n", lambda _: b"[]\n"])
def test_damaged_line_costs_itself_and_is_kept(
    opened: Callable[[], Journal],
    path: Path,
    number: int,
    left: list[str],
    harm: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = harm(lines[number])
    path.write_bytes(b"".join(lines))
    journal = opened()
    (run,) = journal.left_over()
    assert (run.uid, run.left_over, run.complete) == ("run", True, number != 5)
    assert names(run) == left
    (kept,) = journal.rejected.iterdir()
    assert kept.read_bytes() == lines[number]
    assert "1 lines are damaged, set aside in" in caplog.text
    caplog.clear()
    (again,) = opened().left_over()
    assert names(again) == left
    assert caplog.messages == []


@pytest.mark.parametrize("harm", ["emptied", "removed", "folder"])
def test_run_whose_file_is_gone_is_known_by_its_beginning(
    opened: Callable[[], Journal], path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    if harm == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
    if harm == "folder":
        path.mkdir()
    (run,) = opened().left_over()
    assert names(run) == ["start", "descriptor"]
    assert "the journal of run run is gone or empty" in caplog.text


@pytest.mark.parametrize("order", [(1, 0, 2, 3, 4, 5), (0, 1, 2, 3, 3, 4, 5, 0), (0, 5, 1, 2, 3, 4)])
def test_lines_twice_and_out_of_order_are_put_in_order(
    opened: Callable[[], Journal], path: Path, order: tuple[int, ...]
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))
    (run,) = opened().left_over()
    assert names(run) == WHOLE


def test_lines_of_the_first_version_are_read(opened: Callable[[], Journal], path: Path) -> None:
    lines = [json.dumps(document, separators=(",", ":")).encode() + b"\n" for document in DOCUMENTS]
    path.with_suffix(".opening").unlink()
    path.write_bytes(b"".join([*lines[:3], b'["event",{"data":7}]\n', *lines[3:]]))
    (run,) = opened().left_over()
    assert names(run) == WHOLE
    assert [glance.frame for glance in run.glances() if glance.name == "event"] == [0, 1, 2]


def test_glance_finds_numbers_and_not_what_looks_like_them(opened: Callable[[], Journal]) -> None:
    journal = opened()
    data = {"text": ',"seq_num":7,"frame_index":8,', "frame_index": 3}
    event = {"data": data, "timestamps": {"frame_index": 9.5}, "seq_num": 4, "descriptor": "d"}
    journal.append([*DOCUMENTS[:2], ("event", event)])
    (run,) = opened().left_over()
    (glance,) = (one for one in run.glances() if one.name == "event")
    assert (glance.number, glance.frame, glance.descriptor) == (4, 3, "d")
