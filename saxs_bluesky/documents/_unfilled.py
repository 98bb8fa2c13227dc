"""Frames whose place is there and whose pixels are not yet: files and datasets that are made at full size."""

from __future__ import annotations

import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from saxs_bluesky.documents._hdf5_file import dataset_of, not_yet, read_file
from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import Frame
from saxs_bluesky.reduction.arrays import Image

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


def why_unwritten(data: Any, place: tuple[int, ...], image: Image, path: str) -> str:
    """Why a frame of an HDF5 dataset may not be written yet, though its pixels hold the fill value; mostly empty.

    Parameters
    ----------
    data
        The dataset.
    place
        The frame's, along all axes but the last two.
    image
        What was read of it.
    path
        Of the file.

    Raises
    ------
    FrameError
        It was never written.
    """
    if data.external or not np.all(image[-1] == data.fillvalue):
        return ""
    if data.is_virtual:
        _check_sources(data, place, path)
        return ""
    where = f"{path}: wanted frame {'-'.join(map(str, place))} in {data.name}"
    if data.chunks is None:
        # Space that is set aside for all frames at once, and is filled one by one.
        begin = data.id.get_offset()
        if begin is None:
            raise not_yet(path, f"{where}, found that it is not written")
        begin += int(np.ravel_multi_index(place, data.shape[:-2])) * image.nbytes
        age, hole = _age_and_hole(path, begin, image.nbytes)
        if hole:
            raise not_yet(path, f"{where}, found that it is not written")
        return _quiet(where, age, data, image)
    last = tuple(size - 1 for size in data.shape[-2:])
    for corner in ((0,) * len(last), last):
        if data.id.get_chunk_info_by_coord((*place, *corner)).byte_offset is None:
            raise not_yet(path, f"{where}, found that it is not written")
    if math.prod(data.chunks[:-2]) > 1:  # a chunk with other frames of which some may be written
        age, _ = _age_and_hole(path, 0, 0)
        return _quiet(where, age, data, image)
    return ""


def _quiet(where: str, age: float, data: Any, image: Image) -> str:
    if age < _QUIET and np.all(image[-max(1, len(image) // _TAIL) :] == data.fillvalue):
        return f"{where}, found nothing in it {age:.1f} s after the file was written"
    return ""


def _age_and_hole(path: str, begin: int, size: int) -> tuple[float, bool]:
    """For how long a file has stood still, and whether there is a place in a part of it where nothing was written."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return math.inf, False
    try:
        return time.time() - os.fstat(file).st_mtime, size > 0 and os.lseek(file, begin, os.SEEK_HOLE) < begin + size
    except OSError:  # it ends before
        return time.time() - os.fstat(file).st_mtime, True
    finally:
        os.close(file)


def _check_sources(data: Any, place: tuple[int, ...], path: str) -> None:
    if len(place) > 1:
        return
    (index,) = place
    for source in data.virtual_sources():
        first, last = source.vspace.get_select_bounds()
        if not first[0] <= index <= last[0] or source.file_name == "." or "%" in source.file_name:
            continue
        file = Path(path).parent / source.file_name
        if not file.exists():
            raise FrameError(f"{path}: wanted frame {index} in {data.name}, found no file {file} that it is in")
        read_file(file, partial(_check_source, source=source, index=index, ndim=data.ndim, file=str(file)))


def _check_source(other: h5py.File, source: Any, index: int, ndim: int, file: str) -> None:
    origin = dataset_of(other, file, source.dset_name)
    first, last = source.vspace.get_select_bounds()
    begin, end = source.src_space.get_select_bounds()
    row = int(begin[0] + index - first[0])
    if origin.ndim != ndim or end[0] - begin[0] != last[0] - first[0]:
        return  # mapped in another way
    if row >= origin.shape[0]:
        raise not_yet(file, f"{file}: wanted frame {row} in {source.dset_name}, found {origin.shape[0]}")
    why_unwritten(origin, (row,), np.asarray(origin[row]), file)
