"""Compiled sums over the pixels of each class.

One pass over the used pixels in the order of memory, straight on the image as the detector wrote it, makes all
the sums of a frame: nothing as large as an image is allocated, and no more is read beside the image than two bytes
a pixel, mostly.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saxs_bluesky.reduction._compiled import Compiled, read_only
from saxs_bluesky.reduction.arrays import BoolImage, FloatArray


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
    span = _span(pixels.dtype, limits)
    stretches, classes, factors, pixels, left_out = map(read_only, (stretches, classes, factors, pixels, left_out))
    limits = None if span else limits
    sum_pixels(stretches, classes, factors, pixels, left_out, limits, span, valid, signal, variance, square)
    return ClassSums(valid, signal, signal if variance is None else variance, square)


def _span(dtype: np.dtype[Any], limits: tuple[float, float] | None) -> tuple[np.int64, np.uint32] | None:
    """Limits of whole numbers as the lowest, and how far the highest is above it.

    One comparison tells then whether a number lies within, and the sums take two thirds of the time.
    """
    if limits is None or dtype.kind not in "iu":
        return None
    ends = np.iinfo(dtype)
    lowest = max(math.ceil(limits[0]), int(ends.min))
    highest = int(ends.max) if limits[1] > ends.max else math.ceil(limits[1]) - 1
    return (np.int64(lowest), np.uint32(highest - lowest)) if lowest <= highest else None


def _sum(
    stretches: NDArray[np.int64],
    classes: NDArray[np.unsignedinteger[Any]],
    factors: FloatArray | None,
    pixels: NDArray[Any],
    left_out: BoolImage | None,
    limits: tuple[float, float] | None,
    span: tuple[np.int64, np.uint32] | None,
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
            if not _takes_part(n, limits, span) or (left_out is not None and left_out[start + i]):
                valid[k] -= 1
            elif factors is None:
                signal[k] += n
                if square is not None:
                    square[k] += np.float64(n) * np.float64(n)
            else:
                cn = factors[first + i] * n
                signal[k] += cn
                if variance is not None:
                    variance[k] += factors[first + i] * cn
                if square is not None:
                    square[k] += cn * cn
        first += stop - start


def _takes_part(n: Any, limits: tuple[float, float] | None, span: tuple[np.int64, np.uint32] | None) -> Any:
    if span is not None:
        return np.uint32(n - span[0]) <= span[1]  # what is below the lowest wraps to beyond the highest
    if limits is not None:
        return n >= limits[0] and n < limits[1]
    return True


sum_pixels = Compiled(_sum, _takes_part)
