"""The order of names for files that get ready at nearly the same time."""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

_NEIGHBOUR_SECONDS = 0.4  # for how long a file that came is waited for by those behind it
_LONGEST_HOLD = 0.25  # seconds that a file which is ready waits for one before it


class HasPath(Protocol):
    """An object with a path."""

    path: str


Item = TypeVar("Item", bound=HasPath)


@dataclass(eq=False)
class _Folder(Generic[Item]):
    expected: list[tuple[str, float, int, Item]] = field(default_factory=list)  # by name
    ready: list[tuple[str, float, int, Item]] = field(default_factory=list)


class NameOrder(Generic[Item]):
    """Puts files of a folder that come together into the order of their names.

    One that is ready waits for those before it that came at the same time, for no longer than a quarter of a
    second: one that is not ready does not hold up the others.

    Parameters
    ----------
    clock
        Monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._folders: dict[str, _Folder[Item]] = defaultdict(_Folder)
        self._expected: set[Item] = set()
        self._ready: set[Item] = set()
        self._ends: list[tuple[float, int, str]] = []
        self._numbers = count()

    @property
    def next_deadline(self) -> float | None:
        """When the next file has waited for long enough, by the clock; None if none waits."""
        return self._ends[0][0] if self._ends else None

    def expect(self, item: Item) -> None:
        """Files behind this one in the order of names wait for it."""
        folder, name = os.path.split(item.path)
        self._expected.add(item)
        heapq.heappush(self._folders[folder].expected, (name, self._clock(), next(self._numbers), item))

    def withdraw(self, item: Item) -> None:
        """No file waits for this one any more: it is gone, or to be looked at again later."""
        self._expected.discard(item)
        self._ready.discard(item)

    def mark_ready(self, item: Item) -> None:
        """A file is ready, and goes when `release` finds that it is its turn."""
        folder, name = os.path.split(item.path)
        self._expected.discard(item)
        self._ready.add(item)
        entry = (name, self._clock() + _LONGEST_HOLD, next(self._numbers), item)
        heapq.heappush(self._folders[folder].ready, entry)

    def release(self, path: str) -> Iterator[Item]:
        """Yield the files whose turn it is, in the folder of a file that is ready or not waited for any more."""
        folder = os.path.dirname(path)
        state = self._folders.get(folder)
        if state is None:
            return
        while state.ready:
            name, end, number, item = state.ready[0]
            if item in self._ready and end > self._clock() and self._first(state) < name:
                heapq.heappush(self._ends, (end, number, folder))
                return
            heapq.heappop(state.ready)
            if item in self._ready:
                self._ready.discard(item)
                yield item
        if not self._first(state, none=""):
            self._folders.pop(folder, None)

    def release_expired(self) -> Iterator[Item]:
        """Yield the files that have waited for long enough."""
        while self._ends and self._ends[0][0] <= self._clock():
            _, _, folder = heapq.heappop(self._ends)
            yield from self.release(os.path.join(folder, ""))

    def _first(self, state: _Folder[Item], none: str = "\U0010ffff") -> str:
        """First name that is worth waiting for; ``none`` if there is no such name."""
        while state.expected:
            name, since, _, item = state.expected[0]
            if item in self._expected and self._clock() - since < _NEIGHBOUR_SECONDS:
                return name
            heapq.heappop(state.expected)
            self._expected.discard(item)
        return none
