"""Files on the way: from a name that turned up to a file that can be read."""

from __future__ import annotations

import heapq
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from saxs_bluesky.errors import reason_of
from saxs_bluesky.reduction import PilatusHeader, Stamp, ends_in_zeros, read_header, stamp_of

_LONGEST_PAUSE = 0.5  # seconds between looks at a file that stands still and is not whole


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
    """

    path: str
    stamp: Stamp
    size: int
    modified: float
    header: PilatusHeader | None
    failure: str = ""


@dataclass(eq=False)
class _Pending:
    path: str
    promised: bool
    stamp: Stamp | None
    still_since: float  # when the stamp was first seen, by the clock
    pause: float
    look_at: float = field(default=0.0)


class Readiness:
    """Watches files until they stand still and are whole.

    A file is ready when two looks, ``settle`` apart, find the same inode, size and time of change, and its pixels lie
    inside it. One that ends in zeros may be preallocated and not filled yet, so it must have stood still for
    ``quiet``. One that has stood still for ``deadline`` and is not whole is handed out with the reason; when it
    changes it may be noted anew. Times are this computer's: the clock of a file server may differ.

    Parameters
    ----------
    settle, quiet, deadline
        In seconds.
    clock
        Seconds that only ascend.
    """

    def __init__(
        self,
        *,
        settle: float = 0.04,
        quiet: float = 2.0,
        deadline: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle = settle
        self._quiet = quiet
        self._deadline = deadline
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._agenda: list[tuple[float, int, _Pending]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, path: str) -> bool:
        return path in self._pending

    @property
    def next_look(self) -> float | None:
        """When a file must be looked at next, by the clock; None where none waits."""
        return self._agenda[0][0] if self._agenda else None

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
            file = self._pending[path] = _Pending(path, promised, _stamp(path), now, self._settle)
            self._plan(file, now + self._settle)
            return
        file.promised |= promised
        if file.look_at > now + self._settle:
            file.pause = self._settle
            self._plan(file, now)

    def _plan(self, file: _Pending, when: float) -> None:
        file.look_at = when
        heapq.heappush(self._agenda, (when, next(self._numbers), file))

    def due(self) -> Iterator[FoundFile]:
        """Yield the files that are ready, or will not become so, looking at those whose time has come."""
        while self._agenda and self._agenda[0][0] <= self._clock():
            when, _, file = heapq.heappop(self._agenda)
            if when != file.look_at or self._pending.get(file.path) is not file:
                continue  # planned anew meanwhile
            try:
                found = self._look(file)
            # Whatever is wrong with one file costs that file.
            except Exception as error:  # noqa: BLE001
                found = FoundFile(file.path, file.stamp or 0, 0, math.nan, None, f"{file.path}: {reason_of(error)}")
            if found is not None:
                del self._pending[file.path]
                yield found

    def _look(self, file: _Pending) -> FoundFile | None:
        now = self._clock()
        try:
            status = os.stat(file.path)
        except OSError as error:
            return self._absent(file, now, error)
        stamp = stamp_of(status)
        if stamp != file.stamp:
            file.stamp, file.still_since, file.pause = stamp, now, self._settle
            self._plan(file, now + self._settle)
            return None
        # What was written long ago, by the file server's clock, has stood still since.
        still = max(now - file.still_since, time.time() - status.st_mtime)
        failure, header = "", None
        try:
            layout = read_header(file.path)
            if layout.stamp != stamp:
                # Written to or replaced since the look at its status: it is another content that is whole.
                file.stamp, file.still_since, file.pause = None, now, self._settle
                self._plan(file, now + self._settle)
                return None
            header = layout.header
            if still < self._quiet and ends_in_zeros(layout):
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
        return FoundFile(file.path, stamp, status.st_size, status.st_mtime, header, failure)

    def _absent(self, file: _Pending, now: float, error: OSError) -> FoundFile | None:
        if not file.promised:
            del self._pending[file.path]
            return None
        if file.stamp is not None:
            file.stamp, file.still_since = None, now
        if now - file.still_since < self._deadline:
            file.pause = min(2 * file.pause, _LONGEST_PAUSE)
            self._plan(file, now + file.pause)
            return None
        failure = f"{file.path}: wanted a TIFF image, found {error.strerror or error}"
        return FoundFile(file.path, 0, 0, math.nan, None, failure)


def _stamp(path: str) -> Stamp | None:
    try:
        return stamp_of(os.stat(path))
    except (OSError, ValueError):  # ValueError: a path that none can have
        return None
