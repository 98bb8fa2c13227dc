"""Integration as a sparse matrix: every pixel shared among the bins that its parts fall into.

Each pixel is divided into ``oversampling x oversampling`` subpixels, and each subpixel belongs to
one bin. What a bin holds of a pixel is the *number* of its subpixels there, a whole number: sums
of weights are then exact, so that an image of ones integrates to 1, and pixels can be left out of
single frames without rounding residues. The common factor ``oversampling**2`` cancels.

The matrix is built from the pixels, a cache-sized block at a time: the subpixels in the lowest bin of
each pixel are counted, then those in the next one, and so on to its highest. That needs neither a
sort over subpixels nor a matrix as large as the oversampled image.

Pixels with the same counts in the same bins form a class. A frame is summed over the classes first, and the matrix
has a column for each class: ``docs/explanations/decisions/0006-pixel-classes.md`` tells why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction._kernels import class_sums
from saxs_bluesky.reduction._pixels import LimitedImage
from saxs_bluesky.reduction.arrays import BoolImage, FloatArray, FloatImage, Image, IndexArray

BinOf: TypeAlias = Callable[[FloatArray, FloatArray], IndexArray]
"""From positions (x, y) in the detector plane in mm to numbers of bins; the arrays broadcast."""

_Entries: TypeAlias = tuple[IndexArray, IndexArray, NDArray[np.intp]]
"""Bins, pixels, and how many subpixels of the pixel lie in the bin; shapes (n,)."""

_SUBPIXELS_PER_BLOCK = 65536  # half a megabyte a temporary array: they stay in the second-level cache
_NARROW = 4  # bins: hardly a pixel away from the beam centre reaches over more
_TAKEN = np.iinfo(np.int32).max
_SPARSE = 16  # times the keys: how far up they may go for a table of all numbers to be worth its while
_SHORT = 2**16  # classes that two bytes can tell apart


def count_subpixels(
    geometry: Geometry, used: BoolImage, oversampling: int, bin_of: BinOf, bins: int
) -> sparse.coo_array:
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
    Matrix of shape (bins, rows * columns) of the smallest integers that hold ``oversampling**2``.
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
    shape, dtype = (bins, used.size), np.min_scalar_type(oversampling**2)
    if not parts:
        return sparse.coo_array(shape, dtype=dtype)
    bin_numbers, pixel_numbers, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sparse.coo_array((counts.astype(dtype), (bin_numbers, pixel_numbers)), shape=shape)


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
    """Result of an operator for one frame: ``intensity``, ``sigma`` and ``deviation`` of the bins, shapes (bins,)."""

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
        Subpixels of each pixel in each bin, whole numbers, shape (bins, pixels), from `count_subpixels`.
    correction
        Factor for each pixel, shape (rows, columns); None for 1.
    """

    def __init__(self, counts: sparse.coo_array | sparse.csr_array, correction: FloatImage | None = None) -> None:
        columns = counts.tocsc()  # sorts each column
        pixels = np.flatnonzero(np.diff(columns.indptr))
        self._pixels = columns.shape[1]
        self._stretches = _stretches(pixels)
        self._classes = _classes(columns, pixels)
        self._sizes = np.bincount(self._classes)
        one_of_each = np.zeros(self._sizes.size, np.intp)
        one_of_each[self._classes] = pixels
        self._weights = columns[:, one_of_each].tocsr().astype(np.float64)
        self._squared_weights = self._weights.power(2)
        self._factors: FloatArray | None = None if correction is None else correction.ravel()[pixels]

    @property
    def counts(self) -> sparse.csr_array:
        """Subpixels of each pixel in each bin, shape (bins, pixels); put together when asked for."""
        changes = np.zeros(self._pixels + 1, np.intp)
        changes[self._stretches[:, 0]] = 1
        changes[self._stretches[:, 1]] = -1
        indptr = np.r_[0, changes[:-1].cumsum().cumsum()]
        ones = np.ones(self._classes.size)
        members = sparse.csc_array((ones, self._classes.astype(np.intp), indptr), (self._sizes.size, self._pixels))
        counts: sparse.csr_array = self._weights @ members.tocsr()
        return counts

    @property
    def area(self) -> NDArray[np.float64]:
        """Subpixels in each bin, shape (bins,); 0 in those that no pixel falls into."""
        area: NDArray[np.float64] = self._weights @ self._sizes
        return area

    def apply(self, image: Image | LimitedImage, *, deviation: bool = False) -> BinnedFrame:
        """Average a frame over the bins.

        Pixels do not take part that a masked array leaves out, or that lie outside the limits of a `LimitedImage`.

        Raises
        ------
        FrameError
            The image has another number of pixels than the operator.
        """
        frame = image if isinstance(image, LimitedImage) else LimitedImage(image)
        if frame.pixels.size != self._pixels:
            raise FrameError(f"wanted an image of {self._pixels} pixels, found {frame.pixels.size}")
        sums = class_sums(
            self._stretches,
            self._classes,
            self._sizes,
            self._factors,
            frame.pixels,
            frame.left_out,
            frame.limits,
            squares=deviation,
        )
        area, signal = self._weights @ sums.valid, self._weights @ sums.signal
        variance = self._squared_weights @ sums.variance
        with np.errstate(divide="ignore", invalid="ignore"):
            intensity = signal / area
            # Negative pixels have no Poisson variance; they are here only where a user keeps them.
            sigma = np.sqrt(np.maximum(variance, 0)) / area
            if sums.square is None:
                return BinnedFrame(intensity, sigma, None)
            square = self._weights @ sums.square
            # About the whole number next to the mean: of whole counts, all terms are whole and cancel exactly.
            near = np.rint(intensity)
            rest = signal - near * area
            mean_square = (square - near * (signal + rest) - rest * rest / area) / area
            return BinnedFrame(intensity, sigma, np.sqrt(np.maximum(mean_square, 0)))


def _stretches(pixels: NDArray[np.intp]) -> NDArray[np.int64]:
    """First and last + 1 of each row of successive numbers, shape (n, 2)."""
    breaks = np.flatnonzero(np.diff(pixels) != 1)
    return np.stack([np.r_[pixels[:1], pixels[breaks + 1]], np.r_[pixels[breaks], pixels[-1:]] + 1], axis=1)


def _classes(columns: sparse.csc_array, pixels: NDArray[np.intp]) -> NDArray[np.unsignedinteger[Any]]:
    """Number the pixels from 0, so that those have the same number whose columns are the same."""
    lengths, firsts = np.diff(columns.indptr)[pixels], columns.indptr[pixels]
    largest = int(columns.data.max(initial=0))
    classes, found = np.zeros(pixels.size, np.uint32), 0
    for length in np.flatnonzero(np.bincount(lengths)):
        those = np.flatnonzero(lengths == length)
        entries = firsts[those]
        keys, bins = np.zeros(those.size, np.int64), np.zeros(those.size, np.int64)
        for _ in range(length):  # an entry more of each column: how far the bin is from the one before, and its count
            steps, bins = columns.indices[entries] - bins, columns.indices[entries].astype(np.int64)
            numbers = steps * (largest + 1) + columns.data[entries]
            base = int(numbers.max()) + 1
            if int(keys.max()) * base > _SPARSE * keys.size:
                keys = _numbered(keys)
            keys = keys * base + numbers
            entries = entries + 1
        numbered = _numbered(keys)
        classes[those] = numbered + found
        found += int(numbered.max()) + 1
    return classes.astype(np.uint16) if found <= _SHORT else classes


def _numbered(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Number different keys in their order, from 0."""
    if keys.max() > _SPARSE * keys.size:
        return np.unique(keys, return_inverse=True)[1]
    there = np.zeros(keys.max() + 1, bool)  # several times as fast
    there[keys] = True
    return (there.cumsum() - 1)[keys]
