"""Closing: files that were there before the call are looked for once more, and handed on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from saxs_bluesky.sources import (
    DirectorySource,
    FeederListener,
    FileSource,
    FolderListing,
    FolderWatch,
    SourceSettings,
    WatchSource,
)
from tests.helpers.feeder import Feeder
from tests.helpers.frame_files import content, write
from tests.helpers.source_listening import Listen

watches = pytest.mark.parametrize("options", [{}, {"use_inotify": False}, {"use_inotify": False, "poll": 30.0}])


@watches
@pytest.mark.parametrize("number", [5, 50])
def test_files_behind_a_backlog(folder: Path, listen: Listen, options: dict[str, float], number: int) -> None:
    room = {"free": False}
    for index in range(40):
        write(folder / f"a{index:02d}.tif")
    listening = listen(WatchSource(folder, **options), lambda: room["free"])
    listening.until(lambda self: self.source.counters.pending > 0)
    for index in range(number):
        write(folder / "below" / f"b{index:02d}.tif")
    listening.source.stop(drain=True)
    room["free"] = True
    listening.wait()
    assert sorted(listening.names) == [f"a{i:02d}.tif" for i in range(40)] + [f"b{i:02d}.tif" for i in range(number)]


@watches
def test_files_written_immediately_before(folder: Path, listen: Listen, options: dict[str, float]) -> None:
    listening = listen(WatchSource(folder, **options))
    listening.until(lambda self: len(self.documents) == 2)
    time.sleep(0.3)
    for index in range(20):
        write(folder / str(index % 3) / f"{index:02d}.tif")
    listening.end(drain=True)
    assert sorted(listening.names) == [f"{index:02d}.tif" for index in range(20)]


def test_file_that_is_overwritten_immediately_before(folder: Path, listen: Listen) -> None:
    write(folder / "a.tif", 1)
    listening = listen(WatchSource(folder, use_inotify=False, poll=30.0))
    listening.until_events(1)
    (folder / "a.tif").write_bytes(content(2))
    listening.end(drain=True)
    assert listening.names == ["a.tif", "a.tif"]


def test_file_that_is_still_written_is_waited_for(folder: Path, listen: Listen) -> None:
    listening = listen(WatchSource(folder))
    whole = content()
    with (folder / "slow.tif").open("wb", buffering=0) as file:
        file.write(whole[:1000])
        listening.source.stop(drain=True)
        time.sleep(0.5)
        file.write(whole[1000:])
    listening.wait()
    assert [data["image_failure"] for data in listening.events] == [""]


@pytest.mark.parametrize("list_all_first", [True, False])
def test_walk_that_has_just_begun_is_completed(folder: Path, listen: Listen, list_all_first: bool) -> None:
    write(folder / "0000.tif")
    for index in range(1, 1200):
        (folder / f"{index:04d}.tif").hardlink_to(folder / "0000.tif")
    room = {"free": False}
    listening = listen(
        FileSource([FolderListing(SourceSettings(folder, list_all_first=list_all_first))], {}), lambda: room["free"]
    )
    listening.until(lambda self: self.source.counters.pending > 0)
    listening.source.stop(drain=True)
    room["free"] = True
    listening.wait()
    assert listening.names == [f"{index:04d}.tif" for index in range(1200)]


def test_all_again_just_before(folder: Path, listen: Listen) -> None:
    for index in range(5):
        write(folder / f"{index}.tif")
    listening = listen(WatchSource(folder))
    listening.until_events(5)
    listening.source.again(folder)
    listening.end(drain=True)
    assert sorted(listening.names) == sorted([f"{index}.tif" for index in range(5)] * 2)


def test_announcements_on_their_way(folder: Path, listen: Listen, feeder: Feeder) -> None:
    for index in range(200):
        write(folder / f"{index:03d}.tif")
    listening = listen(FileSource([FeederListener(SourceSettings(folder, feeder=(str(feeder.port),)))], {}))
    feeder.wait_for_listener()
    for index in range(200):
        feeder.announce(f"{index:03d}.tif")
    listening.end(drain=True)
    assert sorted(listening.names) == [f"{index:03d}.tif" for index in range(200)]


def test_closing_before_the_beginning(folder: Path, listen: Listen) -> None:
    write(folder / "a.tif")
    source = WatchSource(folder)
    source.stop(drain=True)
    listening = listen(source)
    listening.wait()
    assert listening.names == ["a.tif"]


def test_stop_tells_what_was_not_handed_on(folder: Path, listen: Listen) -> None:
    for index in range(30):
        write(folder / f"{index:02d}.tif")
    (folder / "short.tif").write_bytes(content()[:-1])
    listening = listen(FileSource([FolderWatch(SourceSettings(folder))], {}), lambda: False)
    listening.until(lambda self: self.source.counters.pending == 31)
    listening.end()
    assert listening.names == []
    assert listening.source.unfinished() == [str(folder / f"{i:02d}.tif") for i in range(30)] + [
        str(folder / "short.tif")
    ]


def test_nothing_is_unfinished_after_a_walk(folder: Path, listen: Listen) -> None:
    write(folder / "a.tif")
    listening = listen(DirectorySource(folder))
    listening.wait()
    assert listening.source.unfinished() == []
