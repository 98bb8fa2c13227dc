"""Files as they come, as documents of a raw run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from saxs_bluesky.reduction import FrameFile, read_header, stamp_of
from saxs_bluesky.sources import (
    DirectorySource,
    FileSource,
    FolderListing,
    FolderWatch,
    Readiness,
    SourceSettings,
    WatchSource,
)
from tests.helpers.frame_files import content, write
from tests.helpers.source_listening import Listen, Listening

WATCHES: list[Callable[..., WatchSource]] = [
    WatchSource,
    lambda folder, **more: WatchSource(folder, use_inotify=False, **more),
]
either_watch = pytest.mark.parametrize("watch", WATCHES, ids=["hints", "polling only"])


def test_folder_becomes_a_run_of_one_event_a_file(folder: Path, listen: Listen) -> None:
    for name in ("b.tif", "a.TIFF", "more/c.tif", "notes.txt", ".hidden.tif", ".work/d.tif"):
        write(folder / name)
    listening = listen(DirectorySource(folder, metadata={"sample": "buffer"}))
    listening.wait()
    assert [name for name, _ in listening.documents] == ["start", "descriptor", "event", "event", "event", "stop"]
    assert listening.names == ["a.TIFF", "b.tif", "c.tif"]
    start, stop = listening.documents[0][1], listening.documents[-1][1]
    assert start["directory"] == str(folder)
    assert start["sample"] == "buffer"
    assert "@" in start["login_id"]
    assert stop["exit_status"] == "success"
    assert stop["num_events"] == {"primary": 3}


def test_event_tells_path_and_header(folder: Path, listen: Listen) -> None:
    path = write(folder / "a.tif")
    listening = listen(DirectorySource(folder))
    listening.wait()
    (data,) = listening.events
    status = path.stat()
    assert data == {
        "image_path": str(path),
        "image_page": 0,
        "image_pages": 1,
        "file_size": status.st_size,
        "file_time": status.st_mtime,
        "file_stamp": data["file_stamp"],
        "image_time": datetime(2014, 1, 31, 12, 26, 52).timestamp(),  # noqa: DTZ001 -  # the detector's clock, in this zone
        "exposure_time": 2.5,
        "exposure_period": 3.0,
        "wavelength": pytest.approx(0.154),
        "detector_model": "PILATUS3 1M, S/N 10-0120",
        "image_failure": "",
    }
    event = listening.documents[2][1]
    assert event["timestamps"]["image_path"] == data["image_time"]
    assert abs(event["time"] - time.time()) < 60


@either_watch
def test_watch_takes_what_is_there_and_what_comes(
    folder: Path, listen: Listen, watch: Callable[..., WatchSource]
) -> None:
    write(folder / "before.tif")
    listening = listen(watch(folder))
    listening.until_events(1)
    write(folder / "after.tif")
    write(folder / "new" / "deep" / "below.tif")
    listening.until_events(3)
    listening.end()
    assert listening.names[0] == "before.tif"
    assert sorted(listening.names[1:]) == ["after.tif", "below.tif"]
    assert listening.documents[-1][0] == "stop"


@either_watch
def test_file_that_is_overwritten_is_a_new_event(
    folder: Path, listen: Listen, watch: Callable[..., WatchSource]
) -> None:
    path = write(folder / "a.tif", 1)
    listening = listen(watch(folder))
    listening.until_events(1)
    path.write_bytes(content(2))  # in place: the folder does not change
    listening.until_events(2)
    write(path, 3)  # by another file of its name
    listening.until_events(3)
    listening.end()
    assert listening.names == ["a.tif"] * 3
    assert len({data["file_stamp"] for data in listening.events}) == 3


@either_watch
def test_each_content_is_one_event_however_often_it_is_seen(
    folder: Path, listen: Listen, watch: Callable[..., WatchSource]
) -> None:
    listening = listen(watch(folder, poll=0.01))
    for number in range(50):
        write(folder / f"{number % 5}" / f"{number:02d}.tif", number)
    listening.until_events(50)
    time.sleep(0.3)  # some more listings
    listening.end()
    assert sorted(listening.names) == [f"{number:02d}.tif" for number in range(50)]


@either_watch
def test_file_is_taken_when_it_is_whole(folder: Path, listen: Listen, watch: Callable[..., WatchSource]) -> None:
    listening = listen(watch(folder))
    whole = content()
    with (folder / "slow.tif").open("wb") as file:
        for start in range(0, len(whole), 1000):
            file.write(whole[start : start + 1000])
            file.flush()
            time.sleep(0.1)
            assert listening.events == [] or start + 1000 >= len(whole)
    listening.until_events(1)
    listening.end()
    assert listening.events[0]["file_size"] == len(whole)


def test_file_that_ends_in_zeros_must_stand_still_for_longer(folder: Path, listen: Listen) -> None:
    listening = listen(
        FileSource([FolderWatch(SourceSettings(folder))], {}, readiness=Readiness(settle=0.01, quiet=1.0))
    )
    whole = content(7)
    path = folder / "preallocated.tif"
    path.write_bytes(whole[:-200] + bytes(200))
    time.sleep(0.3)
    assert listening.events == []
    path.write_bytes(whole)
    listening.until_events(1)
    listening.end()
    assert len(listening.events) == 1


def test_file_that_never_is_whole_is_an_event_and_another_when_it_changes(folder: Path, listen: Listen) -> None:
    listening = listen(FileSource([FolderWatch(SourceSettings(folder))], {}, readiness=Readiness(deadline=0.3)))
    (folder / "short.tif").write_bytes(content()[:-1])
    listening.until_events(1)
    assert listening.events[0]["detector_model"] == ""
    assert listening.events[0]["exposure_time"] != listening.events[0]["exposure_time"]  # NaN
    (folder / "short.tif").write_bytes(content())
    listening.until_events(2)
    listening.end()
    assert listening.events[1]["exposure_time"] == 2.5


def test_short_file_of_long_ago_is_not_waited_for(folder: Path, listen: Listen) -> None:
    (folder / "short.tif").write_bytes(content()[:-1])
    os.utime(folder / "short.tif", (1e9, 1e9))
    begin = time.monotonic()
    listening = listen(FileSource([FolderListing(SourceSettings(folder))], {}, readiness=Readiness(deadline=3600)))
    listening.wait()
    assert len(listening.events) == 1
    assert time.monotonic() - begin < 60


@either_watch
def test_only_new_files_where_asked(folder: Path, listen: Listen, watch: Callable[..., WatchSource]) -> None:
    write(folder / "old.tif")
    listening = listen(watch(folder, existing=False))
    listening.until(lambda self: len(self.documents) == 2)
    time.sleep(0.2)
    write(folder / "new.tif")
    listening.until_events(1)
    write(folder / "old.tif", 2)
    listening.until_events(2)
    listening.end()
    assert listening.names == ["new.tif", "old.tif"]


@either_watch
def test_temporary_names_are_no_files(folder: Path, listen: Listen, watch: Callable[..., WatchSource]) -> None:
    listening = listen(watch(folder))
    for number in range(5):
        part = folder / f"part{number}.tif"
        part.write_bytes(content()[:100])
        part.rename(folder / f"part{number}.tmp")
        (folder / f"part{number}.tmp").write_bytes(content())
        (folder / f"part{number}.tmp").rename(folder / f"whole{number}.tif")
    listening.until_events(5)
    listening.end()
    assert sorted(listening.names) == [f"whole{number}.tif" for number in range(5)]


@either_watch
@pytest.mark.parametrize("follow", [False, True])
def test_links_out_of_the_tree_are_followed_only_where_asked(
    folder: Path, tmp_path: Path, listen: Listen, watch: Callable[..., WatchSource], follow: bool
) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "outside.tif").parent
    write(folder / "inside.tif")
    (folder / "to_folder").symlink_to(elsewhere)
    (folder / "to_file.tif").symlink_to(elsewhere / "outside.tif")
    (folder / "within.tif").symlink_to(folder / "inside.tif")
    (folder / "round").symlink_to(folder)
    listening = listen(watch(folder, follow_links=follow))
    wanted = ["inside.tif", "within.tif", *(["outside.tif", "to_file.tif"] if follow else [])]
    listening.until_events(len(wanted))
    time.sleep(0.3)
    listening.end()
    assert sorted(listening.names) == sorted(wanted)


@either_watch
def test_folder_is_no_prefix_of_its_neighbour(
    folder: Path, tmp_path: Path, listen: Listen, watch: Callable[..., WatchSource]
) -> None:
    mine, other = tmp_path / "user1", tmp_path / "user10"
    mine.mkdir()
    listening = listen(watch(mine))
    write(other / "theirs.tif")
    write(mine / "mine.tif")
    listening.until_events(1)
    time.sleep(0.3)
    listening.end()
    assert listening.names == ["mine.tif"]


def test_folder_that_goes_and_comes_back(folder: Path, listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    listening = listen(WatchSource(folder, use_inotify=False, poll=0.01))
    write(folder / "a.tif")
    listening.until_events(1)
    folder.rename(folder.with_name("moved"))
    listening.until(lambda _: "folder cannot be listed (No such file" in caplog.text)
    write(folder / "b.tif")
    listening.until_events(2)
    listening.end()
    assert listening.names == ["a.tif", "b.tif"]
    assert caplog.text.count("cannot be listed") == 1


def test_watch_goes_on_where_there_are_no_hints(
    folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.schedule", refuse)
    with caplog.at_level(logging.WARNING):
        listening = listen(WatchSource(folder))
        write(folder / "a.tif")
        listening.until_events(1)
        listening.end()
    assert "inotify watch limit reached; folders are listed instead" in caplog.text


def test_source_waits_while_there_is_no_room(folder: Path, listen: Listen) -> None:
    room = {"free": False}
    for number in range(3):
        write(folder / f"{number}.tif")
    listening = listen(DirectorySource(folder), lambda: room["free"])
    listening.until(lambda self: self.source.counters.pending > 0 or bool(self.events))
    time.sleep(0.2)
    assert listening.events == []
    room["free"] = True
    listening.wait()
    assert len(listening.events) == 3


def test_stop_ends_a_source_that_has_no_room(folder: Path, listen: Listen) -> None:
    write(folder / "a.tif")
    listening = listen(WatchSource(folder), lambda: False)
    time.sleep(0.2)
    listening.end()
    assert [name for name, _ in listening.documents] == ["start", "descriptor", "stop"]


def test_draining_takes_what_was_found(folder: Path, listen: Listen) -> None:
    room = {"free": False}
    for number in range(3):
        write(folder / f"{number}.tif")
    listening = listen(WatchSource(folder), lambda: room["free"])
    listening.until(lambda self: self.source.counters.pending > 0)
    listening.source.stop(drain=True)
    room["free"] = True
    listening.wait()
    assert len(listening.events) == 3


@either_watch
def test_all_files_again(folder: Path, listen: Listen, watch: Callable[..., WatchSource]) -> None:
    for number in range(3):
        write(folder / f"{number}.tif")
    listening = listen(watch(folder, existing=False))
    listening.until(lambda self: len(self.documents) == 2)
    listening.source.again(folder)
    listening.until_events(3)
    listening.source.again(folder)
    listening.until_events(6)
    listening.end()
    assert sorted(listening.names) == sorted(["0.tif", "1.tif", "2.tif"] * 2)


def test_files_for_which_there_is_nothing_to_do(folder: Path, listen: Listen) -> None:
    for number in range(4):
        write(folder / f"{number}.tif")
    listening = listen(DirectorySource(folder, skip=lambda path: path.endswith(("1.tif", "2.tif"))))
    listening.wait()
    assert listening.names == ["0.tif", "3.tif"]
    assert listening.source.counters.skipped == 2


def threads_and_files() -> tuple[int, int]:
    import threading

    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_behind(folder: Path) -> None:
    write(folder / "a.tif")
    before = None
    for _ in range(3):
        listening = Listening(WatchSource(folder))
        listening.until_events(1)
        listening.end()
        before = before or threads_and_files()
    assert threads_and_files() == before


def test_file_that_gets_whole_between_two_looks_is_one_event(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last piece comes after its status was taken, and before its header is read."""
    path = folder / "a.tif"
    path.write_bytes(content()[:-100])
    now = 0.0
    readiness = Readiness(clock=lambda: now)
    readiness.watch(str(path))

    def finish(file: str, status: os.stat_result) -> FrameFile:
        monkeypatch.undo()
        path.write_bytes(content())
        return read_header(file, status)

    monkeypatch.setattr("saxs_bluesky.sources._readiness.read_header", finish)
    found = []
    for _ in range(10):
        now += 0.05
        found += readiness.due()
    assert [(file.path, file.stamp) for file in found] == [(str(path), stamp_of(path.stat()))]
