"""File system events: the operating system reports files that came or changed."""

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


class FileSystemEvents(FileSystemEventHandler):
    """Tells of files and folders that came into a folder, where the file system reports it (inotify on Linux).

    Events may be missing: network file systems report none, and a burst may overflow the kernel's queue. Where the
    operating system refuses to watch the folder, a warning says that files are found by listing folders alone.

    Parameters
    ----------
    root
        The folder, with all below it.
    on_file
        Called with the path of a file, in a thread of the watch.
    on_folder
        Called when a folder came, in the same thread.
    """

    def __init__(self, root: str, on_file: Callable[[str], None], on_folder: Callable[[], None]) -> None:
        self._on_file = on_file
        self._on_folder = on_folder
        self._failed = False
        self._observer = Observer()
        wanted = [FileCreatedEvent, FileClosedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent]
        try:
            self._observer.schedule(self, root, recursive=True, event_filter=wanted)
            self._observer.start()
        except OSError as error:
            _log.warning("%s: no file system events: %s; folders are listed instead", root, error)
            self._observer.unschedule_all()
            self._running = False
        else:
            self._running = True

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass an event on."""
        try:
            if event.is_directory:
                self._on_folder()
            else:
                self._on_file(str(event.dest_path or event.src_path))
        except Exception:  # noqa: BLE001 - or the watch's thread would end, without a word
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            _log.log(level, "a file system event was lost; listing the folders finds the file", exc_info=True)

    def close(self) -> None:
        """End the watch."""
        if self._running:
            self._observer.stop()
            self._observer.join(_SECONDS_TO_END)
            self._running = False
