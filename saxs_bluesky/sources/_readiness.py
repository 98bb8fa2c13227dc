"""Files on the way: from a name that turned up to a file that can be read."""

from __future__ import annotations

import heapq
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from saxs_bluesky.errors import FrameError, printable, reason_of
from saxs_bluesky.reduction import (
    FrameFile,
    PilatusHeader,
    Stamp,
    ends_in_zeros,
    read_header,
    read_headers,
    stamp_of,
)
from saxs_bluesky.sources._turns import Turns
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

MOST_ABSENT = 10_000
"""How many announced files that are not there are waited for at a time."""

_LONGEST_PAUSE = 0.5  # seconds between looks at a file that stands still and is not whole
_ABSENT_LOOKS = 2000  # a second


@dataclass(frozen=True)
class FoundPage:
    """A page of a file with several: its header, or why there is none."""

    header: PilatusHeader | None
    failure: str = ""


@dataclass(frozen=True)
class FoundFile:
    """A file to reduce.

    Parameters
    ----------
    path
        Where it is.
    stamp
        Which content of it.
    size
        In bytes.
    modified
        When it was last written, seconds since 1970.
    header
        What the detector says of the image; None where the file is no whole image.
    failure
        Why there is no header; empty where there is one.
    pages
        Those of a file with several images; none of another.
    first
        Which page is the first to reduce.
    """

    path: str
    stamp: Stamp
    size: int
    modified: float
    header: PilatusHeader | None
    failure: str = ""
    pages: tuple[FoundPage, ...] = ()
    first: int = 0

    @property
    def number_of_pages(self) -> int:
        """How many frames it holds."""
        return max(1, len(self.pages))


@dataclass(eq=False)
class _Pending:
    path: str
    promised: bool
    stamp: Stamp | None
    still_since: float  # when the stamp was first seen, by the clock
    pause: float
    look_at: float = field(default=0.0)
    found: FoundFile | None = None  # it is ready, and waits for its turn


class Readiness:
    """Watches files until they stand still and are whole.

    A file is ready when two looks, ``settle`` apart, find the same stamp, and its pixels lie inside it. One that ends
    in zeros may be preallocated and not filled yet, so it must have stood still for ``quiet``. One that has stood
    still for ``deadline`` and is not whole is handed out with the reason; when it changes it may be noted anew. Files
    of a folder that get ready together are handed out in the order of their names. Times are this computer's: the
    clock of a file server may differ.

    A file that is promised and not there is waited for until ``deadline`` too, but no more than ``most_absent`` at a
    time: others are dropped, and counted. What is there goes first.

    Parameters
    ----------
    settle, quiet, deadline
        In seconds.
    most_absent
        How many promised files that are not there are waited for.
    clock
        Seconds that only ascend.
    """

    def __init__(
        self,
        *,
        settle: float = 0.04,
        quiet: float = 2.0,
        deadline: float = 10.0,
        most_absent: int = MOST_ABSENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle = settle
        self._quiet = quiet
        self._deadline = deadline
        self._most_absent = most_absent
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._agenda: list[tuple[float, int, _Pending]] = []
        self._numbers = count()
        self._turns: Turns[_Pending] = Turns(clock)
        self._absent: set[_Pending] = set()
        self._given_up: deque[FoundFile] = deque()
        #: How many promised files were not waited for.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._pending) + len(self._given_up)

    def __contains__(self, path: str) -> bool:
        return path in self._pending

    @property
    def paths(self) -> list[str]:
        """Files that are watched; to be asked for in the thread that watches them, or after it."""
        return [*self._pending, *(file.path for file in self._given_up)]

    @property
    def next_look(self) -> float | None:
        """When a file must be looked at next, by the clock; None where none waits."""
        if self._given_up:
            return self._clock()
        looks = [self._agenda[0][0] if self._agenda else None, self._turns.next_end]
        return min((look for look in looks if look is not None), default=None)

    def note(self, path: str, *, promised: bool = False) -> None:
        """Begin to watch a file, or look at one again soon.

        Parameters
        ----------
        path
            Its name.
        promised
            Somebody said that it is there: its absence is a failure. Otherwise a name that is gone is forgotten,
            such as that of a temporary file.
        """
        now = self._clock()
        file = self._pending.get(path)
        if file is None:
            stamp = _stamp(path)
            file = _Pending(path, promised, stamp, now, self._settle)
            if stamp is None and promised and not self._has_room_for(file):
                return
            self._pending[path] = file
            if stamp is not None:
                self._turns.come(file)
            self._plan(file, now + self._settle)
            return
        file.promised |= promised
        if file.found is not None:  # it may have changed since
            file.found = None
            self._turns.leave(file)
            self._plan(file, now)
        elif file.look_at > now + self._settle:
            file.pause = self._settle
            self._plan(file, now)

    def _has_room_for(self, file: _Pending) -> bool:
        if len(self._absent) < self._most_absent:
            self._absent.add(file)
            return True
        self.dropped += 1
        if is_logged(self.dropped):
            _log.warning(
                "%s: announced, but not there; %d such files are waited for already, so this one is not "
                "(not waited for so far: %d)",
                printable(file.path),
                self._most_absent,
                self.dropped,
            )
        return False

    def _plan(self, file: _Pending, when: float) -> None:
        file.look_at = when
        heapq.heappush(self._agenda, (when, next(self._numbers), file))

    def due(self) -> Iterator[FoundFile]:
        """Yield the files that are ready, or will not become so, looking at those whose time has come.

        Promised files that never came are left to `given_up`.
        """
        while self._agenda and self._agenda[0][0] <= self._clock():
            when, _, file = heapq.heappop(self._agenda)
            if when != file.look_at or self._pending.get(file.path) is not file:
                continue  # planned anew meanwhile
            file.look_at = math.inf
            try:
                found = self._look(file)
            # Whatever is wrong with one file costs that file.
            except Exception as error:  # noqa: BLE001
                found = FoundFile(file.path, file.stamp or 0, 0, math.nan, None, f"{file.path}: {reason_of(error)}")
            if found is not None:
                file.found = found
                self._turns.get_ready(file)
            if found is not None or self._pending.get(file.path) is not file:
                yield from self._hand_out(self._turns.go(file.path))
        yield from self._hand_out(self._turns.go_at_last())

    def given_up(self, number: int) -> list[FoundFile]:
        """Some of the promised files that never came, no more than a number: each with its failure."""
        return [self._given_up.popleft() for _ in range(min(number, len(self._given_up)))]

    def _hand_out(self, files: Iterator[_Pending]) -> Iterator[FoundFile]:
        for file in files:
            if file.found is not None and self._pending.get(file.path) is file:
                del self._pending[file.path]
                yield file.found

    def _leave(self, file: _Pending) -> None:
        del self._pending[file.path]
        self._absent.discard(file)
        self._turns.leave(file)

    def _look(self, file: _Pending) -> FoundFile | None:
        now = self._clock()
        try:
            status = os.stat(file.path)
        except OSError as error:
            self._look_at_none(file, now, error)
            return None
        self._absent.discard(file)
        stamp = stamp_of(status)
        if stamp != file.stamp:
            file.stamp, file.still_since, file.pause = stamp, now, self._settle
            self._plan(file, now + self._settle)
            return None
        # What was written long ago, by the file server's clock, has stood still since.
        still = max(now - file.still_since, time.time() - status.st_mtime)
        failure, header = "", None
        pages: tuple[FoundPage, ...] = ()
        try:
            headers = _headers(file.path, status)
            if any(one.stamp != stamp for one in headers if isinstance(one, FrameFile)):
                # Written to or replaced since the look at its status: it is another content that is whole.
                file.stamp, file.still_since, file.pause = None, now, self._settle
                self._plan(file, now + self._settle)
                return None
            pages = _pages(headers)
            whole = _all_whole(headers)
            header = whole[0].header
            # Pages are filled one after the other.
            if still < self._quiet and ends_in_zeros(whole[-1]):
                self._plan(file, now + self._quiet - still)
                return None
        # Beside errors of files: a file that is half written fails in as many ways as there are readers.
        except Exception as error:  # noqa: BLE001
            if still < self._deadline:
                file.pause = min(2 * file.pause, _LONGEST_PAUSE)
                self._plan(file, now + file.pause)
                return None
            failure = reason_of(error)
            if file.path not in failure:
                failure = f"{file.path}: {failure}"
            pages = pages or _pages_after_all(file.path)
            if pages:
                header, failure = pages[0].header, ""
        return FoundFile(file.path, stamp, status.st_size, status.st_mtime, header, failure, pages)

    def _look_at_none(self, file: _Pending, now: float, error: OSError) -> None:
        """Wait for a promised file that is not there, or give it up."""
        if not file.promised:
            self._leave(file)
            return
        if file.stamp is not None:
            file.stamp, file.still_since = None, now
        if file not in self._absent and not self._has_room_for(file):
            self._leave(file)
        elif now - file.still_since < self._deadline:
            # Many take no more than a share of the time.
            file.pause = min(2 * file.pause, max(_LONGEST_PAUSE, len(self._absent) / _ABSENT_LOOKS))
            self._plan(file, min(now + file.pause, file.still_since + self._deadline))
        else:
            self._leave(file)
            failure = f"{file.path}: wanted a TIFF image, found {error.strerror or error}"
            self._given_up.append(FoundFile(file.path, 0, 0, math.nan, None, failure))


def _headers(path: str, status: os.stat_result) -> list[FrameFile | FrameError]:
    """Headers of the images in a file, which has this status."""
    first = read_header(path, status)
    return read_headers(path) if first.pages > 1 else [first]


def _all_whole(headers: Sequence[FrameFile | FrameError]) -> list[FrameFile]:
    for one in headers:
        if isinstance(one, FrameError):
            raise one
    return [one for one in headers if isinstance(one, FrameFile)]


def _pages(headers: Sequence[FrameFile | FrameError]) -> tuple[FoundPage, ...]:
    if len(headers) < 2:
        return ()
    return tuple(FoundPage(None, str(one)) if isinstance(one, FrameError) else FoundPage(one.header) for one in headers)


def _pages_after_all(path: str) -> tuple[FoundPage, ...]:
    """Pages of a file whose first one cannot be read, if it has others."""
    try:
        return _pages(read_headers(path))
    except FrameError:
        return ()


def _stamp(path: str) -> Stamp | None:
    try:
        return stamp_of(os.stat(path))
    except (OSError, ValueError):  # ValueError: a path that none can have
        return None
