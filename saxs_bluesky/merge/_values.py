"""Values of a logger's columns at images, by each method; no loop over rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.merge._tables import LONG_EXPOSURE, NS, LogTable, Method, Times

_Floats: TypeAlias = NDArray[np.float64]
_Mask: TypeAlias = NDArray[np.bool_]
_Rows: TypeAlias = NDArray[np.intp]
Lacks: TypeAlias = NDArray[np.int8]  # a `Lack` for each image

_FOREVER = np.iinfo(np.int64).max


class Lack(IntEnum):
    """Why an image has no value of a logger."""

    #: It has one.
    NONE = 0
    #: The logger has no entry at all.
    NO_ENTRIES = 1
    #: The first entry is later; for a mean: later than the start of the exposure.
    BEFORE_FIRST = 2
    #: The last entry is earlier, by more than the time between two entries.
    AFTER_LAST = 3
    #: The entry is farther away, or the neighbours are farther apart, than the table's tolerance.
    BEYOND_TOLERANCE = 4


@dataclass(frozen=True, eq=False)
class ImageValues:
    """What a logger says at images.

    Parameters
    ----------
    columns
        As in the table of the logger, a row for each image; numbers ``float64``, texts objects.
    lacks
        For each image why it has no value, a `Lack`, shape ``(n,)``: of the rows that have a value in any column. A
        column with empty cells may miss more.
    averaged
        True where at least one column has the mean over the exposure, shape ``(n,)``.
    """

    columns: pd.DataFrame
    lacks: Lacks
    averaged: _Mask


def image_values(table: LogTable, start: Times, end: Times) -> ImageValues:
    """Values of a logger at images: of each column from its own cells that are not empty.

    Of entries at the same time the last one counts. There is no value before the first entry, and none later than one
    interval (the median time between two entries) after the last one; steps hold on. An entry at exactly the time that
    is asked for needs no neighbour. Halfway between two entries the earlier one is the nearest.

    Parameters
    ----------
    table
        Entries of the logger; its offset is subtracted here.
    start
        Beginnings of the exposures, ns by the images' clock, shape ``(n,)``.
    end
        Their ends. An exposure without length has no mean, but the previous entry.
    """
    images = _Exposures(start, end)
    times = table.image_times
    groups, filled = _alike(table.columns)
    any_number = any(number for number, _ in groups)
    whole = _places(_entries(times, filled), images, table, number=any_number)
    averaged = np.zeros(len(start), dtype=bool)
    values: dict[int, pd.Series[Any]] = {}
    for (number, _), positions in groups.items():
        present = table.columns.iloc[:, positions[0]].notna().to_numpy()
        is_whole = number == any_number and np.array_equal(present, filled)
        places = whole if is_whole else _places(_entries(times, present), images, table, number=number)
        averaged |= places.averaged
        for position in positions:
            values[position] = _at_images(table.columns.iloc[:, position], places, number=number)
    columns = pd.DataFrame({position: values[position] for position in sorted(values)}, pd.RangeIndex(len(start)))
    columns.columns = table.columns.columns
    return ImageValues(columns, whole.lacks, averaged)


def _alike(columns: pd.DataFrame) -> tuple[dict[tuple[bool, bytes], list[int]], _Mask]:
    """Positions of columns that are of one kind and have empty cells in the same rows; rows with any value.

    Where in the log an image is needs to be looked up but once for such columns.
    """
    groups: dict[tuple[bool, bytes], list[int]] = {}
    filled = np.zeros(len(columns), dtype=bool)
    for position, (_, column) in enumerate(columns.items()):
        present = column.notna().to_numpy()
        filled |= present
        number = bool(pd.api.types.is_numeric_dtype(column.dtype))
        groups.setdefault((number, np.packbits(present).tobytes()), []).append(position)
    return groups, filled


def _at_images(column: pd.Series[Any], places: _Places, *, number: bool) -> pd.Series[Any]:
    taken = places.take(
        column.to_numpy(dtype=np.float64 if number else np.object_, na_value=np.nan if number else None)
    )
    taken[places.lacks != Lack.NONE] = np.nan if number else None
    return pd.Series(taken, dtype=taken.dtype)


@dataclass(frozen=True, eq=False)
class _Exposures:
    start: Times
    end: Times

    @property
    def length(self) -> Times:
        return self.end - self.start

    @property
    def middle(self) -> Times:
        return self.start + self.length // 2

    def __getitem__(self, which: _Mask) -> _Exposures:
        return _Exposures(self.start[which], self.end[which])


@dataclass(frozen=True, eq=False)
class _Entries:
    """Entries in which some columns have a value: their times, each once, and their rows in the table."""

    times: Times
    rows: _Rows

    @cached_property
    def interval(self) -> int:
        """The median time between two entries, ns; endless with fewer than two."""
        return int(np.median(np.diff(self.times))) if len(self.times) > 1 else _FOREVER

    def before(self, when: Times) -> _Rows:
        """Position of the last entry at or before each time; -1 where there is none."""
        return np.searchsorted(self.times, when, side="right") - 1

    def lacks(self, when: Times, *, steps: bool) -> Lacks:
        """Why there is no value at these times, whatever the method."""
        if not len(self.times):
            return np.full(len(when), Lack.NO_ENTRIES, dtype=np.int8)
        lacks = np.zeros(len(when), dtype=np.int8)
        lacks[when < self.times[0]] = Lack.BEFORE_FIRST
        if not steps:
            lacks[when - self.times[-1] > self.interval] = Lack.AFTER_LAST
        return lacks


def _entries(times: Times, present: _Mask) -> _Entries:
    rows = np.flatnonzero(present)
    times = times[rows]
    last = np.ones(len(times), dtype=bool)
    last[:-1] = times[1:] != times[:-1]
    return _Entries(times[last], rows[last])


class _Places(Protocol):
    """Where the values at images are found in the entries."""

    @property
    def lacks(self) -> Lacks:
        """Why there is no value: a `Lack` for each image."""

    @property
    def averaged(self) -> _Mask:
        """True for images that get a mean."""

    def take(self, column: NDArray[Any]) -> NDArray[Any]:
        """Values at images out of a column of the table; anything where one is lacking."""


def _places(entries: _Entries, images: _Exposures, table: LogTable, *, number: bool) -> _Places:
    tolerance = _FOREVER if table.tolerance is None else round(table.tolerance * NS)
    method = table.method
    if method is Method.NEAREST:
        return _nearest(entries, images.middle, tolerance, steps=table.steps)
    if method is Method.LINEAR and number and not table.steps:
        return _linear(entries, images.middle, tolerance)
    previous = _previous(entries, images.middle, tolerance, steps=table.steps)
    averaged = _averaged(entries, images, table, number=number)
    if not averaged.any():
        return previous
    return _Mixed(previous, _mean(entries, images[averaged], tolerance, steps=table.steps), averaged)


def _averaged(entries: _Entries, images: _Exposures, table: LogTable, *, number: bool) -> _Mask:
    """True for images that get the mean over their exposure."""
    wanted = table.method is Method.MEAN or (table.method is Method.AUTO and not table.steps)
    if not (wanted and number and len(entries.times)):
        return np.zeros(len(images.start), dtype=bool)
    # What holds until the next entry is known at any time, however long the entries are apart.
    shortest = 1 if table.steps else max(1, entries.interval)
    if table.method is Method.AUTO:
        shortest = max(shortest, round(LONG_EXPOSURE * NS))
    return images.length >= shortest


@dataclass(frozen=True, eq=False)
class _Picked:
    """The value of one entry."""

    rows: _Rows
    lacks: Lacks

    @property
    def averaged(self) -> _Mask:
        return np.zeros(len(self.lacks), dtype=bool)

    def take(self, column: NDArray[Any]) -> NDArray[Any]:
        if not len(column):
            return np.empty(len(self.lacks), dtype=column.dtype)
        return column[self.rows]


def _previous(entries: _Entries, when: Times, tolerance: int, *, steps: bool) -> _Picked:
    lacks = entries.lacks(when, steps=steps)
    return _picked(entries, np.maximum(entries.before(when), 0), when, lacks, tolerance)


def _nearest(entries: _Entries, when: Times, tolerance: int, *, steps: bool) -> _Picked:
    lacks = entries.lacks(when, steps=steps)
    before = np.maximum(entries.before(when), 0)
    after = np.minimum(before + 1, len(entries.times) - 1)
    if len(entries.times):
        before = np.where(entries.times[after] - when < when - entries.times[before], after, before)
    return _picked(entries, before, when, lacks, tolerance)


def _picked(entries: _Entries, position: _Rows, when: Times, lacks: Lacks, tolerance: int) -> _Picked:
    if not len(entries.times):
        return _Picked(np.zeros(len(when), dtype=np.intp), lacks)
    far = (lacks == Lack.NONE) & (np.abs(when - entries.times[position]) > tolerance)
    lacks[far] = Lack.BEYOND_TOLERANCE
    return _Picked(entries.rows[position], lacks)


@dataclass(frozen=True, eq=False)
class _Linear:
    """The value on the line between two entries; after the last one its value."""

    before: _Rows
    after: _Rows
    weight: _Floats
    lacks: Lacks

    @property
    def averaged(self) -> _Mask:
        return np.zeros(len(self.lacks), dtype=bool)

    def take(self, column: _Floats) -> _Floats:
        if not len(column):
            return np.empty(len(self.lacks))
        low, high = column[self.before], column[self.after]
        # At an entry its value alone, also where the next one is infinite.
        return np.where(self.weight > 0, low + (high - low) * self.weight, low)


def _linear(entries: _Entries, when: Times, tolerance: int) -> _Linear:
    lacks = entries.lacks(when, steps=False)
    if not len(entries.times):
        nowhere = np.zeros(len(when), dtype=np.intp)
        return _Linear(nowhere, nowhere, nowhere.astype(np.float64), lacks)
    before = np.maximum(entries.before(when), 0)
    after = np.minimum(before + 1, len(entries.times) - 1)
    passed, gap = when - entries.times[before], entries.times[after] - entries.times[before]
    far = np.where(after > before, gap, passed) > tolerance
    lacks[(lacks == Lack.NONE) & (passed > 0) & far] = Lack.BEYOND_TOLERANCE
    weight = np.where(after > before, passed / np.maximum(gap, 1), 0.0)
    return _Linear(entries.rows[before], entries.rows[after], weight, lacks)


@dataclass(frozen=True, eq=False)
class _Mean:
    """The integral from start to end, divided by the length of the exposure."""

    rows: _Rows
    steps: bool
    # Time between entries; from the start to the first entry inside, from the last one inside to the end; all ns.
    between: _Floats
    head: _Floats
    tail: _Floats
    length: _Floats
    # First and last entry inside; first > last where there is none.
    first: _Rows
    last: _Rows
    at_start: _Picked | _Linear
    at_end: _Picked | _Linear
    lacks: Lacks

    @property
    def averaged(self) -> _Mask:
        return np.ones(len(self.lacks), dtype=bool)

    def take(self, column: _Floats) -> _Floats:
        values = column[self.rows]
        inside = self.first <= self.last
        first, last = np.where(inside, self.first, 0), np.where(inside, self.last, 0)
        start, end = self.at_start.take(column), self.at_end.take(column)
        if self.steps:
            areas, head, tail = values[:-1] * self.between, start * self.head, values[last] * self.tail
            alone = start * self.length
        else:
            areas = (values[:-1] + values[1:]) * (self.between / 2)
            head = (start + values[first]) * (self.head / 2)
            tail = (values[last] + end) * (self.tail / 2)
            alone = (start + end) * (self.length / 2)
        return np.where(inside, head + _sums(areas, first, last) + tail, alone) / self.length


def _sums(areas: _Floats, first: _Rows, last: _Rows) -> _Floats:
    """Sum of ``areas[first:last]`` of each window.

    Each is summed on its own: the difference of two cumulative sums over days would lose digits.
    """
    if not len(areas):
        return np.zeros(len(first))
    bounds = np.stack([first, last], axis=1).ravel()
    # reduceat takes the bounds in pairs and wants each below the length: a zero is added for windows up to the end.
    sums = np.add.reduceat(np.append(areas, 0.0), bounds)[::2]
    return np.where(first < last, sums, 0.0)


def _mean(entries: _Entries, images: _Exposures, tolerance: int, *, steps: bool) -> _Mean:
    times, start, end = entries.times, images.start, images.end
    lacks = entries.lacks(end, steps=steps)
    lacks[start < times[0]] = Lack.BEFORE_FIRST
    first, last = entries.before(start) + 1, np.searchsorted(times, end, side="left") - 1
    # The entries that an exposure stands on: from the one at or before its start to the last one before its end.
    base, top = np.maximum(first - 1, 0), np.maximum(last, 0)
    too_long = np.append(0, np.cumsum(np.diff(times) > tolerance))
    # Steps, and what comes last, hold for the tolerance; a line needs its next entry within it.
    beyond = end - times[top] > tolerance
    if not steps:
        on_line = top < len(times) - 1
        beyond = np.where(on_line, too_long[np.minimum(top + 1, len(times) - 1)] > too_long[top], beyond)
    beyond |= too_long[np.maximum(top, base)] > too_long[base]
    lacks[(lacks == Lack.NONE) & beyond] = Lack.BEYOND_TOLERANCE
    inside = first <= last
    at = (
        (lambda when: _previous(entries, when, tolerance, steps=True))
        if steps
        else (lambda when: _linear(entries, when, tolerance))
    )
    return _Mean(
        rows=entries.rows,
        steps=steps,
        between=np.diff(times).astype(np.float64),
        head=np.where(inside, times[np.minimum(first, len(times) - 1)] - start, 0).astype(np.float64),
        tail=np.where(inside, end - times[top], 0).astype(np.float64),
        length=images.length.astype(np.float64),
        first=first,
        last=last,
        at_start=at(start),
        at_end=at(end),
        lacks=lacks,
    )


@dataclass(frozen=True, eq=False)
class _Mixed:
    """Means for long exposures, single entries for the others."""

    single: _Picked
    mean: _Mean
    averaged: _Mask

    @property
    def lacks(self) -> Lacks:
        lacks = self.single.lacks.copy()
        lacks[self.averaged] = self.mean.lacks
        return lacks

    def take(self, column: _Floats) -> _Floats:
        values = self.single.take(column)
        values[self.averaged] = self.mean.take(column)
        return values
