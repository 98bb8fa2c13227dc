"""Decimal text of many floats at once, byte by byte that of ``" %.18e" % value``.

A float is ``m * 2**e`` with an integer ``m < 2**53``. Its 19 digits, with the first at ``10**k``,
are the integer nearest to ``m * 2**e * 10**p`` with ``p = 18 - k``, which is
``m * 5**p / 2**s`` with ``s = -(e + p)``. Where both ``0 <= p <= 27`` and ``s > 0``, that is from
1e-9 to 1e14, the product fits into two words of 64 bits, and the rest is a shift that rounds to
the nearest, a tie to the even one, on the exact value as Python does. The few floats outside of
that range are left to Python.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from saxs_bluesky.reduction._compiled import Compiled, read_only
from saxs_bluesky.reduction.arrays import FloatArray

Cells: TypeAlias = NDArray[np.uint32]
"""Text in cells of 28 bytes as 7 words, shape (..., 7): a blank, the number, and NULs wherever room is left."""

_LOWEST, _BEYOND = 1e-9, 1e14
_LEAST_EXPONENT, _LARGEST_EXPONENT = -9, 13
_CELL_WORDS, _CELL_BYTES = 7, 28


def _words(texts: list[str]) -> Cells:
    return np.frombuffer("".join(texts).encode(), np.uint32)


_BLANK, _BLANK_MINUS = _words([" \0\0\0", " -\0\0"])
_NAN = _words([" nan".ljust(_CELL_BYTES, "\0")])
_LEADING = _words([f"{n // 100}.{n % 100:02d}" for n in range(1000)])
_FOUR_DIGITS = _words([f"{n:04d}" for n in range(10_000)])
# Rounding up can reach the next exponent.
_EXPONENTS = _words([f"e{k:+03d}" for k in range(_LEAST_EXPONENT, _LARGEST_EXPONENT + 2)])
_HIDDEN_BIT = np.uint64(2**52)
_EXPONENT_BITS = np.uint64(0x7FF)
_POWERS_OF_10 = np.array([float(f"1e{k}") for k in range(_LEAST_EXPONENT, _LARGEST_EXPONENT + 2)])
_POWERS_OF_5 = np.array([5**p for p in range(28)], np.uint64)


def cells(values: FloatArray) -> Cells:
    """Render each value, shape (...), as ``" %.18e"`` in a cell, shape (..., 7)."""
    plain = read_only(np.ascontiguousarray(values))
    found = np.empty((*plain.shape, _CELL_WORDS), np.uint32)
    if _render(plain.reshape(-1), plain.view(np.uint64).reshape(-1), found.reshape(-1, _CELL_WORDS)):
        size = np.abs(values)
        others = (size > 0) & ~((size >= _LOWEST) & (size < _BEYOND))
        rendered = _words([f" {value:.18e}".ljust(_CELL_BYTES, "\0") for value in values[others].tolist()])
        found[others] = rendered.reshape(-1, _CELL_WORDS)
        found[np.isnan(values)] = _NAN
    return found


def text(filled: NDArray[Any]) -> bytes:
    """The text in an array of cells, one after the other."""
    return filled.tobytes().translate(None, b"\0")


# What follows is compiled. numba makes a float of an unsigned and a signed number together, so every unsigned one meets
# its like here; and it counts references to arrays that one function hands to another, so none does.


def _fill(values: FloatArray, all_bits: NDArray[np.uint64], found: Cells) -> bool:
    """Render the values, and tell whether others are among them than 0 and those in range."""
    has_others = False
    for i in range(values.size):
        bits = all_bits[i]
        size = abs(values[i])
        digits, exponent = np.uint64(0), 0
        if size >= _LOWEST and size < _BEYOND:
            m = (bits & (_HIDDEN_BIT - np.uint64(1))) | _HIDDEN_BIT
            e = np.int64((bits >> np.uint64(52)) & _EXPONENT_BITS) - 1075
            exponent = _exponent(size, e)
            digits = _scaled(m, e, exponent)
            # A power of ten below 1 lies beside its float, and rounding up can reach the next one.
            off = (1 if digits >= np.uint64(10**19) else 0) - (1 if digits < np.uint64(10**18) else 0)
            if off:
                exponent += off
                digits = _scaled(m, e, exponent)
        elif size != 0:
            has_others = True
        leading = digits // np.uint64(10**16)
        rest = digits - leading * np.uint64(10**16)
        upper = np.uint32(rest // np.uint64(10**8))
        lower = np.uint32(rest - np.uint64(upper) * np.uint64(10**8))
        found[i, 0] = _BLANK_MINUS if bits >> np.uint64(63) else _BLANK
        found[i, 1] = _LEADING[leading]
        found[i, 2] = _FOUR_DIGITS[upper // np.uint32(10_000)]
        found[i, 3] = _FOUR_DIGITS[upper % np.uint32(10_000)]
        found[i, 4] = _FOUR_DIGITS[lower // np.uint32(10_000)]
        found[i, 5] = _FOUR_DIGITS[lower % np.uint32(10_000)]
        found[i, 6] = _EXPONENTS[exponent - _LEAST_EXPONENT]
    return has_others


def _exponent(size: float, e: np.int64) -> Any:
    """Decimal exponent of the first digit of a float ``m * 2**e``, as far as floats can tell."""
    k = ((e + 52) * 77) >> 8  # 77 / 256 is next to log10(2): the exponent sought, or the one below
    return k + 1 if size >= _POWERS_OF_10[k + 1 - _LEAST_EXPONENT] else k


def _scaled(m: np.uint64, e: np.int64, k: Any) -> Any:
    """The integer nearest to ``m * 2**e * 10**(18 - k)``."""
    p = 18 - k
    f = _POWERS_OF_5[p]
    # Their product by halves, as on paper; m < 2**53 and f < 2**63.
    word, low_word, one = np.uint64(32), np.uint64(0xFFFF_FFFF), np.uint64(1)
    m0, m1, f0, f1 = m & low_word, m >> word, f & low_word, f >> word
    m0f0 = m0 * f0
    middle = m1 * f0 + m0 * f1 + (m0f0 >> word)
    low, high = (middle << word) | (m0f0 & low_word), m1 * f1 + (middle >> word)
    shift = np.uint64(-(e + p))
    half = one << (shift - one)
    remainder = low & ((half << one) - one)
    quotient = (high << (np.uint64(64) - shift)) | (low >> shift)
    return quotient + one if remainder > half or (remainder == half and quotient & one) else quotient


_render = Compiled(_fill, _exponent, _scaled)
