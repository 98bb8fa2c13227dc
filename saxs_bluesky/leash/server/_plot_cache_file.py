"""The file of a plot cache, from which a restarted server shows clients what it showed before."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from saxs_bluesky.errors import system_reason
from saxs_bluesky.leash.server._plot_cache_entries import Entry

_log = logging.getLogger(__name__)


_NAME = "picture"  # on disk; servers that are updated go on with the file
_LARGEST_FILE = 2**30  # bytes
_REWRITE_LINES = 20_000


class PlotCacheFile:
    """Lines of JSON that are appended, and rewritten when they are many; only its owner can read the file.

    Errors of the file never end a queue: a damaged line is left out, and a file that cannot be written is logged once.

    Parameters
    ----------
    folder
        Folder of the file.
    began
        When the queue was opened, in seconds since 1970. Files of other queues are removed by `rewrite`.
    """

    def __init__(self, folder: Path, began: float) -> None:
        self.path = folder / f"{_NAME}-{began!r}"
        self._lock = threading.Lock()
        self._file = -1
        self._lines = self._lines_after_rewrite = 0
        self._warned = False

    def load(self, add: Callable[[Entry], None]) -> None:
        """Call ``add`` with the entry of each line; damaged lines are left out, and their number is logged."""
        bad = 0
        try:
            for line in self._read():
                self._lines += 1
                try:
                    add(json.loads(line))
                except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
                    bad += 1
        except OSError as error:
            _log.warning(
                "%s cannot be read (%s): clients are not shown what was drawn before",
                self.path,
                system_reason(error),
            )
        if bad:
            _log.warning(
                "%s: %d lines are damaged and left out; clients are not shown what was in them", self.path, bad
            )

    def _read(self) -> Iterator[bytes]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(file.fileno()).st_size > _LARGEST_FILE:
                raise OSError(27, os.strerror(27))
            yield from file

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Replace all lines by these, and remove the files of other queues."""
        with self._lock:
            self._close()
            draft = self.path.with_name(self.path.name + ".draft")
            count = 0
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                    for entry in entries:
                        file.write(_line(entry))
                        count += 1
                draft.replace(self.path)
                for other in self.path.parent.glob(f"{_NAME}-*"):
                    if other != self.path:
                        other.unlink()
            except OSError as error:
                self._warn(error)
            self._lines = self._lines_after_rewrite = count

    @property
    def is_long(self) -> bool:
        """True if there are so many lines that the file should be rewritten."""
        return self._lines > 2 * self._lines_after_rewrite + _REWRITE_LINES

    def append(self, entry: Entry) -> None:
        """Append a line, wholly or not at all."""
        line = _line(entry)
        with self._lock:
            self._lines += 1
            try:
                if self._file < 0:
                    self._file = os.open(
                        self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                    )
                    self._end_line()
                written = os.write(self._file, line)
                if written != len(line):
                    os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                    raise OSError(28, os.strerror(28))
            except OSError as error:
                self._warn(error)

    def _end_line(self) -> None:
        """End the half line that a killed program may have left."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            text = "%s: what clients are shown cannot be written (%s); after a restart it is missing"
            _log.warning(text, self.path, system_reason(error))

    def close(self) -> None:
        """Close the file; `append` opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
