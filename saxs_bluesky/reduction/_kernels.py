"""Compiled sums over the pixels of each class.

One pass over the used pixels in the order of memory, straight on the image as the detector wrote it, makes all
the sums of a frame: nothing as large as an image is allocated, and no more is read beside the image than two bytes
a pixel, mostly.
"""

from __future__ import annotations

from contextlib import nullcontext
from pickle import UnpicklingError
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from saxs_bluesky.reduction._types import BoolImage, FloatArray

_COMPILING = Lock()
_COMPILED: set[tuple[object, ...]] = set()


class ClassSums(NamedTuple):
    """Sums over the pixels of each class that take part, with ``c`` their factors and ``n`` their counts."""

    valid: NDArray[np.int64]
    """Number of pixels."""
    signal: NDArray[Any]
    """``sum(c n)``, in whole numbers if they are."""
    variance: NDArray[Any]
    """``sum(c**2 n)``, likewise."""
    square: FloatArray | None
    """``sum(c**2 n**2)``, if asked for."""


def class_sums(
    stretches: NDArray[np.int64],
    classes: NDArray[np.unsignedinteger[Any]],
    sizes: NDArray[np.int64],
    factors: FloatArray | None,
    pixels: NDArray[Any],
    left_out: BoolImage | None,
    limits: tuple[float, float] | None,
    *,
    squares: bool,
) -> ClassSums:
    """Sums over the pixels of each class.

    Parameters
    ----------
    stretches
        First and last + 1 of the pixels of each uninterrupted row of used ones, in ascending order; shape (m, 2).
    classes
        Class of each used pixel.
    sizes
        Number of pixels of each class.
    factors
        ``c`` of each used pixel; None for 1.
    pixels
        ``n``, shape (pixels,).
    left_out
        Flags of pixels that do not take part, shape (pixels,); None where there are none.
    limits
        Pixels take part only with ``limits[0] <= n < limits[1]``; None for no such limits.
    squares
        Whether to make the last sum.
    """
    whole = pixels.dtype.kind in "iu" and factors is None
    valid = sizes.copy()
    signal = np.zeros(sizes.size, np.int64 if whole else np.float64)
    variance = None if factors is None else np.zeros(sizes.size)
    square = np.zeros(sizes.size) if squares else None
    arrays = [_read_only(array) for array in (stretches, classes, factors, pixels, left_out)]
    types = (limits is None, *(None if array is None else array.dtype for array in (*arrays, square)))
    # numba 0.68 fails in the first calls of a process if they come from several threads at once.
    with nullcontext() if types in _COMPILED else _COMPILING:
        arguments = (*arrays, limits, valid, signal, variance, square)
        try:
            _sum_kept(*arguments)
        except (OSError, EOFError, UnpicklingError):  # the disk is full, or a file on it damaged or another user's
            _sum_unkept(*arguments)
    _COMPILED.add(types)
    return ClassSums(valid, signal, signal if variance is None else variance, square)


def _read_only(array: NDArray[Any] | None) -> NDArray[Any] | None:
    # The kernel is compiled anew for arrays that may not be written to: so none may.
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view


def _sum(
    stretches: NDArray[np.int64],
    classes: NDArray[np.unsignedinteger[Any]],
    factors: FloatArray | None,
    pixels: NDArray[Any],
    left_out: BoolImage | None,
    limits: tuple[float, float] | None,
    valid: NDArray[np.int64],
    signal: NDArray[Any],
    variance: FloatArray | None,
    square: FloatArray | None,
) -> None:
    first = 0
    for s in range(stretches.shape[0]):
        start, stop = stretches[s]
        members = classes[first : first + stop - start]
        counts = pixels[start:stop]
        for i in range(members.size):
            k = members[i]
            n = counts[i]
            takes_part = True
            if limits is not None:
                takes_part = n >= limits[0] and n < limits[1]
            if left_out is not None:
                takes_part = takes_part and not left_out[start + i]
            if not takes_part:
                valid[k] -= 1
            cn = n if takes_part else 0
            if factors is not None:
                cn *= factors[first + i]
            signal[k] += cn
            if factors is not None and variance is not None:
                variance[k] += factors[first + i] * cn
            if square is not None:
                square[k] += np.float64(cn) * np.float64(cn)
        first += stop - start


# Compiled when first called, for the types it is called with, and kept on the disk: a list of signatures
# would be compiled on import, a fifth of a second for each, and a process hardly needs more than one.
_OPTIONS: dict[str, Any] = {"nogil": True}
_sum_unkept = njit(**_OPTIONS)(_sum)
try:
    _sum_kept = njit(cache=True, **_OPTIONS)(_sum)
except RuntimeError:  # neither beside this file nor in the user's folders is a place to keep it
    _sum_kept = _sum_unkept
