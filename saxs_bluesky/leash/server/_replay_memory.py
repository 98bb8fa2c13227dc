"""Which requests were seen: remembered, also in a file, for as long as they could be sent again."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import heapq
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from saxs_bluesky.errors import OutputError, system_reason
from saxs_bluesky.leash.protocol import Kind, LeashError
from saxs_bluesky.support.locks import pids_of

_log = logging.getLogger(__name__)

_LONGEST_LINE = 100  # bytes
_REWRITE_LINES = 1000
_MOST_REFUSED_SPANS = 8
_FORGOTTEN = "forgotten"


class ReplayMemory:
    """A bounded memory of requests, by the time at which they were signed.

    Requests are forgotten when they are too old to be accepted, or when there are too many, the oldest first. The spans
    of time in which forgotten requests were signed are remembered, and nothing signed in them is accepted: a full
    memory or a clock that is set back lets no request in twice, and a clock that was ahead for a while locks nobody
    out.

    Without a file, or with a damaged one, nothing signed before the start is accepted. The file gives more: a request
    that a client with a clock ahead sent before a restart can carry a time after it.

    May be used by several threads.

    Parameters
    ----------
    path
        The file, which only its owner can read; None for none. One program at a time may use it.
    window
        Seconds for which a request is timely.
    most
        Requests to remember.
    clock
        Returns the time in seconds since 1970.
    uptime
        Returns the time in seconds from any start, as a clock that is never set.

    Raises
    ------
    OutputError
        The file cannot be written, or another program uses it.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        window: float = 900.0,
        most: int = 100_000,
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._window, self._most, self._uptime = path, window, most, uptime
        self._turn = threading.Lock()
        self._started = uptime()
        self._only_since_start = path is None
        self._seen: set[str] = set()
        self._by_time: list[tuple[float, str]] = []
        self._refused_spans: list[tuple[float, float]] = []  # of forgotten requests, in order
        self._file = self._lock_file = -1
        self._lines = 0
        self._opened = clock()
        if path is None:
            return
        try:
            self._open(path, self._opened)
        except OSError as error:
            self.close()
            text = f"{path}: the file of the requests seen cannot be used: {system_reason(error)}"
            raise OutputError(text) from error

    def __len__(self) -> int:
        """How many requests are remembered."""
        return len(self._seen)

    def accept_once(self, mark: str, signed: float, now: float) -> None:
        """Remember an authentic request, before anything is done for it.

        Parameters
        ----------
        mark
            What identifies the request: its signature or its nonce.
        signed
            When it was signed, in seconds since 1970.
        now
            The time, in seconds since 1970.

        Raises
        ------
        LeashError
            It was signed too long ago or in the future, or was seen before.
        """
        with self._turn:
            if not abs(now - signed) <= self._window or self._is_refused(signed, now):
                raise LeashError(Kind.AUTHENTICATION, "Untimely request.")
            key = hashlib.sha256(mark.encode("utf-8")).hexdigest()[:32]
            if key in self._seen:
                raise LeashError(Kind.AUTHENTICATION, "Request seen before.")
            self._remember(signed, key)
            if self._file >= 0:
                self._append(f"{signed!r} {key}\n")
            self._forget(now)
            if self._file >= 0 and self._lines > 2 * len(self._seen) + _REWRITE_LINES:
                self._rewrite()

    def close(self) -> None:
        """Close the file, so that another program may use it."""
        for descriptor in (self._file, self._lock_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock_file = -1

    def _is_refused(self, signed: float, now: float) -> bool:
        # The start in terms of the clock as it is now, which may have been set since.
        if self._only_since_start and signed <= now - (self._uptime() - self._started):
            return True
        return any(first <= signed <= last for first, last in self._refused_spans)

    def _remember(self, signed: float, key: str) -> None:
        self._seen.add(key)
        heapq.heappush(self._by_time, (signed, key))

    def _forget(self, now: float) -> None:
        while self._by_time and (self._by_time[0][0] < now - self._window or len(self._by_time) > self._most):
            signed, key = heapq.heappop(self._by_time)
            self._seen.discard(key)
            self._refuse_span(signed, signed)

    def _refuse_span(self, first: float, last: float) -> None:
        """Accept nothing that was signed in this span; spans that are less than a window apart become one."""
        apart: list[tuple[float, float]] = []
        for span in self._refused_spans:
            if span[0] - self._window <= last and first <= span[1] + self._window:
                first, last = min(first, span[0]), max(last, span[1])
            else:
                apart.append(span)
        self._refused_spans = sorted([*apart, (first, last)])
        while len(self._refused_spans) > _MOST_REFUSED_SPANS:
            (first, _), (_, last), *rest = self._refused_spans
            self._refused_spans = [(first, last), *rest]

    def _open(self, path: Path, now: float) -> None:
        lock = path.with_name(path.name + ".lock")
        self._lock_file = _open_private(lock)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EAGAIN, f"it is used by another process{pids_of(lock)}") from None
        self._file = _open_private(path)
        if not self._read(path):
            _log.warning("%s is damaged: requests signed before now are refused", path)
            self._only_since_start = True
        if any(first == 0.0 and last > now for first, last in self._refused_spans):
            self._only_since_start = True  # at an earlier start the clock was ahead
            self._refused_spans = [span for span in self._refused_spans if span[0] > 0.0]
        self._forget(now)
        self._rewrite()

    def _read(self, path: Path) -> bool:
        """Read the file; False if it is damaged."""
        size = os.fstat(self._file).st_size
        self._only_since_start = size == 0
        if size > _LONGEST_LINE * (3 * self._most + 2 * _REWRITE_LINES):
            return False
        whole = True
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):  # else the program ended before it did anything for that request
                whole = self._load_line(line) and whole
        return whole

    def _load_line(self, line: bytes) -> bool:
        """Load a line of the file; False if it is damaged."""
        try:
            *times, key = line.decode("ascii").split()
            first, last = float(times[0]), float(times[-1])
        except (ValueError, IndexError):
            return False
        if not (math.isfinite(first) and math.isfinite(last)):
            return False
        if key == _FORGOTTEN:
            self._refuse_span(first, last)
        elif key not in self._seen:
            self._remember(first, key)
        return True

    def _append(self, line: str) -> None:
        try:
            _write(self._file, line)
        except OSError as error:
            self._remove_file(error)
        self._lines += 1

    def _rewrite(self) -> None:
        """Write the file anew, without what is forgotten."""
        assert self._path is not None
        draft = self._path.with_name(self._path.name + ".draft")
        try:
            draft.unlink(missing_ok=True)
            new = _open_private(draft)
            try:
                _write(new, "".join(self._file_lines()))
                draft.replace(self._path)
            except OSError:
                os.close(new)
                raise
        except OSError as error:
            self._remove_file(error)
            return
        os.close(self._file)
        self._file = new
        self._lines = len(self._by_time)

    def _file_lines(self) -> Iterator[str]:
        # At least one line: an empty file is taken for that of a first start.
        since_start = [(0.0, self._opened if self._only_since_start else 0.0)]
        for first, last in since_start + self._refused_spans:
            yield f"{first!r} {last!r} {_FORGOTTEN}\n"
        for signed, key in self._by_time:
            yield f"{signed!r} {key}\n"

    def _remove_file(self, error: OSError) -> None:
        """Remove the file: without it a restart refuses what was signed before; with half of it, it would not."""
        assert self._path is not None
        _log.warning(
            "%s: which requests were seen cannot be written (%s). The file is removed; after a restart, requests "
            "signed before it are refused",
            self._path,
            system_reason(error),
        )
        os.close(self._file)
        self._file = -1
        self._path.unlink(missing_ok=True)


def _open_private(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _write(descriptor: int, text: str) -> None:
    content = text.encode("ascii")
    if os.write(descriptor, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
