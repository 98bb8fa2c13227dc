"""Hints of the operating system that files came or changed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

_log = logging.getLogger(__name__)

_SECONDS_TO_END = 5.0  # for the watch's thread, which may wait for a file system that does not answer


class FolderHints(FileSystemEventHandler):
    """Tells of files that came into a tree, where the filesystem says so.

    They are no more than hints: network filesystems give none, and a burst may overflow the kernel's queue. Where no
    watch can be had, a warning says that files are found by listing folders alone.

    Parameters
    ----------
    root
        The folder.
    tell
        Called with the path of a file, in a thread of the watch.
    tell_folder
        Called when a folder came.
    """

    def __init__(self, root: str, tell: Callable[[str], None], tell_folder: Callable[[], None]) -> None:
        self._tell = tell
        self._tell_folder = tell_folder
        self._failed = False
        self._observer = Observer()
        wanted = [FileCreatedEvent, FileClosedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent]
        try:
            self._observer.schedule(self, root, recursive=True, event_filter=wanted)
            self._observer.start()
        except OSError as error:
            _log.warning("%s: wanted hints of new files, found %s; folders are listed instead", root, error)
            self._observer.unschedule_all()
            self._running = False
        else:
            self._running = True

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass a hint on."""
        try:
            if event.is_directory:
                self._tell_folder()
            else:
                self._tell(str(event.dest_path or event.src_path))
        except Exception:  # noqa: BLE001 - or the watch's thread would end, without a word
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            _log.log(level, "a hint of a new file could not be followed; listing the folders finds it", exc_info=True)

    def close(self) -> None:
        """End the watch."""
        if self._running:
            self._observer.stop()
            self._observer.join(_SECONDS_TO_END)
            self._running = False
