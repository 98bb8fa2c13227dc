"""Files that are found together go in the order of their names; what is not there waits behind what is."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from saxs_bluesky.sources import FeederSource, FileSource, FolderWatch, Readiness, SourceSettings, WatchSource
from tests.helpers.feeder import Feeder
from tests.helpers.frame_files import content, write
from tests.helpers.source_listening import Listen

FILES = [f"{index:03d}.tif" for index in range(300)]


def inversions(names: list[str]) -> int:
    return sum(first > second for first, second in pairwise(names))


@pytest.mark.parametrize("use_inotify", [True, False])
def test_files_that_come_at_once(folder: Path, listen: Listen, use_inotify: bool) -> None:
    listening = listen(WatchSource(folder, use_inotify=use_inotify))
    listening.until(lambda self: len(self.documents) == 2)
    time.sleep(0.2)
    whole = content()
    for name in FILES:
        (folder / name).write_bytes(whole)
    listening.until_events(len(FILES))
    listening.end()
    assert inversions(listening.names) == 0, listening.names


@pytest.mark.parametrize("use_inotify", [True, False])
def test_files_that_are_moved_in_with_their_folders(folder: Path, listen: Listen, use_inotify: bool) -> None:
    for number, name in enumerate(FILES):
        write(folder.parent / "elsewhere" / f"run{number % 3}" / name)
    listening = listen(WatchSource(folder, use_inotify=use_inotify))
    listening.until(lambda self: len(self.documents) == 2)
    (folder.parent / "elsewhere").rename(folder / "elsewhere")
    listening.until_events(len(FILES))
    listening.end()
    paths = [data["image_path"] for data in listening.events]
    for run in range(3):
        assert inversions([path for path in paths if f"/run{run}/" in path]) == 0
    if not use_inotify:
        assert paths == sorted(paths)


def test_walk_goes_folder_by_folder(folder: Path, listen: Listen) -> None:
    names = ["a.tif", "z.tif", "b/a.tif", "b/c/d.tif", "b-c/a.tif", "c/a.tif"]
    for name in reversed(names):
        write(folder / name)
    listening = listen(WatchSource(folder, use_inotify=False))
    listening.until_events(len(names))
    listening.end()
    assert [data["image_path"] for data in listening.events] == [str(folder / name) for name in names]


def test_file_that_is_not_ready_does_not_hold_up_the_others(folder: Path, listen: Listen) -> None:
    (folder / "000.tif").write_bytes(content()[:-1])
    for name in FILES[1:50]:
        write(folder / name)
    begin = time.monotonic()
    listening = listen(FileSource([FolderWatch(SourceSettings(folder))], {}, readiness=Readiness(deadline=30)))
    listening.until_events(49)
    assert time.monotonic() - begin < 15  # and not 30
    assert listening.names == FILES[1:50]
    listening.end()


def test_announcements_of_files_that_are_not_there_do_not_delay_those_that_are(
    folder: Path,
    feeder: Feeder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = FeederSource(str(feeder.port), folder, readiness=Readiness(deadline=20.0))
    came: dict[str, float] = {}
    failed: list[str] = []

    def take() -> None:
        for file in source.files():
            came[Path(file.path).name] = time.monotonic()
            failed.extend([file.failure] if file.failure else [])

    taking = threading.Thread(target=take)
    taking.start()
    try:
        feeder.wait_for_listener()
        announced = {}
        for index in range(25_000):
            feeder.announce(f"absent{index:05d}.tif")
        deadline = time.monotonic() + 60
        while source.listener.counters.announced < 25_000 and time.monotonic() < deadline:
            time.sleep(0.1)
        for index in range(20):
            path = write(folder / f"real{index:02d}.tif")
            announced[path.name] = time.monotonic()
            feeder.announce(path.name)
            time.sleep(0.3)
        deadline = time.monotonic() + 60
        while (source.counters.pending or not announced.keys() <= came.keys()) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        source.stop()
        taking.join()
    delays = sorted(came[name] - moment for name, moment in announced.items())
    assert source.counters.dropped >= 10_000
    assert "not waited for so far" in caplog.text
    assert 1000 < len(failed) <= 15_000
    assert delays[len(delays) // 2] < 1.0, delays
    assert delays[-1] < 5.0, delays
