"""Frames of files that cannot be read before they are closed: they wait together, and keep no others waiting."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import TypeAlias

from saxs_bluesky.callbacks.reduction._work_item import RunState, WorkItem
from saxs_bluesky.documents import FrameResult

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds between looks at a file

_Key: TypeAlias = tuple[RunState, str, str]
_Turn: TypeAlias = tuple[WorkItem, FrameResult | None]


@dataclass(eq=False)
class _Line:
    """Frames of one stream of a detector, in their order, from the first that cannot be read on."""

    frames: dict[WorkItem, FrameResult | None] = field(default_factory=dict)  # None: not known
    asked: set[WorkItem] = field(default_factory=set)  # that are being read
    accepted: float = inf  # when the document of the first was
    deadline: float = inf  # until the end of the run is known
    is_last: bool = False  # what cannot be read now has failed
    since: float = field(default_factory=time.time)
    is_told: bool = False


class OpenFiles:
    """Keeps the items that must wait until a file is closed, in their order for each stream of a detector.

    An HDF5 file that is not written in SWMR mode is whole when its writer closes it, perhaps at the end of a scan of
    hours. One frame of it is tried from time to time. When the run has ended, the file has ``patience`` seconds more.

    Parameters
    ----------
    ask
        Has a frame read again.
    patience
        In seconds.
    """

    def __init__(self, ask: Callable[[WorkItem], None], patience: float) -> None:
        self._ask = ask
        self._patience = patience
        self._lines: dict[_Key, _Line] = {}
        self._closing: dict[RunState, WorkItem] = {}
        self._pause = _FIRST_PAUSE
        self._next = 0.0
        #: How many frames wait whose document would count as done with without them.
        self.more = 0

    @property
    def oldest(self) -> float:
        """When the document of the frame was accepted that waits for longest; inf where none does."""
        return min((line.accepted for line in list(self._lines.values())), default=inf)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def must_wait(self, item: WorkItem) -> bool:
        """True if nobody need try to read a frame, since those before it wait; from any thread."""
        line = self._lines.get(_key(item)) if self._lines else None
        return line is not None and item not in line.asked

    def in_turn(self, item: WorkItem, result: FrameResult | None) -> Iterator[_Turn]:
        """Items that may be delivered, in their order, now that one is known.

        Parameters
        ----------
        item
            That one.
        result
            What became of its frame; None where it has none, or nobody tried to read it.
        """
        if item.closing and item.run is not None:
            if not self._wait_to_close(item, item.run):
                yield item, None
        elif item.task is None or item.run is None:
            yield item, result
        else:
            line = self._lines.get(_key(item))
            if line is None and result is not None and not result.waits:
                yield item, result
                return
            if line is None:
                line = self._lines[_key(item)] = _Line()
                self._look_soon()
            line.asked.discard(item)
            self.more += item not in line.frames and not item.done
            line.frames[item] = result
            yield from self._ready(_key(item), line)

    def _wait_to_close(self, item: WorkItem, run: RunState) -> bool:
        lines = [line for key, line in self._lines.items() if key[0] is run]
        if lines:
            self._closing[run] = item
            self._look_soon()
        for line in lines:
            line.deadline = item.accepted + self._patience
        return bool(lines)

    def _ready(self, key: _Key, line: _Line) -> Iterator[_Turn]:
        some = False
        while line.frames:
            item, result = next(iter(line.frames.items()))
            line.accepted = item.accepted
            if result is None or (result.waits and not line.is_last):
                break
            del line.frames[item]
            some = True
            yield item, self._final(result)
            self.more -= not item.done
        if not line.frames:
            del self._lines[key]
            if key[0] in self._closing and not any(other[0] is key[0] for other in self._lines):
                yield self._closing.pop(key[0]), None
        elif some:
            unknown = [one for one, found in line.frames.items() if found is None or found.waits]
            self._ask_again(line, [one for one in unknown if one not in line.asked])

    def _final(self, result: FrameResult) -> FrameResult:
        if not result.waits or not result.failure:  # the latter lacks the value of an axis
            return result
        text = f"{result.failure}; it was waited for until {self._patience:g} s after the end of the run"
        return replace(result, failure=text, waits=False)

    def _ask_again(self, line: _Line, items: Iterable[WorkItem]) -> None:
        for item in items:
            line.frames[item] = None
            line.asked.add(item)
            self._ask(item)

    def _look_soon(self) -> None:
        self._pause, self._next = _FIRST_PAUSE, 0.0

    def look(self) -> float:
        """Have the first frame of each stream tried again, if it is time.

        Returns
        -------
        For how many seconds there is nothing to look at.
        """
        if not self._lines:
            return _LONGEST_PAUSE
        now = time.time()
        if now < self._next:
            return min(self._next - now, _LONGEST_PAUSE)
        for (_, detector, _), line in self._lines.items():
            if line.asked:
                continue
            first = next(iter(line.frames))
            self._tell_waiting(detector, line, first, now)
            line.is_last = now >= line.deadline
            self._ask_again(line, [first])
        self._next = now + self._pause
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause

    def _tell_waiting(self, detector: str, line: _Line, first: WorkItem, now: float) -> None:
        result = line.frames[first]
        if line.is_told or result is None or now - line.since < self._patience:
            return
        line.is_told = True
        _log.warning("frames of %s wait until their file is closed: %s", detector, result.failure)


def _key(item: WorkItem) -> _Key:
    assert item.run is not None
    assert item.task is not None
    return item.run, item.task.detector, item.task.stream
