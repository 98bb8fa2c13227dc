"""Finders of files: they list a folder, or watch it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Protocol

from saxs_bluesky.reduction import stamp_of
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._file_system_events import FileSystemEvents
from saxs_bluesky.sources._folder_scanner import FolderScanner, scan_order
from saxs_bluesky.sources._settings import SourceSettings

_PORTION = 500  # images that are named at a time
_SHARE = 0.05  # of the time that listing folders may take


class Finder(Protocol):
    """Finds paths of files. It is asked in one thread, and may call ``wake`` from any."""

    @property
    def announces(self) -> bool:
        """True if somebody announces its files: then a file that does not exist is a failure."""

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:
        """Start to find; ``known`` holds what is accepted already."""

    def find(self) -> Iterable[str]:
        """Paths of the files that may be new since the last call."""

    def find_all(self) -> Iterable[str]:
        """Paths of all files that may be new, after a complete look; this is the last call."""

    @property
    def next_look(self) -> float | None:
        """When to ask again at the latest, by ``time.monotonic``; None if only a wake-up brings news."""

    @property
    def exhausted(self) -> bool:
        """True if nothing more will come."""

    def close(self) -> None:
        """End threads and close sockets."""


class _FolderFinder:
    """Base of the finders that list or watch a folder."""

    announces = False

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._scanner = FolderScanner(settings, AcceptedFiles())

    @property
    def unreadable_folders(self) -> list[str]:
        """Folders that cannot be listed now."""
        return self._scanner.unreadable_folders

    @property
    def other_files(self) -> Counter[str]:
        """How many files are not images that can be taken, by kind."""
        return self._scanner.other_files


class FolderListing(_FolderFinder):
    """Finds the images that are in a folder now, in the order of their names.

    Parameters
    ----------
    settings
        Those on the folder count: ``directory``, ``recursive``, ``follow_links``, ``list_all_first``.
    """

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__(settings)
        self._portion = None if settings.list_all_first else _PORTION
        self._paths: Iterator[str] = iter(())
        self.exhausted = False

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:  # noqa: ARG002 - nothing comes later
        """Start to find."""
        self._scanner = FolderScanner(self._settings, known)
        self._paths = self._scanner.scan(every_file=True)

    def find(self) -> Iterable[str]:
        """Paths of images that were not found yet."""
        found = list(islice(self._paths, self._portion))
        self.exhausted = self._portion is None or len(found) < self._portion
        return found

    def find_all(self) -> Iterable[str]:
        """Paths of all images that were not found yet."""
        self.exhausted = True
        return self._paths

    @property
    def next_look(self) -> float | None:
        """Now, while there are more."""
        return None if self.exhausted else time.monotonic()

    def close(self) -> None:
        """Nothing to close."""


class FolderWatch(_FolderFinder):
    """Finds images as they come into a folder, or change there, until it is closed.

    Folders are listed every ``poll`` seconds where only listing finds new files, and less often where there are file
    system events; large trees are listed so rarely that it takes no more than a twentieth of the time.

    Parameters
    ----------
    settings
        Those on the folder count: ``directory``, ``recursive``, ``follow_links``, ``existing``, ``use_inotify``,
        ``poll``.
    """

    exhausted = False  # more may always come

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__(settings)
        self._events: FileSystemEvents | None = None
        self._reported: set[str] = set()  # paths in file system events
        self._wake: Callable[[], None] = lambda: None
        self._full_scan_at = 0.0
        self.next_look = 0.0

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:
        """Start to find."""
        self._wake = wake
        self._scanner = FolderScanner(self._settings, known)
        if self._settings.use_inotify:
            self._events = FileSystemEvents(self._scanner.root, self._add_reported, self._list_soon)
        if not self._settings.existing:
            for path in self._scanner.scan(every_file=True):
                # One that was known to the program before this one is new if it has changed since.
                if known.get(path) is not None:
                    continue
                with suppress(OSError):  # gone already
                    known.put(path, stamp_of(os.stat(path)))

    def _add_reported(self, path: str) -> None:
        self._reported.add(path)
        self._wake()

    def _list_soon(self) -> None:
        self.next_look = 0.0
        self._wake()

    def find(self) -> Iterable[str]:
        """Paths of images that are new, or have changed, as far as file system events and listings tell."""
        now = time.monotonic()
        return self._found(list_folders=now >= self.next_look, every_file=now >= self._full_scan_at)

    def find_all(self) -> Iterable[str]:
        """Paths of images that are new, or have changed, after looking at each file."""
        return self._found(list_folders=True, every_file=True)

    def _found(self, *, list_folders: bool, every_file: bool) -> list[str]:
        reported = set()
        while self._reported:
            path = self._reported.pop()
            if self._scanner.takes(path):
                reported.add(path)
        listed = self._list(every_file=every_file) if list_folders else []
        return sorted(reported.union(listed), key=scan_order) if reported else listed

    def _list(self, *, every_file: bool) -> list[str]:
        begin, poll = time.monotonic(), self._settings.poll
        # Before the listing: one that fails is not tried again at once.
        self.next_look = begin + 10 * poll
        paths = list(self._scanner.scan(every_file=every_file))
        took = time.monotonic() - begin
        # With file system events, listing is a second safety.
        scan_at = begin + max((10 if self._events else 1) * poll, took / _SHARE)
        if every_file:
            self._full_scan_at = begin + max(10 * poll, 2 * took / _SHARE)
        self.next_look = min(scan_at, self._full_scan_at)
        return paths

    def close(self) -> None:
        """End the watch."""
        if self._events is not None:
            self._events.close()
            self._events = None
