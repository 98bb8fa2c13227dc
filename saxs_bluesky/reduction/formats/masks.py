"""Reading masks of many formats into one orientation.

A mask's format is what its content says it is, never its name: the same bytes give the same mask as a file, as an
attachment and over the network.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import numpy.typing as npt

from saxs_bluesky.errors import MaskError, system_reason
from saxs_bluesky.reduction.arrays import BoolImage
from saxs_bluesky.reduction.formats._bounded_masks import format_of, is_hdf5, only_image, read_bounded, unpacked
from saxs_bluesky.reduction.formats._unreadable import unreadable_as

_HEAD_BYTES = 4096
_TRUSTED = 2**31  # pixels, and bytes that a compressed file may unpack to
_PACKED_SUFFIXES = {".gz", ".bz2"}


def read_mask(source: str | Path | bytes, filename: str = "", limit: int | None = None) -> BoolImage:
    """Read a mask.

    Formats, told by the content: Fit2D (stored bottom row first, turned here), NumPy, HDF5 (with ``FILE::/dataset``, or
    the only two-dimensional dataset of the file), TIFF, EDF; where no limit is given, also whatever else
    fabio reads. Files that are compressed as a whole (gzip, bzip2) are unpacked. Non-zero means masked, and so
    does NaN.

    Parameters
    ----------
    source
        Path of the mask, or its bytes.
    filename
        With bytes: what errors call it; what follows ``::`` in it is the dataset.
    limit
        For a mask that may be hostile: the most pixels that it may have. Whatever it claims to be, the memory
        that reading it takes is bounded by this and by its own size.

    Returns
    -------
    True where a pixel is masked, shape (rows, columns), row 0 at the top of the image.

    Raises
    ------
    MaskError
        The file is absent, unreadable, or holds no two-dimensional image.
    """
    if isinstance(source, bytes):
        return _of_content(source, filename or "mask", limit)
    where = str(source)
    path = Path(where.partition("::")[0])
    if not path.is_file():
        raise MaskError(f"{where}: wanted a mask file, found {'a folder' if path.is_dir() else 'nothing there'}")
    try:
        if limit is None:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            if is_hdf5(head):  # which may be large, and refer to others
                return _of_hdf5(path, where)
        return _of_content(path.read_bytes(), where, limit)
    except OSError as error:
        raise MaskError(f"{where}: wanted a mask file, found {system_reason(error)}") from error


def _of_content(content: bytes, where: str, limit: int | None) -> BoolImage:
    if not content:
        raise MaskError(f"{where}: wanted a mask, found an empty file")
    content = unpacked(content, where, _TRUSTED if limit is None else limit)
    if limit is not None:
        return read_bounded(content, where, limit)
    if is_hdf5(content):
        return _of_hdf5(io.BytesIO(content), where)
    name = format_of(content)
    if name is None:
        return _through_fabio(content, where)
    try:
        return read_bounded(content, where, _TRUSTED)
    except MaskError as refused:
        if name not in ("TIFF", "EDF"):
            raise
        # Varieties of TIFF and EDF that are too rare, or too much to ask for from strangers.
        try:
            return _through_fabio(content, where)
        except MaskError:
            raise refused from None


def _through_fabio(content: bytes, where: str) -> BoolImage:
    """Read what fabio knows; of files whose content says nothing, it goes by the suffix."""
    name = Path(where.partition("::")[0])
    suffix = Path(name.stem).suffix if name.suffix.lower() in _PACKED_SUFFIXES else name.suffix
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"mask{suffix}"
        copy.write_bytes(content)
        with unreadable_as(MaskError, f"{where}: wanted a mask image"), fabio.open(str(copy)) as image:
            values = np.array(image.data)
    return _mask_of(values, where)


def _of_hdf5(file: Path | io.BytesIO, where: str) -> BoolImage:
    with unreadable_as(MaskError, f"{where}: wanted a mask image"), h5py.File(file, "r") as opened:
        values = np.asarray(_dataset(opened, where.partition("::")[2], where)[()])
    return _mask_of(values, where)


def _dataset(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    if not name:
        return only_image(file, where)
    if not isinstance(file.get(name), h5py.Dataset):
        raise MaskError(f"{where}: wanted a dataset {name}, found none of that name")
    return file[name]


def _mask_of(values: npt.NDArray[Any], where: str) -> BoolImage:
    if values.ndim != 2:
        raise MaskError(f"{where}: wanted a mask of shape (rows, columns), found shape {values.shape}")
    if values.dtype.kind not in "biuf":
        raise MaskError(f"{where}: wanted a mask of numbers, found values of type {values.dtype}")
    masked: BoolImage = values != 0
    return masked
