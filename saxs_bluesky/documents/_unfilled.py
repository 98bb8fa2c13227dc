"""Frames whose place is there and whose pixels are not yet: files and datasets that are made at full size."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import Frame
from saxs_bluesky.reduction._types import Image

_QUIET = 2.0  # seconds for which a file of zeros must have stood still, as in a folder
_OLD = 60.0  # seconds since a file was written, after which nobody fills it any more
_TAIL = 16  # a part of the rows: of a weak pattern, fewer are all zeros


def why_unfilled(frame: Frame) -> str:
    """Why a TIFF image may have been made at full size, and not be filled yet; empty where nothing speaks for it.

    Pixels that the filesystem has no data for (a hole) were never written. Zeros that are there may be meant, so such a
    file need only have stood still for two seconds. A weak pattern is not taken for one.
    """
    image = frame.image
    if image[-1].any() or frame.offset is None:
        return ""
    try:
        file = os.open(frame.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        age = time.time() - os.fstat(file).st_mtime
        if age < _OLD and _is_hole(file, frame.offset + image.nbytes - image[-1].nbytes, image[-1].nbytes):
            return f"{frame.path}: wanted pixels, found a file of full size that is not filled yet"
    finally:
        os.close(file)
    if age < _QUIET and not image[-max(1, len(image) // _TAIL) :].any():
        return f"{frame.path}: wanted pixels, found zeros that were written {age:.1f} s ago"
    return ""


def _is_hole(file: int, begin: int, size: int) -> bool:
    try:
        return os.lseek(file, begin, os.SEEK_DATA) >= begin + size
    except OSError as error:
        return error.errno == 6  # ENXIO: no data up to the end of the file


def check_written(data: Any, index: int, image: Image, path: str) -> None:
    """Raise FrameError where a frame of an HDF5 dataset was never written, and holds the fill value for that reason.

    Parameters
    ----------
    data
        The dataset.
    index
        Number of the frame.
    image
        What was read of it.
    path
        Of the file.
    """
    if data.ndim < 3 or not np.all(image[-1] == data.fillvalue):
        return
    if data.is_virtual:
        _check_sources(data, index, path)
    elif data.chunks is not None:
        last = tuple(size - 1 for size in data.shape[1:])
        for corner in ((0,) * len(last), last):
            if data.id.get_chunk_info_by_coord((index, *corner)).byte_offset is None:
                raise FrameError(f"{path}: wanted frame {index} in {data.name}, found that it is not written")


def _check_sources(data: Any, index: int, path: str) -> None:
    for source in data.virtual_sources():
        first, last = source.vspace.get_select_bounds()
        if not first[0] <= index <= last[0] or source.file_name == "." or "%" in source.file_name:
            continue
        file = Path(path).parent / source.file_name
        if not file.exists():
            raise FrameError(f"{path}: wanted frame {index} in {data.name}, found no file {file} that it is in")
        with h5py.File(file, "r", swmr=True, libver="latest", locking=False) as other:
            if source.dset_name not in other:
                raise FrameError(f"{path}: wanted frame {index} in {data.name}, found no {source.dset_name} in {file}")
            origin = other[source.dset_name]
            begin, end = source.src_space.get_select_bounds()
            row = begin[0] + index - first[0]
            if origin.ndim != data.ndim or end[0] - begin[0] != last[0] - first[0]:
                continue  # mapped in another way
            if row >= origin.shape[0]:
                raise FrameError(f"{file}: wanted frame {row} in {source.dset_name}, found {origin.shape[0]}")
            check_written(origin, int(row), origin[int(row)], str(file))
