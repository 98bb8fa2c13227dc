"""The pixels of a frame as the operators read them: in a row, with what says which of them take part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from saxs_bluesky.reduction.arrays import BoolImage, Image

_READ_AS_THEY_ARE = (np.int32, np.uint32, np.float32)  # every other type fits one of these, or becomes float64


@dataclass(frozen=True, eq=False)
class LimitedImage:
    """An image and the limits of its valid counts.

    Pixels that ``image`` masks, where it is a masked array, never take part; the others do with
    ``limits[0] <= n < limits[1]``, so NaN does not. Without limits (None) all of them do.
    """

    image: Image
    limits: tuple[float, float] | None = None

    @cached_property
    def pixels(self) -> NDArray[Any]:
        """Pixel values, shape (rows * columns,): the image itself where its type and order allow."""
        values = np.ma.getdata(self.image)
        dtype = next((dtype for dtype in _READ_AS_THEY_ARE if np.can_cast(values.dtype, dtype)), np.float64)
        return _in_a_row(values, dtype)

    @cached_property
    def left_out(self) -> BoolImage | None:
        """Flags of the pixels that the image masks, shape (rows * columns,); None where it masks none."""
        if np.ma.getmask(self.image) is np.ma.nomask:
            return None
        return _in_a_row(np.ma.getmaskarray(self.image), np.bool_)


def valid_limits(count_cutoff: float | None, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Limits of valid counts: from 0 to below the lower one of ``count_cutoff`` and what the type keeps for flags.

    Parameters
    ----------
    count_cutoff
        Counts from which on a pixel is saturated; None: not known.
    dtype
        Type of the image as the detector wrote it.
    """
    known = [float(limit) for limit in (first_flag(dtype), whole_cutoff(count_cutoff)) if limit is not None]
    return 0.0, min(known, default=math.inf)


def whole_cutoff(count_cutoff: float | None) -> int | None:
    """Count from which on a pixel is saturated, a whole number as images hold; None where it is not known.

    A detector that does not know its own says 0, and a header may hold anything: 0, infinity, NaN and negative numbers
    are none.
    """
    if count_cutoff is None or not 0 < count_cutoff < math.inf:
        return None
    return math.ceil(count_cutoff)


def first_flag(dtype: np.dtype[Any]) -> int | None:
    """Lowest of the highest values of an unsigned type, which are no counts; None for other types.

    ``2**n - 1`` marks the gaps and masked pixels of a detector whose images have n bits (DECTRIS, EIGER2 User Manual
    1.8.2, section 11.1), and is where counters of n bits stop; ``2**n - 2`` marks bad pixels. They are the -1 and -2
    of a Pilatus without their sign. Of 8 bits only 255 is one: 254 is a count there as any other.
    """
    if dtype.kind != "u":
        return None
    return int(np.iinfo(dtype).max) - (1 if dtype.itemsize > 1 else 0)


def _in_a_row(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    return np.require(array, dtype, ["C", "A", "E"]).reshape(-1)
