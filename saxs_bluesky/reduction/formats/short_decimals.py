"""Text of many numbers with few decimals, as ``repr`` has it.

Doubles keep 15 decimal digits (IEEE 754): two numbers of so few digits are never the same float. So a text of up to 15
digits that reads back as a float is the shortest that does, which is what ``repr`` gives. Where ``k`` decimals are
enough, ``rint(x * 10**k) / 10**k`` is the float again: ``10**k`` is exact, the error of the product far below a half,
and the quotient rounded correctly. Nearly all that instruments log is of that kind; the rest is left to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saxs_bluesky.reduction._compiled import Compiled, read_only

_LONGEST = 24  # bytes: a sign, "0." and 18 decimals, with room
_SMALLEST = 1e-4  # below, repr has an exponent
_BEYOND = 1e15  # of the digits as a whole number
_POWERS = np.array([10**k for k in range(20)], dtype=np.float64)  # exact
_MOST_DECIMALS = 18  # of the smallest number


@dataclass(frozen=True, eq=False)
class DecimalTexts:
    """Texts one after the other.

    Parameters
    ----------
    data
        All of them, ASCII.
    offsets
        Where each begins in ``data``, and where the last one ends, shape ``(n + 1,)``.
    others
        True for numbers that have no text here, which is empty then: NaN, infinite ones, those with more than 15
        digits, and those that are written with an exponent; shape ``(n,)``.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int32]
    others: NDArray[np.bool_]


def short_decimals(values: NDArray[np.float64]) -> DecimalTexts:
    """Texts of numbers: ``137.0``, ``-0.25``; at most some 80 million at a time.

    Parameters
    ----------
    values
        Numbers, shape ``(n,)``.
    """
    plain = read_only(np.ascontiguousarray(values))
    data = np.empty(values.size * _LONGEST, dtype=np.uint8)
    offsets = np.zeros(values.size + 1, dtype=np.int32)
    others = np.zeros(values.size, dtype=np.bool_)
    _render(plain, np.signbit(plain), data, offsets, others)
    return DecimalTexts(data[: offsets[-1]], offsets, others)


# What follows is compiled.


def _fill(
    values: NDArray[np.float64],
    negative: NDArray[np.bool_],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int32],
    others: NDArray[np.bool_],
) -> None:
    place = 0
    guess = 1  # most numbers of a column have as many decimals as the one before
    for i in range(values.size):
        size = abs(values[i])
        decimals = 1
        digits: Any = np.int64(0)
        if size != 0:
            decimals = guess if size * _POWERS[guess] < _BEYOND else 0
            while not _fits(size, decimals):
                # The most that 15 digits allow: if these are not enough, none are.
                most = _most_decimals(size)
                if decimals == most or most < 1:
                    decimals = -1
                    break
                decimals = most
            if decimals < 0:
                others[i] = True
                offsets[i + 1] = place
                continue
            digits = np.int64(np.rint(size * _POWERS[decimals]))
            if decimals == 0:
                digits, decimals = digits * 10, 1
            while decimals > 1 and digits % 10 == 0:
                digits, decimals = digits // 10, decimals - 1
            guess = decimals
        if negative[i]:
            data[place] = 45  # -
            place += 1
        place = _write(data, place, digits, decimals)
        offsets[i + 1] = place


def _fits(size: float, decimals: int) -> bool:
    """True if a number of up to 15 digits with so many decimals is this float."""
    if not (size >= _SMALLEST and size * _POWERS[decimals] < _BEYOND):
        return False
    return bool(np.rint(size * _POWERS[decimals]) / _POWERS[decimals] == size)


def _most_decimals(size: float) -> int:
    """How many decimals 15 digits leave room for; 0 for what has no room, or is none of these numbers."""
    most = 0
    if size >= _SMALLEST:
        while most < _MOST_DECIMALS and size * _POWERS[most + 1] < _BEYOND:
            most += 1
    return most


def _write(data: NDArray[np.uint8], place: int, digits: Any, decimals: int) -> int:
    """Write digits with a point before the last ones, and return where the text ends."""
    whole, length = digits, 1
    while whole >= 10:
        whole, length = whole // 10, length + 1
    length = max(length, decimals + 1)
    end = place + length + 1
    at = end - 1
    for position in range(length):
        if position == decimals:
            data[at] = 46  # .
            at -= 1
        data[at] = 48 + digits % 10
        digits //= 10
        at -= 1
    return end


_render = Compiled(_fill, _fits, _most_decimals, _write)
