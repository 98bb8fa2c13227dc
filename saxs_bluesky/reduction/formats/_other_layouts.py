"""Layout of TIFF images that are not laid out as a Pilatus does: compressed, scattered, or several in a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction.formats._pages import PagePosition
from saxs_bluesky.reduction.formats._tiff import COMPRESSIONS, TEXTS, UNCOMPRESSED, TiffLayout

_MOST_BYTES = 2**30  # of pixels; a Pilatus 6M makes 25 MB, a damaged header any number


def tiff_page(tiff: tifffile.TiffFile, place: PagePosition) -> tifffile.TiffPage:
    """Read the directory of a page."""
    tiff.filehandle.seek(place.directory)
    return tifffile.TiffPage(tiff, index=0)


def texts_of(page: tifffile.TiffPage) -> dict[int, str]:
    """Texts of a page, by the codes of their tags."""
    return {code: str(value) for code in TEXTS if (value := page.tags.valueof(code)) is not None}


def layout_of(page: tifffile.TiffPage, place: PagePosition, size: int, path: Path) -> TiffLayout:
    """Check that an image can be read, and find its pixels.

    Raises
    ------
    FrameError
        It is incomplete, no grey image, too large, or compressed in a way that is not read.
    """
    _check_complete(page, size, path)
    dtype = _grey_type(page, path)
    _check_compression(page, path)
    offset = int(page.dataoffsets[0]) if page.is_final else None
    _check_size(page, size - (offset or 0), path)
    if place.images > 1:
        if offset is None:
            raise FrameError(f"{path}: wanted {place.images} images that follow each other, found a compressed one")
        offset += place.number * page.nbytes
        if offset + page.nbytes > size:
            raise FrameError(
                f"{path}: wanted an image that ends at byte {offset + page.nbytes}, found a file cut short at {size}"
            )
    return TiffLayout(page.shape, dtype.newbyteorder(page.parent.byteorder), offset, texts_of(page))


def _grey_type(page: tifffile.TiffPage, path: Path) -> np.dtype[Any]:
    if len(page.shape) != 2 or 0 in page.shape or page.dtype is None or page.dtype.kind not in "iuf":
        raise FrameError(
            f"{path}: wanted one grey image of shape (rows, columns), found shape {page.shape} of "
            f"{page.dtype or 'no known type'}"
        )
    return page.dtype


def _check_compression(page: tifffile.TiffPage, path: Path) -> None:
    if page.compression != UNCOMPRESSED and page.compression not in COMPRESSIONS:
        name = getattr(page.compression, "name", str(page.compression))
        known = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise FrameError(
            f"{path}: wanted pixels that are not compressed, or with {known}, found {name}: save the image otherwise"
        )


def _check_size(page: tifffile.TiffPage, there: int, path: Path) -> None:
    """Nobody makes room for, or looks for, what a damaged header claims."""
    if page.nbytes > min(_MOST_BYTES, there if page.compression == UNCOMPRESSED else _MOST_BYTES):
        raise FrameError(
            f"{path}: wanted {page.nbytes} bytes of pixels (shape {page.shape} of {page.dtype}), found {there}"
        )
    parts = math.prod(page.chunked)
    if not page.is_final and len(page.dataoffsets) != parts:
        raise FrameError(f"{path}: wanted {parts} strips or tiles of pixels, found {len(page.dataoffsets)}")


def _check_complete(page: tifffile.TiffPage, size: int, path: Path) -> None:
    """A detector writes in place: the header can be there before the pixels are."""
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends:
        raise FrameError(f"{path}: wanted a TIFF image, found no pixels in it")
    if max(ends) > size:
        raise FrameError(f"{path}: wanted an image that ends at byte {max(ends)}, found a file cut short at {size}")
