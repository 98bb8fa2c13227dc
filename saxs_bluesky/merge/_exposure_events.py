"""Exposures and openings of the shutter as events: seconds on a common scale, alike where their durations are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.merge._tables import NS, Images, LogTable, Times

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DURATION = "Duration"  # the column of a shutter's table: seconds at an opening, 0 at a closing

# Durations are of one kind as long as the next longer one is no more than this away: what was measured differs from
# what was asked for by some ms.
_RELATIVE, _ABSOLUTE = 0.02, 0.002
# A run of images ends where nothing happens for so many seconds at least.
_PAUSE = 2.5
_ENOUGH = 3  # images of a kind with full times: the others are not needed
# Between equal events: a row that was written twice, an image by each of two detectors.
_SAME = 0.01
_KIND = 1e8  # seconds between kinds in keys: more than a beam time, with ns left in float64


@dataclass(frozen=True, eq=False)
class Exposures:
    """Starts of exposures, sorted; seconds since ``epoch`` (ns by the images' clock).

    ``kinds`` number the durations. ``cut`` tells which images have whole seconds only: the true start lies between the
    time and a second later. ``index`` leads to the images. All of shape ``(n,)``.
    """

    epoch: int
    times: FloatArray
    durations: FloatArray
    kinds: IntArray
    cut: BoolArray
    index: IntArray

    def __len__(self) -> int:
        return len(self.times)

    def of_one_kind(self) -> Exposures:
        return replace(self, kinds=np.zeros_like(self.kinds))

    def chosen(self, choice: BoolArray | IntArray | slice) -> Exposures:
        return Exposures(
            self.epoch,
            self.times[choice],
            self.durations[choice],
            self.kinds[choice],
            self.cut[choice],
            self.index[choice],
        )


@dataclass(frozen=True, eq=False)
class Openings:
    """Openings of the shutter, sorted by kind and time; seconds of the logger's clock since the exposures' ``epoch``.

    ``index`` leads to the rows of the table. All of shape ``(m,)``.
    """

    times: FloatArray
    kinds: IntArray
    index: IntArray

    def __len__(self) -> int:
        return len(self.times)

    def of_one_kind(self) -> Openings:
        return _openings(self.times, np.zeros_like(self.kinds), self.index)

    @cached_property
    def keys(self) -> FloatArray:
        """Ascending; one search finds kind and time."""
        return keys(self.kinds, self.times)

    def density(self, kinds: IntArray) -> FloatArray:
        """How many openings of each of these kinds there are in a second, where there are some."""
        return self._densities[np.minimum(kinds, len(self._densities) - 1)]

    @cached_property
    def _densities(self) -> FloatArray:
        """By kind, and one more for kinds beyond."""
        whole = max(float(np.ptp(self.times)) if len(self) else 1.0, 1.0)
        densities = np.full(int(self.kinds.max(initial=0)) + 2, 1.0 / whole)
        starts = np.flatnonzero(np.diff(self.kinds, prepend=-1))
        for first, after in zip(starts, [*starts[1:], len(self)], strict=True):
            if after - first > 1:
                gap = float(np.median(np.diff(self.times[first:after])))
                densities[self.kinds[first]] = 1.0 / max(gap, 1e-3)
        return densities


def keys(kinds: IntArray, times: FloatArray) -> FloatArray:
    """What `Openings.keys` are searched for."""
    return kinds * _KIND + times


def is_opening(table: LogTable) -> BoolArray:
    """Which entries of a shutter's table are openings; all of a table without a column ``Duration``, shape (n,)."""
    if DURATION not in table.columns:
        return np.ones(len(table.times), dtype=np.bool_)
    return np.asarray(logged_durations(table) > 0, dtype=np.bool_)


def shutter_openings(table: LogTable) -> tuple[Times, FloatArray]:
    """When the shutter opened and for how long: what pictures of a merge show.

    Parameters
    ----------
    table
        The shutter's table.

    Returns
    -------
    times
        ns by the images' clock, with the offset and the drift of the table, shape ``(m,)``.
    durations
        Seconds, shape ``(m,)``; NaN in a table without a column ``Duration``, of which all entries count.
    """
    opening = is_opening(table)
    durations = logged_durations(table) if DURATION in table.columns else np.full(len(table.times), np.nan)
    return table.image_times[opening], durations[opening]


def logged_durations(table: LogTable) -> FloatArray:
    if DURATION not in table.columns:
        return np.zeros(len(table.times))
    return np.asarray(pd.to_numeric(table.columns[DURATION], errors="coerce"), dtype=np.float64)


def events(images: Images, table: LogTable, limit: float) -> tuple[Exposures, Openings]:
    """The exposures of images, and the openings that may belong to them with an offset of up to ``limit`` seconds."""
    exposures = images.exposure / NS
    rows = np.flatnonzero(is_opening(table))
    durations = logged_durations(table)[rows]
    epoch = int(images.start.min())
    opened = (table.times[rows] - epoch) / NS
    last = float((int(images.start.max()) - epoch) / NS)
    near = (opened > -limit) & (opened < last + limit)
    rows, durations, opened = rows[near], durations[near], opened[near]
    kinds = _kinds(np.concatenate([exposures, durations]))
    return (
        _exposures(images, epoch, exposures, kinds[: len(exposures)]),
        _openings(opened, kinds[len(exposures) :], rows),
    )


def distinct(exposures: Exposures, openings: Openings, spacing: float) -> tuple[Exposures, Openings]:
    """Put the first and the last event of each run in the place of images that cannot be told apart.

    These are the images with whole seconds of a kind whose images are less than ``spacing`` seconds apart. Where others
    of their kind have full times they are left out, if the kind's are less than a second apart.
    """
    keep = np.ones(len(exposures), dtype=np.bool_)
    keep_openings = np.ones(len(openings), dtype=np.bool_)
    kinds, opening_kinds = exposures.kinds.copy(), openings.kinds.copy()
    fresh = int(max(kinds.max(initial=0), opening_kinds.max(initial=0))) + 1
    for kind in np.unique(exposures.kinds[exposures.cut]):
        alike = exposures.kinds == kind
        times = exposures.times[alike]
        others = np.count_nonzero(alike & ~exposures.cut) >= _ENOUGH
        if len(times) < 2 or np.median(np.diff(times)) >= (1.0 if others else spacing):
            continue
        among = np.flatnonzero(alike & exposures.cut)
        keep[among] = False
        if others:
            continue
        opened = np.flatnonzero(openings.kinds == kind)
        keep_openings[opened] = False
        ends, opening_ends = _runs(exposures.times[among]), _runs(openings.times[opened])
        for place in (0, 1):
            keep[among[ends[place]]], kinds[among[ends[place]]] = True, fresh + place
            at = opened[opening_ends[place]]
            keep_openings[at], opening_kinds[at] = True, fresh + place
        fresh += 2
    left = replace(exposures, kinds=kinds).chosen(keep)
    return left, _openings(openings.times[keep_openings], opening_kinds[keep_openings], openings.index[keep_openings])


def _runs(times: FloatArray) -> tuple[IntArray, IntArray]:
    """Positions of the first events of runs, and of the last ones of those that have more than one."""
    if len(times) < 2:
        return np.arange(len(times)), np.zeros(0, dtype=np.int64)
    gaps = np.diff(times)
    pauses = np.flatnonzero(gaps > max(_PAUSE, 3.5 * float(np.median(gaps))))
    first = np.concatenate([[0], pauses + 1])
    last = np.concatenate([pauses, [len(times) - 1]])
    return first, last[last > first]


def _kinds(durations: FloatArray) -> IntArray:
    """Number durations so that those of equal number are alike."""
    order = np.argsort(durations, kind="stable")
    ascending = durations[order]
    apart = np.diff(ascending) > _RELATIVE * ascending[:-1] + _ABSOLUTE
    kinds = np.empty(len(durations), dtype=np.int64)
    kinds[order] = np.concatenate([[0], np.cumsum(apart)]) if len(durations) else 0
    return kinds


def _exposures(images: Images, epoch: int, durations: FloatArray, kinds: IntArray) -> Exposures:
    times = (images.start - epoch) / NS
    order = np.lexsort((times, kinds))
    cut = _whole_seconds(images)
    # Of simultaneous images of two detectors one is enough.
    twin = np.zeros(len(times), dtype=np.bool_)
    alike = (np.diff(kinds[order]) == 0) & (np.diff(times[order]) < _SAME) & (np.diff(cut[order]) == 0)
    twin[order[1:]] = alike & ~cut[order[1:]]
    order = np.argsort(times, kind="stable")
    order = order[~twin[order]]
    return Exposures(epoch, times[order], durations[order], kinds[order], cut[order], order.astype(np.int64))


def _whole_seconds(images: Images) -> BoolArray:
    """Which images' times are cut to whole seconds: those of the log, or those of headers, if all of them look so."""
    whole = images.end % NS < _microseconds_of_order(images.end)
    cut = np.zeros(len(images.end), dtype=np.bool_)
    for logged in (True, False):
        group = images.logged == logged
        cut[group] = bool(whole[group].all())
    return cut


def _microseconds_of_order(ends: Times) -> int:
    """Equal times are moved apart by 1 us each: below this, a fraction of a second says nothing."""
    return 1000 * min(len(ends), 100_000) + 1


def _openings(times: FloatArray, kinds: IntArray, rows: IntArray) -> Openings:
    order = np.lexsort((times, kinds))
    times, kinds, rows = times[order], kinds[order], rows[order]
    gaps, same_kind = np.diff(times), np.diff(kinds) == 0
    twice = np.concatenate([[False], same_kind & (gaps < _SAME / 2)]) if len(times) else np.zeros(0, dtype=np.bool_)
    times, kinds, rows = times[~twice], kinds[~twice], rows[~twice]
    return Openings(times, kinds, rows.astype(np.int64))
