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

from saxs_bluesky.reduction._types import FloatArray

Cells: TypeAlias = NDArray[np.uint32]
"""Text in cells of 28 bytes as 7 words, shape (..., 7): a blank, the number, and NULs wherever room is left."""

_Words: TypeAlias = NDArray[np.uint64]

_LOWEST, _BEYOND = 1e-9, 1e14
_LEAST_EXPONENT, _LARGEST_EXPONENT = -9, 13
_CELL_BYTES = 28


def _words(texts: list[str]) -> Cells:
    return np.frombuffer("".join(texts).encode(), np.uint32)


_BLANK, _BLANK_MINUS = _words([" \0\0\0", " -\0\0"])
_NAN = _words([" nan".ljust(_CELL_BYTES, "\0")])
_LEADING = _words([f"{n // 100}.{n % 100:02d}" for n in range(1000)])
_FOUR_DIGITS = _words([f"{n:04d}" for n in range(10_000)])
# Rounding up can reach the next exponent.
_EXPONENTS = _words([f"e{k:+03d}" for k in range(_LEAST_EXPONENT, _LARGEST_EXPONENT + 2)])
_HIDDEN_BIT = np.uint64(2**52)
_POWERS_OF_5 = np.array([5**p for p in range(28)], np.uint64)


def cells(values: FloatArray) -> Cells:
    """Render each value, shape (...), as ``" %.18e"`` in a cell, shape (..., 7)."""
    size = np.abs(values)
    plain = (size >= _LOWEST) & (size < _BEYOND)
    zero = size == 0
    digits, exponent = _digits(np.where(plain, size, 1.0))
    digits[zero] = 0
    found = np.empty((*values.shape, 7), np.uint32)
    found[..., 0] = np.where(np.signbit(values), _BLANK_MINUS, _BLANK)
    for word in (5, 4, 3, 2):
        rest = digits // 10_000
        found[..., word] = _FOUR_DIGITS[digits - rest * 10_000]
        digits = rest
    found[..., 1] = _LEADING[digits]
    found[..., 6] = _EXPONENTS[exponent - _LEAST_EXPONENT]
    others = ~(plain | zero)
    if others.any():
        nan = np.isnan(values)
        found[nan] = _NAN
        others &= ~nan
        found[others] = _rendered_by_python(values[others].tolist())
    return found


def _rendered_by_python(values: list[float]) -> Cells:
    return _words([f" {value:.18e}".ljust(_CELL_BYTES, "\0") for value in values]).reshape(-1, 7)


def text(filled: NDArray[Any]) -> bytes:
    """The text in an array of cells, one after the other."""
    return filled.tobytes().translate(None, b"\0")


def _digits(values: FloatArray) -> tuple[_Words, NDArray[np.int64]]:
    """The first 19 digits as integers, 10**18 <= n < 10**19, and the decimal exponents of the first."""
    bits = values.view(np.uint64)
    m = (bits & (_HIDDEN_BIT - np.uint64(1))) | _HIDDEN_BIT
    e = (bits >> 52).astype(np.int64) - 1075
    k = np.floor(np.log10(values)).astype(np.int64).clip(_LEAST_EXPONENT, _LARGEST_EXPONENT)
    digits = _scaled(m, e, k)
    # The logarithm is off by one beside a power of ten, and rounding up can make a digit more.
    off = (digits >= 10**19).astype(np.int64) - (digits < 10**18)
    if off.any():
        k += off
        again = off != 0
        digits[again] = _scaled(m[again], e[again], k[again])
    return digits, k


def _scaled(m: _Words, e: NDArray[np.int64], k: NDArray[np.int64]) -> _Words:
    """The integer nearest to ``m * 2**e * 10**(18 - k)``."""
    p = 18 - k
    low, high = _product(m, _POWERS_OF_5[p])
    shift = (-(e + p)).astype(np.uint64)
    one = np.uint64(1)
    half = one << (shift - one)
    remainder = low & ((half << one) - one)
    quotient: _Words = (high << (64 - shift)) | (low >> shift)
    quotient += (remainder > half) | ((remainder == half) & (quotient & one == 1))
    return quotient


def _product(m: _Words, f: _Words) -> tuple[_Words, _Words]:
    """Low and high word of ``m * f``, for m < 2**53 and f < 2**63, by halves as on paper."""
    m0, m1, f0, f1 = m & 0xFFFFFFFF, m >> 32, f & 0xFFFFFFFF, f >> 32
    m0f0 = m0 * f0
    middle = m1 * f0 + m0 * f1 + (m0f0 >> 32)
    return (middle << 32) | (m0f0 & 0xFFFFFFFF), m1 * f1 + (middle >> 32)
