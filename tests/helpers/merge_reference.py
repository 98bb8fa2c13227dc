"""The join of a merge written as slowly and obviously as can be: one image, one column, one entry after the other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Any

from saxs_bluesky.merge import LogTable, Method

NS = 1_000_000_000

Entry = tuple[int, Any]  # time in ns, value


def value_at_image(table: LogTable, column: int, start: int, end: int) -> tuple[Any, bool]:
    """Value of a column for an exposure, None where it is missing; and whether it is meant to be a mean."""
    entries = _entries(table, column)
    if not entries:
        return None, False
    tolerance = None if table.tolerance is None else round(table.tolerance * NS)
    between = [later[0] - earlier[0] for earlier, later in pairwise(entries)]
    interval = int(median(between)) if between else None
    text = any(isinstance(value, str) for _, value in entries)
    middle = start + (end - start) // 2
    if table.method is Method.NEAREST:
        return _single(entries, middle, interval, tolerance, steps=table.steps, nearest=True), False
    if table.method is Method.LINEAR and not table.steps and not text:
        return _linear(entries, middle, interval, tolerance), False
    wants_mean = table.method is Method.MEAN or (
        table.method is Method.AUTO and not table.steps and end - start >= 5 * NS
    )
    long_enough = table.steps or (interval is not None and end - start >= interval)
    if wants_mean and long_enough and not text and end > start:
        return _mean(entries, start, end, interval, tolerance, steps=table.steps), True
    return _single(entries, middle, interval, tolerance, steps=table.steps, nearest=False), False


def _entries(table: LogTable, column: int) -> list[Entry]:
    latest: dict[int, Any] = {}
    for row in range(len(table.times)):
        value = table.columns.iloc[row, column]
        if value is not None and value == value:  # NaN differs from itself
            latest[int(table.image_times[row])] = value
    return sorted(latest.items())


def _covered(entries: Sequence[Entry], when: int, interval: int | None, *, steps: bool) -> bool:
    if when < entries[0][0]:
        return False
    return steps or interval is None or when - entries[-1][0] <= interval


def _single(
    entries: Sequence[Entry], when: int, interval: int | None, tolerance: int | None, *, steps: bool, nearest: bool
) -> Any:
    if not _covered(entries, when, interval, steps=steps):
        return None
    if nearest:
        time, value = min(entries, key=lambda entry: abs(entry[0] - when))  # the first of equals
    else:
        time, value = [entry for entry in entries if entry[0] <= when][-1]
    return None if tolerance is not None and abs(time - when) > tolerance else value


def _linear(entries: Sequence[Entry], when: int, interval: int | None, tolerance: int | None) -> Any:
    if not _covered(entries, when, interval, steps=False):
        return None
    time, value = [entry for entry in entries if entry[0] <= when][-1]
    if time == when:
        return value
    later = [entry for entry in entries if entry[0] > when]
    if not later:
        return None if tolerance is not None and when - time > tolerance else value
    next_time, next_value = later[0]
    if tolerance is not None and next_time - time > tolerance:
        return None
    return float(value + (Fraction(next_value) - Fraction(value)) * Fraction(when - time, next_time - time))


def _mean(
    entries: Sequence[Entry], start: int, end: int, interval: int | None, tolerance: int | None, *, steps: bool
) -> Any:
    if not _covered(entries, start, interval, steps=steps) or not _covered(entries, end, interval, steps=steps):
        return None
    cuts = [start, *(time for time, _ in entries if start < time < end), end]
    integral = Fraction(0)
    for left, right in pairwise(cuts):
        (time, value), *later = [entry for entry in entries if entry[0] <= left][-1:] + [
            entry for entry in entries if entry[0] > left
        ]
        held = steps or not later
        if tolerance is not None and (right if held else later[0][0]) - time > tolerance:
            return None
        if held:
            integral += Fraction(value) * (right - left)
        else:
            slope = (Fraction(later[0][1]) - Fraction(value)) / (later[0][0] - time)
            at_left, at_right = value + slope * (left - time), value + slope * (right - time)
            integral += (at_left + at_right) / 2 * (right - left)
    return float(integral / (end - start))
