"""Folders and files that are away for a while, replaced, or renamed: what is known of them stays known."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from saxs_bluesky.sources import FileSource, FolderWatch, Readiness, SourceSettings, WatchSource
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._folder_scanner import FolderScanner
from tests.helpers.frame_files import content, write
from tests.helpers.source_listening import Listen, Listening

LOOKS = 1.5  # seconds: some listings, and a look at each file
NAMES = ["a.tif", "b.tif", "below/c.tif", "below/deep/d.tif"]

either_watch = pytest.mark.parametrize("use_inotify", [True, False], ids=["hints", "polling only"])


def begin(folder: Path, listen: Listen, *, use_inotify: bool) -> Listening:
    for name in NAMES:
        write(folder / name)
    listening = listen(WatchSource(folder, use_inotify=use_inotify, poll=0.05))
    listening.until_events(len(NAMES))
    return listening


@contextmanager
def renamed(folder: Path) -> Iterator[None]:
    away = folder.rename(folder.with_name("away"))
    yield
    away.rename(folder)


@contextmanager
def empty_in_its_place(folder: Path) -> Iterator[None]:
    away = folder.rename(folder.with_name("away"))
    folder.mkdir()
    yield
    folder.rmdir()
    away.rename(folder)


@contextmanager
def others_in_its_place(folder: Path) -> Iterator[None]:
    away = folder.rename(folder.with_name("away"))
    write(folder / "a.tif", 77)
    yield
    shutil.rmtree(folder)
    away.rename(folder)


@contextmanager
def mounted_over(folder: Path) -> Iterator[None]:
    """As an unmounted folder looks: another filesystem, and empty."""
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("away", [renamed, empty_in_its_place, mounted_over])
@either_watch
def test_folder_that_is_away_for_a_while_makes_nothing_new(
    folder: Path, listen: Listen, use_inotify: bool, away: Callable[[Path], contextmanager[None]]
) -> None:
    listening = begin(folder, listen, use_inotify=use_inotify)
    for _ in range(2):
        with away(folder):
            time.sleep(LOOKS)
        time.sleep(LOOKS)
    write(folder / "e.tif")
    listening.until_events(len(NAMES) + 1)
    time.sleep(LOOKS)
    listening.end()
    assert len(listening.events) == len(NAMES) + 1


@pytest.mark.parametrize("away", [renamed, empty_in_its_place, mounted_over])
def test_folder_below_that_is_away_for_a_while_makes_nothing_new(
    folder: Path, listen: Listen, away: Callable[[Path], contextmanager[None]]
) -> None:
    listening = begin(folder, listen, use_inotify=False)
    if away is mounted_over:
        with away(folder / "below"):
            time.sleep(LOOKS)
    else:
        moved = (folder / "below").rename(folder.parent / "elsewhere")
        if away is empty_in_its_place:
            (folder / "below").mkdir()
        time.sleep(LOOKS)
        if away is empty_in_its_place:
            (folder / "below").rmdir()
        moved.rename(folder / "below")
    time.sleep(LOOKS)
    listening.end()
    assert len(listening.events) == len(NAMES)


def test_other_files_in_the_place_of_a_folder_are_new_and_its_own_are_not(folder: Path, listen: Listen) -> None:
    listening = begin(folder, listen, use_inotify=False)
    with others_in_its_place(folder):
        listening.until_events(len(NAMES) + 1)
        time.sleep(LOOKS)
    time.sleep(LOOKS)
    listening.end()
    assert listening.names[len(NAMES) :] == ["a.tif"]


def test_file_that_changed_while_its_folder_was_away_is_new(folder: Path, listen: Listen) -> None:
    listening = begin(folder, listen, use_inotify=False)
    with empty_in_its_place(folder):
        time.sleep(LOOKS)
        write(folder.with_name("away") / "b.tif", 2)
    listening.until_events(len(NAMES) + 1)
    listening.end()
    assert listening.names[-1] == "b.tif"


@either_watch
def test_folder_that_is_renamed_makes_nothing_new(folder: Path, listen: Listen, use_inotify: bool) -> None:
    listening = begin(folder, listen, use_inotify=use_inotify)
    (folder / "below").rename(folder / "renamed")
    time.sleep(LOOKS)
    write(folder / "renamed" / "e.tif")
    listening.until_events(len(NAMES) + 1)
    time.sleep(LOOKS)
    listening.end()
    assert listening.names[len(NAMES) :] == ["e.tif"]


@either_watch
def test_folder_of_the_old_name_is_another(folder: Path, listen: Listen, use_inotify: bool) -> None:
    listening = begin(folder, listen, use_inotify=use_inotify)
    (folder / "below").rename(folder / "renamed")
    write(folder / "below" / "c.tif", 2)
    listening.until_events(len(NAMES) + 1)
    time.sleep(LOOKS)
    listening.end()
    assert [data["image_path"] for data in listening.events[len(NAMES) :]] == [str(folder / "below" / "c.tif")]


@either_watch
def test_file_that_is_renamed_has_its_event_under_its_new_name(folder: Path, listen: Listen, use_inotify: bool) -> None:
    """Its curve goes by that name."""
    listening = begin(folder, listen, use_inotify=use_inotify)
    (folder / "a.tif").rename(folder / "z.tif")
    listening.until_events(len(NAMES) + 1)
    time.sleep(LOOKS)
    listening.end()
    assert listening.names[len(NAMES) :] == ["z.tif"]


def replaced_in_place(path: Path) -> None:
    path.write_bytes(content(2))


def replaced_by_rename(path: Path) -> None:
    write(path.with_name("new.tmp.tif"), 2).rename(path)


@pytest.mark.parametrize("replace", [replaced_in_place, replaced_by_rename])
@either_watch
def test_replacement_of_the_same_size_and_time_is_new(
    folder: Path, listen: Listen, use_inotify: bool, replace: Callable[[Path], None]
) -> None:
    path = write(folder / "a.tif", 1)
    os.utime(path, ns=(10**18, 10**18))
    listening = listen(WatchSource(folder, use_inotify=use_inotify, poll=0.05))
    listening.until_events(1)
    elsewhere = write(folder.parent / "elsewhere" / "a.tif", 2)
    os.utime(elsewhere, ns=(10**18, 10**18))
    command = ["cp", "-p"] if replace is replaced_in_place else ["rsync", "-a", "--ignore-times"]
    if shutil.which(command[0]) is None:
        shutil.copyfile(elsewhere, folder / ".part")
        os.utime(folder / ".part", ns=(10**18, 10**18))
        (folder / ".part").rename(path)
    else:
        subprocess.run([*command, str(elsewhere), str(path)], check=True)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (elsewhere.stat().st_size, 10**18)
    listening.until_events(2)
    time.sleep(LOOKS)
    listening.end()
    assert listening.names == ["a.tif", "a.tif"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can list; those above a test's own are closed, and not the test's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_file_that_becomes_readable_is_new(open_folder: Path, listen: Listen) -> None:
    folder = open_folder
    path = write(folder / "a.tif")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        source = FileSource([FolderWatch(SourceSettings(folder, poll=0.05))], {}, readiness=Readiness(deadline=0.3))
        listening = listen(source)
        listening.until_events(1)
        os.seteuid(user)
        path.chmod(0o644)
        if user == 0:
            os.seteuid(65534)
        listening.until_events(2)
        listening.end()
    finally:
        os.seteuid(user)
    assert [bool(data["image_failure"]) for data in listening.events] == [True, False]
    assert "Permission denied" in listening.events[0]["image_failure"]


def test_files_that_are_gone_for_long_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saxs_bluesky.sources._accepted_files._REMEMBERED_FILES", 10)
    known = AcceptedFiles()
    tree = FolderScanner(SourceSettings(folder), known)
    for index in range(50):
        known.put(str(write(folder / f"{index}.tif")), index)
    for path in list(folder.iterdir())[:40]:
        path.unlink()
    list(tree.scan(every_file=True))
    assert len(list(known)) == 20
    monkeypatch.setattr("saxs_bluesky.sources._accepted_files._REMEMBERED_SECONDS", 0.0)
    list(tree.scan(every_file=True))
    assert len(list(known)) == 10


def test_folders_that_are_gone_are_forgotten_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saxs_bluesky.sources._accepted_files._REMEMBERED_FILES_OF_FOLDERS", 25)
    known = AcceptedFiles()
    tree = FolderScanner(SourceSettings(folder), known)
    for index in range(10):
        for number in range(10):
            known.put(str(write(folder / str(index) / f"{number}.tif")), number)
    list(tree.scan(every_file=True))
    assert len(list(known)) == 100
    for index in range(9):
        shutil.rmtree(folder / str(index))
    list(tree.scan(every_file=True))
    assert len(list(known)) == 30


def test_folder_that_was_renamed_before_a_restart_makes_nothing_new(folder: Path, listen: Listen) -> None:
    listening = begin(folder, listen, use_inotify=False)
    listening.end()
    (folder / "below").rename(folder / "renamed")
    source = WatchSource(folder)
    for path, stamp in listening.source.accepted():
        source.remember(path, stamp)
    listening = listen(source)
    write(folder / "e.tif")
    listening.until_events(1)
    time.sleep(LOOKS)
    listening.end()
    assert listening.names == ["e.tif"]


@pytest.mark.parametrize("found_first", [True, False])
def test_file_that_was_lost_is_not_known_under_its_new_name_either(folder: Path, found_first: bool) -> None:
    write(folder / "run" / "a.tif")
    known = AcceptedFiles()
    known.put(str(folder / "run" / "a.tif"), 5)
    (folder / "run").rename(folder / "new")
    if found_first:
        assert known.get(str(folder / "new" / "a.tif")) == 5
    known.drop(str(folder / "run" / "a.tif"))
    assert known.get(str(folder / "new" / "a.tif")) is None
