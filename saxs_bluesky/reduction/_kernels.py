"""Compiled sums over the pixels of each bin.

One pass over the matrix, straight on the image as the detector wrote it, makes all the sums of a frame:
nothing as large as an image is allocated, and the time goes into reading memory.
"""

from __future__ import annotations

from contextlib import nullcontext
from pickle import UnpicklingError
from threading import Lock
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from saxs_bluesky.reduction._types import BoolImage, FloatArray, IndexArray

_COMPILING = Lock()
_COMPILED: set[tuple[np.dtype[Any] | None, ...]] = set()


def bin_sums(
    matrix: tuple[IndexArray, IndexArray, NDArray[Any]],
    factors: FloatArray | None,
    pixels: NDArray[Any],
    left_out: BoolImage | None,
    limits: tuple[float, float] | None,
) -> FloatArray:
    """Sums over the pixels of each bin.

    With ``w`` the subpixels of a pixel in a bin, ``c`` its correction factor and ``n`` its counts.

    Parameters
    ----------
    matrix
        ``indptr``, ``indices`` and ``data`` of the sparse matrix (bins, pixels) by rows that holds ``w``.
    factors
        ``c`` of each entry of the matrix; None for 1.
    pixels
        ``n``, shape (pixels,).
    left_out
        Flags of pixels that do not take part, shape (pixels,); None where there are none.
    limits
        Pixels take part only with ``limits[0] <= n < limits[1]``; None for no such limits.

    Returns
    -------
    ``sum(w)``, ``sum(w c n)``, ``sum(w**2 c**2 n)``, ``sum(w c**2 n**2)``; shape (4, bins).
    """
    # A ring jumps from row to row of the image. Read in order before, a byte of each cache line, it is
    # found in the cache then: that saves 5 to 30 % of the time, most where processes share the memory.
    np.count_nonzero(pixels.view(np.uint8)[::64])
    sums = np.empty((4, matrix[0].size - 1))
    arrays = [_read_only(array) for array in (*matrix, factors, pixels, left_out)]
    types = tuple(None if array is None else array.dtype for array in arrays)
    # numba 0.68 fails in the first calls of a process if they come from several threads at once.
    with nullcontext() if types in _COMPILED else _COMPILING:
        arguments = (*arrays, limits or (0.0, 0.0), limits is not None, sums)
        try:
            _sum_kept(*arguments)
        except (OSError, EOFError, UnpicklingError):  # the disk is full, or a file on it damaged or another user's
            _sum_unkept(*arguments)
    _COMPILED.add(types)
    return sums


def _read_only(array: NDArray[Any] | None) -> NDArray[Any] | None:
    # The kernel is compiled anew for arrays that may not be written to: so none may.
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view


def _sum(
    indptr: IndexArray,
    indices: IndexArray,
    counts: NDArray[Any],
    factors: FloatArray | None,
    pixels: NDArray[Any],
    left_out: BoolImage | None,
    limits: tuple[float, float],
    limited: bool,
    sums: FloatArray,
) -> None:
    lowest, cutoff = limits
    for b in range(sums.shape[1]):
        area = signal = variance = square = 0.0
        for j in range(indptr[b], indptr[b + 1]):
            pixel = np.uint32(indices[j])  # an index that has no sign need not be tried for counting from the end
            n = np.float64(pixels[pixel])
            takes_part = bool(not limited or (n >= lowest and n < cutoff))
            if left_out is not None:
                takes_part = takes_part and not left_out[pixel]
            w = np.float64(counts[j]) if takes_part else 0.0
            cn = n if takes_part else 0.0
            wc = w
            if factors is not None:
                cn *= factors[j]
                wc *= factors[j]
            area += w
            signal += w * cn
            variance += wc * (w * cn)
            square += w * cn * cn
        sums[0, b] = area
        sums[1, b] = signal
        sums[2, b] = variance
        sums[3, b] = square


# Compiled when first called, for the types it is called with, and kept on the disk: a list of signatures
# would be compiled on import, a fifth of a second for each, and a process hardly needs more than one.
# Sums of whole numbers are exact in any order, so they may be reordered to fill vector registers; the
# rest of "fast math" would take NaN for granted not to be there.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract"}}
_sum_unkept = njit(**_OPTIONS)(_sum)
try:
    _sum_kept = njit(cache=True, **_OPTIONS)(_sum)
except RuntimeError:  # neither beside this file nor in the user's folders is a place to keep it
    _sum_kept = _sum_unkept
