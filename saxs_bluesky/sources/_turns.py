"""The order in which files go that get ready at nearly the same time."""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

_NEIGHBOURS_SECONDS = 0.4  # for how long a file that came is waited for by those behind it
_LONGEST_HOLD = 0.25  # seconds that a file which is ready waits for one before it


class HasPath(Protocol):
    """What has a path."""

    path: str


Item = TypeVar("Item", bound=HasPath)


@dataclass(eq=False)
class _Folder(Generic[Item]):
    coming: list[tuple[str, float, int, Item]] = field(default_factory=list)  # by name
    ready: list[tuple[str, float, int, Item]] = field(default_factory=list)


class Turns(Generic[Item]):
    """Puts files of a folder that come together into the order of their names.

    One that is ready waits for those before it that came at the same time, for no longer than a quarter of a
    second: one that is not ready does not hold up the others.

    Parameters
    ----------
    clock
        Seconds that only ascend.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._folders: dict[str, _Folder[Item]] = defaultdict(_Folder)
        self._coming: set[Item] = set()
        self._ready: set[Item] = set()
        self._ends: list[tuple[float, int, str]] = []
        self._numbers = count()

    def __contains__(self, item: Item) -> bool:
        return item in self._ready

    @property
    def next_end(self) -> float | None:
        """When a file has waited for long enough."""
        return self._ends[0][0] if self._ends else None

    def come(self, item: Item) -> None:
        """Note that a file came."""
        folder, name = os.path.split(item.path)
        self._coming.add(item)
        heapq.heappush(self._folders[folder].coming, (name, self._clock(), next(self._numbers), item))

    def leave(self, item: Item) -> None:
        """Note that a file is not waited for any more: it is gone, or to be looked at again later."""
        self._coming.discard(item)
        self._ready.discard(item)

    def get_ready(self, item: Item) -> None:
        """Note that a file is ready."""
        folder, name = os.path.split(item.path)
        self._coming.discard(item)
        self._ready.add(item)
        entry = (name, self._clock() + _LONGEST_HOLD, next(self._numbers), item)
        heapq.heappush(self._folders[folder].ready, entry)

    def go(self, path: str) -> Iterator[Item]:
        """Yield the files whose turn it is in the folder of a file that is ready, or not waited for any more."""
        folder = os.path.dirname(path)
        place = self._folders.get(folder)
        if place is None:
            return
        while place.ready:
            name, end, number, item = place.ready[0]
            if item in self._ready and end > self._clock() and self._first(place) < name:
                heapq.heappush(self._ends, (end, number, folder))
                return
            heapq.heappop(place.ready)
            if item in self._ready:
                self._ready.discard(item)
                yield item
        if not self._first(place, none=""):
            self._folders.pop(folder, None)

    def go_at_last(self) -> Iterator[Item]:
        """Yield the files that have waited for long enough."""
        while self._ends and self._ends[0][0] <= self._clock():
            _, _, folder = heapq.heappop(self._ends)
            yield from self.go(os.path.join(folder, ""))

    def _first(self, place: _Folder[Item], none: str = "\U0010ffff") -> str:
        """First name that is worth waiting for."""
        while place.coming:
            name, since, _, item = place.coming[0]
            if item in self._coming and self._clock() - since < _NEIGHBOURS_SECONDS:
                return name
            heapq.heappop(place.coming)
            self._coming.discard(item)
        return none
