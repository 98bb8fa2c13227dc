"""The rows of a stream, put together by their numbers: documents of several detectors come in any order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from saxs_bluesky.documents._frame_task import FrameTask
from saxs_bluesky.documents._streamed_values import StreamedValue
from saxs_bluesky.documents._types import Document


class Ranges:
    """A set of numbers, few ranges of many."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._starts, number)
        return place > 0 and number < self._stops[place - 1]

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        place = bisect_right(self._starts, number)
        if place and number < self._stops[place - 1]:
            return False
        after_one = place > 0 and self._stops[place - 1] == number
        before_one = place < len(self._starts) and self._starts[place] == number + 1
        if after_one and before_one:
            self._stops[place - 1] = self._stops.pop(place)
            del self._starts[place]
        elif after_one:
            self._stops[place - 1] += 1
        elif before_one:
            self._starts[place] -= 1
        else:
            self._starts.insert(place, number)
            self._stops.insert(place, number + 1)
        return True


class Numbers:
    """Numbers of the first frames of rows, of which each may hold several; no two frames have one number.

    They follow from the number of the row, so that a lost document does not shift the others. From the row on
    in which another number of frames is found, they are counted on from there.
    """

    def __init__(self) -> None:
        self._changes: list[tuple[int, int, int]] = []  # row, number of its first frame, frames in each

    @property
    def latest(self) -> int:
        """How many frames the latest rows have."""
        return self._changes[-1][2]

    def first(self, row: int, frames: int) -> int:
        """Number of the first frame of a row.

        Parameters
        ----------
        row
            Its number, from 1.
        frames
            How many it holds.
        """
        if not self._changes:
            self._changes.append((1, 0, frames))
        place = bisect_right(self._changes, row, key=lambda one: one[0]) - 1
        since, number, each = self._changes[max(place, 0)]
        number += (row - since) * each
        if each != frames and place == len(self._changes) - 1:
            self._changes.append((row, number, frames))
        return number


@dataclass
class _Row:
    event: tuple[float, Document] | None = None  # when, and the coordinates
    told: frozenset[str] = frozenset()  # images that were in the event, or need not come
    values: dict[str, StreamedValue | str] = field(default_factory=dict)
    tasks: list[FrameTask] = field(default_factory=list)


class Rows:
    """Puts frames, events and streamed values of one stream together.

    Parameters
    ----------
    images
        Data keys of images whose frames may come by themselves.
    axes
        Data keys of scanned axes that are streamed.
    by_event
        Whether other scanned axes are in events: then a frame waits for its event.
    """

    def __init__(self, images: Iterable[str], axes: Iterable[str], *, by_event: bool) -> None:
        self._images = tuple(images)
        self._axes = tuple(axes)
        self._by_event = by_event
        self._rows: dict[int, _Row] = {}
        self._streamed = {key: Ranges() for key in (*self._images, *self._axes)}

    def is_new(self, key: str, number: int) -> bool:
        """True if the image or value of a row comes for the first time; from now on it does not."""
        return self._streamed[key].add(number)

    def has(self, key: str, number: int) -> bool:
        """True if the image or value of a row came."""
        return number in self._streamed[key]

    def event(
        self, number: int, time: float, coordinates: Document, told: Iterable[str], tasks: Iterable[FrameTask]
    ) -> list[FrameTask]:
        """Take the event of a row; return the frames that need not wait any more.

        Parameters
        ----------
        number
            The row's.
        time
            When it was.
        coordinates
            Values of the axes that are in it.
        told
            Data keys of the images that need not come any more.
        tasks
            Frames that are in it.
        """
        row = self._rows.setdefault(number, _Row())
        row.event, row.told = (time, coordinates), frozenset(told)
        row.tasks += tasks
        return self._ready(number, row)

    def frames(self, number: int, tasks: list[FrameTask]) -> list[FrameTask]:
        """Take all frames of one image of a row; return those that need not wait."""
        row = self._rows.get(number)
        if row is None:
            if not self._by_event and not self._axes:
                return tasks
            row = self._rows[number] = _Row()
        row.tasks += tasks
        return self._ready(number, row)

    def value(self, number: int, key: str, value: StreamedValue | str) -> list[FrameTask]:
        """Take the value of a streamed axis, or why there is none; return the frames that waited for it."""
        row = self._rows.setdefault(number, _Row())
        row.values[key] = value
        return self._ready(number, row)

    def rest(self) -> list[FrameTask]:
        """Frames that wait for what never comes."""
        waiting = [self._with(row, task) for row in self._rows.values() for task in row.tasks]
        self._rows.clear()
        return waiting

    def lacking(self, key: str) -> list[tuple[int, float, Document]]:
        """Rows that have an event but not the image of a data key: their numbers, times and coordinates."""
        return [
            (number, *row.event)
            for number, row in self._rows.items()
            if row.event is not None and key not in row.told and not self.has(key, number)
        ]

    def _ready(self, number: int, row: _Row) -> list[FrameTask]:
        if not self._is_whole(row):
            return []
        tasks, row.tasks = [self._with(row, task) for task in row.tasks], []
        if all(key in row.told or self.has(key, number) for key in self._images):
            del self._rows[number]  # nothing can come to it any more
        return tasks

    def _is_whole(self, row: _Row) -> bool:
        return (row.event is not None or not self._by_event) and len(row.values) == len(self._axes)

    def _with(self, row: _Row, task: FrameTask) -> FrameTask:
        if row.event is None:
            return replace(task, streamed=row.values) if row.values else task
        time, coordinates = row.event
        return replace(task, time=time, coordinates=coordinates, streamed=row.values)
