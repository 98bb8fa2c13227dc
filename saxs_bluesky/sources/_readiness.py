"""Readiness of files: from a path that was found to a file that can be read."""

from __future__ import annotations

import heapq
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

from saxs_bluesky.errors import FrameError, printable, reason_of, system_reason
from saxs_bluesky.reduction import (
    FrameFile,
    PilatusHeader,
    Stamp,
    ends_in_zeros,
    read_header,
    read_headers,
    stamp_of,
)
from saxs_bluesky.sources._name_order import NameOrder
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

MOST_ABSENT = 10_000
"""How many announced files that do not exist are waited for at a time."""

_LONGEST_PAUSE = 0.5  # seconds between looks at a file that stands still and is not whole
_ABSENT_LOOKS = 2000  # a second
_ABSENT_AT_A_TIME = 16

Page = FrameFile | FrameError
"""A page of a file: what its header says, or why it is not a whole image."""


@dataclass(frozen=True)
class FoundFile:
    """A file to reduce.

    Parameters
    ----------
    path
        Where it is.
    stamp
        Which content of it; 0 if it does not exist.
    size
        In bytes.
    modified
        When it was last written, in seconds since 1970.
    header
        What the detector says of the image; None if the file is not a whole image.
    failure
        Why there is no header; empty if there is one.
    pages
        Those of a file with several images; empty for any other file.
    first
        Which page is the first to reduce.
    """

    path: str
    stamp: Stamp
    size: int
    modified: float
    header: PilatusHeader | None
    failure: str = ""
    pages: tuple[Page, ...] = ()
    first: int = 0


def _failed(path: str, failure: str, status: os.stat_result | None = None) -> FoundFile:
    """Make a file that failed; without ``status`` where it does not exist."""
    text = failure if path in failure else f"{path}: {failure}"
    if status is None:
        return FoundFile(path, 0, 0, math.nan, None, text)
    return FoundFile(path, stamp_of(status), status.st_size, status.st_mtime, None, text)


@dataclass(eq=False)
class _Pending:
    path: str
    announced: bool
    stamp: Stamp | None
    still_since: float  # when the stamp was first seen, by the clock
    pause: float
    look_at: float = 0.0
    found: FoundFile | None = None  # it is ready, and waits for its turn


class Readiness:
    """Watches files until they stand still and are whole.

    A file is ready if two looks, ``settle`` apart, find the same stamp, and its pixels lie inside it. One that ends
    in zeros may be preallocated and not filled yet, so it must have stood still for ``quiet``. One that has stood
    still for ``deadline`` and is not whole is handed out with the reason; when it changes it may be watched anew.
    Files of a folder that get ready together are handed out in the order of their names. Times are this computer's:
    the clock of a file server may differ.

    An announced file that does not exist is waited for until ``deadline`` too, but no more than ``most_absent`` at a
    time: others are dropped, and counted. Files that exist are handed out first.

    Parameters
    ----------
    settle, quiet, deadline
        In seconds.
    most_absent
        How many announced files that do not exist are waited for.
    clock
        Monotonic clock, in seconds.
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
        self._order: NameOrder[_Pending] = NameOrder(clock)
        self._absent: set[_Pending] = set()
        self._never_came: deque[FoundFile] = deque()
        #: How many announced files were not waited for.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._pending) + len(self._never_came)

    def __contains__(self, path: str) -> bool:
        return path in self._pending

    @property
    def paths(self) -> list[str]:
        """Files that are watched; to be asked for in the thread that watches them, or after it."""
        return [*self._pending, *(file.path for file in self._never_came)]

    @property
    def next_look(self) -> float | None:
        """When a file must be looked at next, by the clock; None if none waits."""
        if self._never_came:
            return self._clock()
        looks = [self._agenda[0][0] if self._agenda else None, self._order.next_deadline]
        return min((look for look in looks if look is not None), default=None)

    def watch(self, path: str, *, announced: bool = False) -> None:
        """Begin to watch a file, or look at one again soon.

        Parameters
        ----------
        path
            Its path.
        announced
            Somebody said that it exists: its absence is a failure. Otherwise a path that is gone is forgotten, such
            as that of a temporary file.
        """
        now = self._clock()
        file = self._pending.get(path)
        if file is None:
            stamp = _stamp(path)
            file = _Pending(path, announced, stamp, now, self._settle)
            if stamp is None and announced and not self._has_room_for(file):
                return
            self._pending[path] = file
            if stamp is not None:
                self._order.expect(file)
            self._schedule(file, now + self._settle)
            return
        file.announced |= announced
        if file.found is not None:  # it may have changed since
            file.found = None
            self._order.withdraw(file)
            self._schedule(file, now)
        elif file.look_at > now + self._settle:
            file.pause = self._settle
            self._schedule(file, now)

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

    def _schedule(self, file: _Pending, when: float) -> None:
        file.look_at = when
        heapq.heappush(self._agenda, (when, next(self._numbers), file))

    def due(self) -> Iterator[FoundFile]:
        """Yield the files that are ready, or have failed; looks at those that are due.

        Announced files that never came are yielded last, and so few of them that the next good files do not wait.
        """
        while self._agenda and self._agenda[0][0] <= self._clock():
            when, _, file = heapq.heappop(self._agenda)
            if when != file.look_at or self._pending.get(file.path) is not file:
                continue  # scheduled anew meanwhile
            file.look_at = math.inf
            try:
                file.found = self._examine(file)
            # Whatever is wrong with one file costs that file.
            except Exception as error:  # noqa: BLE001
                file.found = replace(_failed(file.path, reason_of(error)), stamp=file.stamp or 0)
            if file.found is not None:
                self._order.mark_ready(file)
            if file.found is not None or self._pending.get(file.path) is not file:
                yield from self._hand_out(self._order.release(file.path))
        yield from self._hand_out(self._order.release_expired())
        for _ in range(min(_ABSENT_AT_A_TIME, len(self._never_came))):
            yield self._never_came.popleft()

    def _hand_out(self, files: Iterator[_Pending]) -> Iterator[FoundFile]:
        for file in files:
            if file.found is not None and self._pending.get(file.path) is file:
                del self._pending[file.path]
                yield file.found

    def _forget(self, file: _Pending) -> None:
        del self._pending[file.path]
        self._absent.discard(file)
        self._order.withdraw(file)

    def _examine(self, file: _Pending) -> FoundFile | None:
        """Look at a file; None if it must be looked at again, or is gone."""
        now = self._clock()
        try:
            status = os.stat(file.path)
        except OSError as error:
            self._handle_absence(file, now, error)
            return None
        self._absent.discard(file)
        stamp = stamp_of(status)
        if stamp != file.stamp:
            self._settle_again(file, now, stamp)
            return None
        # What was written long ago, by the file server's clock, has stood still since.
        still = max(now - file.still_since, time.time() - status.st_mtime)
        pages: list[Page] = []
        try:
            first = read_header(file.path, status)
            pages = read_headers(file.path) if first.pages > 1 else [first]
            if any(page.stamp != stamp for page in pages if isinstance(page, FrameFile)):
                # Written to or replaced since the look at its status: it is another content that is whole.
                self._settle_again(file, now, None)
                return None
            for page in pages:
                if isinstance(page, FrameError):
                    raise page
                last = page
            # Pages are filled one after the other.
            if still < self._quiet and ends_in_zeros(last):
                self._schedule(file, now + self._quiet - still)
                return None
        # Beside errors of files: a file that is half written fails in as many ways as there are readers.
        except Exception as error:  # noqa: BLE001
            if still < self._deadline:
                file.pause = min(2 * file.pause, _LONGEST_PAUSE)
                self._schedule(file, now + file.pause)
                return None
            pages = pages if len(pages) > 1 else _pages_after_all(file.path)
            if not pages:
                return _failed(file.path, reason_of(error), status)
        header = pages[0].header if isinstance(pages[0], FrameFile) else None
        several = tuple(pages) if len(pages) > 1 else ()
        return FoundFile(file.path, stamp, status.st_size, status.st_mtime, header, pages=several)

    def _settle_again(self, file: _Pending, now: float, stamp: Stamp | None) -> None:
        file.stamp, file.still_since, file.pause = stamp, now, self._settle
        self._schedule(file, now + self._settle)

    def _handle_absence(self, file: _Pending, now: float, error: OSError) -> None:
        """Wait for an announced file that does not exist, or give it up."""
        if not file.announced:
            self._forget(file)
            return
        if file.stamp is not None:
            file.stamp, file.still_since = None, now
        if file not in self._absent and not self._has_room_for(file):
            self._forget(file)
        elif now - file.still_since < self._deadline:
            # Many take no more than a share of the time.
            file.pause = min(2 * file.pause, max(_LONGEST_PAUSE, len(self._absent) / _ABSENT_LOOKS))
            self._schedule(file, min(now + file.pause, file.still_since + self._deadline))
        else:
            self._forget(file)
            self._never_came.append(_failed(file.path, f"wanted a TIFF image, found {system_reason(error)}"))


def _pages_after_all(path: str) -> list[Page]:
    """Pages of a file whose first one cannot be read, if it has others."""
    try:
        pages = read_headers(path)
    except FrameError:
        return []
    return pages if len(pages) > 1 else []


def _stamp(path: str) -> Stamp | None:
    try:
        return stamp_of(os.stat(path))
    except (OSError, ValueError):  # ValueError: a path that none can have
        return None
