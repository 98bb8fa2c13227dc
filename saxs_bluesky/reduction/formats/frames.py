"""Pilatus TIFF files: reading frames with their headers, and writing them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISFIFO, S_ISREG
from typing import Any

import numpy as np
import tifffile

from saxs_bluesky.errors import FrameError, SupersededError, system_reason
from saxs_bluesky.reduction.arrays import Image
from saxs_bluesky.reduction.formats._other_layouts import layout_of, texts_of, tiff_page
from saxs_bluesky.reduction.formats._pages import PagePosition, PageTable, page_table
from saxs_bluesky.reduction.formats._tiff import (
    TiffLayout,
    plain_layout,
)
from saxs_bluesky.reduction.formats._unreadable import unreadable_as
from saxs_bluesky.reduction.formats.pilatus_header import PilatusHeader, parse_header
from saxs_bluesky.reduction.formats.stamps import Stamp, stamp_of
from saxs_bluesky.support.replacing import replacing

_TIME_FORMAT = "%Y:%m:%d %H:%M:%S"
_HEAD_BYTES = 8192  # a Pilatus needs the first 4096


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of the detector.

    Parameters
    ----------
    image
        Counts, shape (rows, columns), row 0 at the top.
    header
        What the detector wrote beside it.
    path
        The file that it was read from.
    pages
        How many images the file holds.
    offset
        Where in the file the pixels begin, in bytes; None where they are compressed or scattered.
    """

    image: Image
    header: PilatusHeader
    path: Path
    pages: int = 1
    offset: int | None = None


@dataclass(frozen=True, eq=False)
class FrameFile:
    """A file of frames as it was when the header of one was read, and where in it the pixels are.

    Parameters
    ----------
    path, header
        The file, and what the detector wrote beside the image.
    shape
        Rows and columns.
    dtype
        Type of the pixels in the file, in its byte order.
    offset
        First byte of the pixels, from which on they follow each other row after row; None where they are compressed or
        scattered.
    size, mtime_ns
        Of the file, in bytes and nanoseconds: they differ once it has been written to again.
    stamp
        Differs also once the file has been replaced.
    pages
        How many images it holds.
    place
        Where this one is among them; None where it is the only one, at the beginning.
    """

    path: Path
    header: PilatusHeader
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int | None
    size: int
    mtime_ns: int
    stamp: Stamp
    pages: int = 1
    place: PagePosition | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels in memory."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


def read_header(path: str | Path, status: os.stat_result | None = None) -> FrameFile:
    """Read the header of the first image of a TIFF file, and find its pixels: that all are there, not what they are.

    Parameters
    ----------
    path
        The file.
    status
        Of the file, just before: a file that is not this one any more has changed; None: it is asked for.

    Returns
    -------
    The file as it was, with the header of its first image.

    Raises
    ------
    FrameError
        The file is absent, empty, incomplete, no TIFF, its image is no grey one, or it changed
        while it was read.
    """
    path = Path(path)
    with _opened(path) as file:
        if status is None:
            opened = os.fstat(file)
            found = _examine(file, opened, path)
            _check_unwritten(file, opened, path)
        else:
            found = _examine(file, status, path)
            if stamp_of(os.fstat(file)) != found.stamp:
                raise _changed(path)
        return found


def read_headers(path: str | Path) -> list[FrameFile | FrameError]:
    """Read the header of each image of a TIFF file as `read_header` does; what is wrong with one costs no other.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    For each image its header, or why it cannot be read.

    Raises
    ------
    FrameError
        The file is absent, empty, no TIFF, or changed while it was read.
    """
    path = Path(path)
    with _opened(path) as file:
        status = os.fstat(file)
        table = _page_table(file, status.st_size, path)
        found: list[FrameFile | FrameError] = []
        with _through_tifffile(file, path) as tiff:
            for number in range(len(table)):
                try:
                    found.append(_examined(tiff, table, number, status, path))
                except FrameError as error:
                    found.append(error)
        _check_unwritten(file, status, path)
        return found


def ends_in_zeros(frame_file: FrameFile) -> bool:
    """True if all pixels of the last row are 0, as in a file that was made at full size and is not filled yet.

    A weak pattern has such a row too: this is a reason to look again later, not a reason to refuse
    a frame. False where the pixels are compressed or scattered.

    Parameters
    ----------
    frame_file
        The file, as `read_header` found it.

    Returns
    -------
    True if the last row holds nothing but 0.

    Raises
    ------
    FrameError
        The file cannot be read any more.
    """
    if frame_file.offset is None:
        return False
    row = frame_file.shape[1] * frame_file.dtype.itemsize
    with _opened(frame_file.path) as file:
        return not os.pread(file, row, frame_file.offset + frame_file.nbytes - row).strip(b"\0")


def read_frame(
    path: str | Path,
    out: Image | None = None,
    *,
    page: int = 0,
    is_meant: Callable[[os.stat_result], bool] | None = None,
) -> Frame:
    """Read one image of a TIFF file with its header.

    Parameters
    ----------
    path
        The file.
    out
        Where the pixels go, if it is writeable, contiguous, and of the image's shape and type (in
        native byte order); otherwise it is left alone and they go into a new array. Worth its while
        where several frames are held at a time: their memory then comes from the system page by
        page for every frame, which takes ten times as long as reading.
    page
        Which of the images in the file, from 0.
    is_meant
        Tells by the file's status whether its content is the one that is meant; None: any is.

    Returns
    -------
    The image, its header, and where in the file its pixels are.

    Raises
    ------
    SupersededError
        The file holds other content than the one that is meant.
    FrameError
        The file is absent, empty, incomplete, no TIFF, has no such page, the image is no grey one,
        or it changed while it was read.
    """
    path = Path(path)
    with _opened(path) as file:
        status = os.fstat(file)
        if is_meant is not None and not is_meant(status):
            raise superseded(path)
        try:
            found = _examine(file, status, path, page)
            image = _read_pixels(file, found, out)
            _check_unwritten(file, status, path)
        except FrameError as error:
            # What is wrong with it may come of newer content that is being written.
            if is_meant is not None and not is_meant(os.fstat(file)):
                raise superseded(path) from error
            raise
    return Frame(image, found.header, path, found.pages, found.offset)


# By descriptors, since all of this is done for every file twice, and at each call of the system another thread may
# take Python's lock away.
@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Descriptor of a file; what goes wrong with it is a `FrameError`."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would wait for a writer
        try:
            yield file
        finally:
            os.close(file)
    except OSError as error:
        raise FrameError(f"{path}: wanted a TIFF image, found {system_reason(error)}") from error


def _changed(path: Path) -> FrameError:
    return FrameError(f"{path}: wanted a finished image, found a file that changed while it was read")


def superseded(path: str | Path) -> SupersededError:
    """Error of a file that holds newer content than the one that is meant."""
    return SupersededError(
        f"{path}: the file was overwritten before it was reduced; its newer content is another event"
    )


def _check_unwritten(file: int, before: os.stat_result, path: Path) -> None:
    # Not the stamp: a file that is replaced or moved while it is read is still the one that was opened.
    now = os.fstat(file)
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _changed(path)


def _examine(file: int, stat: os.stat_result, path: Path, page: int = 0) -> FrameFile:
    if not (S_ISREG(stat.st_mode) or S_ISDIR(stat.st_mode)):  # reading a folder fails by itself
        kind = "a named pipe" if S_ISFIFO(stat.st_mode) else "a device"
        raise FrameError(f"{path}: wanted a TIFF image, found no file but {kind}")
    if stat.st_size == 0:
        raise FrameError(f"{path}: wanted a TIFF image, found an empty file")
    layout = plain_layout(os.pread(file, _HEAD_BYTES, 0), stat.st_size)
    if layout is None:
        table = _page_table(file, stat.st_size, path)
        with _through_tifffile(file, path) as tiff:
            return _examined(tiff, table, page, stat, path)
    if page:
        raise FrameError(f"{path}: wanted page {page} (from 0), found a file of one image")
    return _frame_file(layout, stat, path)


def _frame_file(
    layout: TiffLayout, stat: os.stat_result, path: Path, pages: int = 1, place: PagePosition | None = None
) -> FrameFile:
    rows, columns = layout.shape
    return FrameFile(
        path=path,
        header=parse_header(layout.texts),
        shape=(rows, columns),
        dtype=layout.dtype,
        offset=layout.offset,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        stamp=stamp_of(stat),
        pages=pages,
        place=place,
    )


def _page_table(file: int, size: int, path: Path) -> PageTable:
    if size == 0:  # a pipe too
        raise FrameError(f"{path}: wanted a TIFF image, found an empty file")
    try:
        return page_table(file, size)
    # What a damaged file holds in place of numbers, too.
    except (ValueError, struct.error, OverflowError) as error:
        raise FrameError(f"{path}: wanted a TIFF image, found an unreadable file ({error})") from error


def _examined(tiff: tifffile.TiffFile, table: PageTable, page: int, stat: os.stat_result, path: Path) -> FrameFile:
    """One page of a file with several, or laid out otherwise than a Pilatus does."""
    where = Path(f"{path}, page {page}") if len(table) > 1 else path
    if page >= len(table):
        raise FrameError(f"{path}: wanted page {page} (from 0), found {len(table)} pages")
    if page == len(table.places):
        raise FrameError(f"{where}: wanted an image, found {table.failure}")
    place = table.places[page]
    with _unreadable(where):
        layout = layout_of(tiff_page(tiff, place), place, stat.st_size, where)
        first = table.places[0]
        if place.directory != first.directory:
            layout = layout._replace(texts={**texts_of(tiff_page(tiff, first)), **layout.texts})
    return _frame_file(layout, stat, path, len(table), place)


def _read_pixels(file: int, found: FrameFile, out: Image | None) -> Image:
    native = found.dtype.newbyteorder("=")
    if out is None or not (out.shape == found.shape and out.dtype == native and out.flags.carray):
        out = np.empty(found.shape, native)
    if found.offset is None:
        with _through_tifffile(file, found.path) as tiff:
            page = tiff.pages.first if found.place is None else tiff_page(tiff, found.place)
            out[...] = page.asarray()
        return out
    if os.preadv(file, [out.data.cast("B")], found.offset) != found.nbytes:
        raise _changed(found.path)
    if not found.dtype.isnative:
        out.byteswap(inplace=True)
    return out


@contextmanager
def _through_tifffile(file: int, path: Path) -> Iterator[tifffile.TiffFile]:
    os.lseek(file, 0, os.SEEK_SET)
    with (
        _unreadable(path),
        open(path, "rb", opener=lambda *_: os.dup(file)) as whole,
        tifffile.TiffFile(whole) as tiff,
    ):
        yield tiff


def _unreadable(path: Path) -> AbstractContextManager[None]:
    return unreadable_as(FrameError, f"{path}: wanted a TIFF image", passed_on=(OSError,))


def write_frame(path: str | Path, image: Image, header: PilatusHeader | None = None) -> None:
    """Write an image as a Pilatus writes it: one strip of int32 at offset 4096, uncompressed.

    The file appears under its name only when it is whole.

    Parameters
    ----------
    path
        Where to; the folder must exist.
    image
        Counts, shape (rows, columns); -1 in gaps, -2 in bad pixels.
    header
        Its ``entries`` become the lines of the header, in their order.
    """
    header = header or PilatusHeader()
    taken = header.date_time or datetime.now(UTC).strftime(_TIME_FORMAT)
    with replacing(Path(path)) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(image, dtype="<i4"),
            byteorder="<",
            photometric="minisblack",
            rowsperstrip=image.shape[0],
            align=4096,
            metadata=None,
            description=header.description() or None,
            datetime=taken,
            software=header.software or "saxs-bluesky",
            extratags=[("Model", "s", 0, header.model, True)] if header.model else [],
        )
