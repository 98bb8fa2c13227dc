"""Integration as a sparse matrix: every pixel shared among the bins that its parts fall into.

Each pixel is divided into ``oversampling x oversampling`` subpixels, and each subpixel belongs to
one bin. What a bin holds of a pixel is the *number* of its subpixels there, a whole number: sums
of weights are then exact, so that an image of ones integrates to 1, and pixels can be left out of
single frames without rounding residues. The common factor ``oversampling**2`` cancels.

The matrix is built from the pixels, a cache-sized block at a time: the subpixels in the lowest bin of
each pixel are counted, then those in the next one, and so on to its highest. That needs neither a
sort over subpixels nor a matrix as large as the oversampled image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction._types import BoolImage, FloatArray, FloatImage, Image, IndexArray

BinOf: TypeAlias = Callable[[FloatArray, FloatArray], IndexArray]
"""From positions (x, y) in the detector plane in mm to numbers of bins; the arrays broadcast."""

_Entries: TypeAlias = tuple[IndexArray, IndexArray, NDArray[np.intp]]
"""Bins, pixels, and how many subpixels of the pixel lie in the bin; shapes (n,)."""

_SUBPIXELS_PER_BLOCK = 65536  # half a megabyte a temporary array: they stay in the second-level cache
_NARROW = 4  # bins: hardly a pixel away from the beam centre reaches over more
_TAKEN = np.iinfo(np.int32).max


def count_subpixels(
    geometry: Geometry, used: BoolImage, oversampling: int, bin_of: BinOf, bins: int
) -> sparse.csr_array:
    """Count the subpixels of each pixel in each bin.

    Parameters
    ----------
    geometry
        Where the pixels are.
    used
        The pixels that take part, shape (rows, columns).
    oversampling
        Into how many parts a pixel is divided along each edge.
    bin_of
        The bin of a subpixel, in ``[0, bins)``.
    bins
        Number of bins.

    Returns
    -------
    Matrix of shape (bins, rows * columns), whole numbers as float64.
    """
    pixels = np.flatnonzero(used).astype(np.int32)
    offsets = (np.arange(oversampling) + 0.5) / oversampling
    block = max(1, _SUBPIXELS_PER_BLOCK // oversampling**2)
    parts: list[_Entries] = []
    for start in range(0, pixels.size, block):
        chunk = pixels[start : start + block]
        rows, columns = np.divmod(chunk, geometry.shape[1])
        x, y = geometry.plane_position(rows + offsets[:, None, None], columns + offsets[None, :, None])
        parts.extend(_shares(chunk, bin_of(x, y).reshape(-1, chunk.size)))
    shape = (bins, used.size)
    if not parts:
        return sparse.csr_array(shape, dtype=np.float64)
    bin_numbers, pixel_numbers, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sparse.coo_array((counts.astype(np.float64), (bin_numbers, pixel_numbers)), shape=shape).tocsr()


def _shares(pixels: IndexArray, bins: IndexArray) -> Iterator[_Entries]:
    """Count the subpixels of pixels whose subpixels lie in ``bins``, shape (subpixels, pixels)."""
    lowest = bins.min(axis=0)
    spans = bins.max(axis=0) - lowest
    wide = spans >= _NARROW
    if wide.any():
        yield from _shares_of_wide(pixels[wide], bins[:, wide])
        pixels, bins, lowest, spans = pixels[~wide], bins[:, ~wide], lowest[~wide], spans[~wide]
    for span in range(spans.max(initial=-1) + 1):
        counts = np.count_nonzero(bins == lowest + np.int32(span), axis=0)
        there = np.flatnonzero(counts)
        yield lowest[there] + np.int32(span), pixels[there], counts[there]


def _shares_of_wide(pixels: IndexArray, bins: IndexArray) -> Iterator[_Entries]:
    """The same for pixels that reach over many bins or, over the azimuth, from the last to the first."""
    while pixels.size:
        lowest = bins.min(axis=0)
        there = bins == lowest
        yield lowest, pixels, np.count_nonzero(there, axis=0)
        bins = np.where(there, _TAKEN, bins)
        left = bins.min(axis=0) < _TAKEN
        pixels, bins = pixels[left], bins[:, left]


@dataclass(frozen=True)
class BinnedFrame:
    """What an operator makes of a frame: ``intensity``, ``sigma`` and ``deviation`` of the bins, shapes (bins,)."""

    intensity: FloatArray
    sigma: FloatArray
    deviation: FloatArray | None


class BinningOperator:
    """Weighted means over the bins, with their errors.

    With ``w`` the share of a pixel in a bin, ``c`` its correction factor and ``n`` its counts:

    - intensity ``sum(w c n) / sum(w)``;
    - Poisson error ``sqrt(sum(w**2 c**2 n)) / sum(w)``, since the variance of ``n`` is ``n``;
    - standard deviation of the pixels in the bin, ``sqrt(sum(w (c n - intensity)**2) / sum(w))``.

    All are NaN where ``sum(w)`` is 0.

    Parameters
    ----------
    counts
        Subpixels of each pixel in each bin, shape (bins, pixels), from `count_subpixels`.
    correction
        Factor for each pixel, shape (rows, columns); None for 1.
    """

    def __init__(self, counts: sparse.csr_array, correction: FloatImage | None = None) -> None:
        self.counts = counts
        self._weights = self._squares = counts
        factors = np.ones(1) if correction is None else correction.ravel()[counts.indices]
        if correction is not None:
            self._weights = self._with_data(counts.data * factors)
            self._squares = self._with_data(counts.data * factors**2)
        self._variances = self._with_data((counts.data * factors) ** 2)
        self._area: FloatArray = counts @ np.ones(counts.shape[1])
        self._used = np.zeros(counts.shape[1], dtype=bool)
        self._used[counts.indices] = True
        self._last_left_out: tuple[IndexArray, FloatArray] = (np.empty(0, dtype=np.int32), self._area)

    def _with_data(self, data: FloatArray) -> sparse.csr_array:
        # The three matrices share their index arrays.
        return sparse.csr_array((data, self.counts.indices, self.counts.indptr), shape=self.counts.shape)

    @property
    def area(self) -> FloatArray:
        """Subpixels in each bin, shape (bins,)."""
        return self._area

    def apply(self, image: Image, *, deviation: bool = False) -> BinnedFrame:
        """Average a frame over the bins; pixels that a masked array leaves out do not take part.

        The standard deviation costs half as much again as the rest, so it is made where it is asked for.
        """
        values, left_out = self._values(image)
        area = self._area_without(left_out)
        with np.errstate(divide="ignore", invalid="ignore"):
            intensity = (self._weights @ values) / area
            # Negative pixels have no Poisson variance; they are here only where a user keeps them.
            sigma = np.sqrt(np.maximum(self._variances @ values, 0)) / area
            if not deviation:
                return BinnedFrame(intensity, sigma, None)
            mean_square = (self._squares @ (values * values)) / area
            return BinnedFrame(intensity, sigma, np.sqrt(np.maximum(mean_square - intensity**2, 0)))

    def _values(self, image: Image) -> tuple[FloatArray, IndexArray]:
        """Counts with 0 in the pixels left out, and the flat indices of those that matter here."""
        values = np.ma.getdata(image).ravel().astype(np.float64, copy=False)
        mask = np.ma.getmask(image)
        if mask is np.ma.nomask:
            return values, np.empty(0, dtype=np.int32)
        left_out = np.flatnonzero(mask.ravel() & self._used).astype(np.int32)
        if values[left_out].any():
            values = values.copy()
            values[left_out] = 0
        return values, left_out

    def _area_without(self, left_out: IndexArray) -> FloatArray:
        # From frame to frame mostly the same pixels are left out (the gaps between the modules).
        known, area = self._last_left_out
        if not np.array_equal(left_out, known):
            flags = np.zeros(self.counts.shape[1])
            flags[left_out] = 1
            area = self._area - self.counts @ flags
            self._last_left_out = (left_out, area)
        return area
