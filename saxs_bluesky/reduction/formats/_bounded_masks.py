"""Reading masks that may be hostile: a few bytes may claim to be an image that fills the memory."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import re
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import tifffile

from saxs_bluesky.errors import MaskError
from saxs_bluesky.reduction.arrays import BoolImage
from saxs_bluesky.reduction.formats._tiff import COMPRESSIONS, UNCOMPRESSED
from saxs_bluesky.reduction.formats._unreadable import unreadable_as

_TYPES = {
    "signedbyte": "i1", "unsignedbyte": "u1", "signedshort": "i2", "unsignedshort": "u2",
    "signedinteger": "i4", "unsignedinteger": "u4", "signedlong": "i4", "unsignedlong": "u4",
    "signed64": "i8", "unsigned64": "u8", "float": "f4", "floatvalue": "f4", "double": "f8", "doublevalue": "f8",
}  # fmt: skip
_LONGEST_HEADER = 65536
_LARGEST_VALUE = 8  # bytes of a pixel
# Deflate, shuffle and checksum, by their numbers in HDF5; others need plugins, which a mask has no need of.
_HDF5_FILTERS = {1, 2, 3}
_DEFLATE_RATIO = 1032  # at most, says zlib's technical documentation

# Of files that are compressed as a whole.
_PACKED: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HDF5_STARTS = (0, 512, 1024, 2048)  # what comes before is a block of the user's

_LZMA = 34925  # whose decoder makes room for as large a dictionary as the file asks for
_TIFF_COMPRESSIONS = {UNCOMPRESSED, *COMPRESSIONS} - {_LZMA}

_LONGEST_REASON = 200  # characters

_UNPACKED = 2**28  # bytes that a compressed mask may take for a moment, beside those of its pixels

_PROCESSOR_SECONDS = 10  # reading takes one at most
_PATIENCE = 60  # seconds: a machine that is busy gives a process little of its time
_MEMORY = 2**32  # bytes of address space, most of which libraries map and never touch
_REFUSED = 3

_Values = npt.NDArray[Any]


def read_bounded(content: bytes, where: str, limit: int) -> BoolImage:
    """Read a mask of at most ``limit`` pixels from its bytes; its format is told by them alone.

    Parameters
    ----------
    content
        The file.
    where
        What errors call it; what follows ``::`` in it is the dataset of an HDF5 file.
    limit
        The most pixels, compared with what the file says of itself before any pixel is decoded.

    Raises
    ------
    MaskError
        It is none, or larger.
    """
    name = format_of(content)
    if name is None:
        found = "an empty file" if not content else "something else"
        raise MaskError(f"{where}: wanted a mask in Fit2D, TIFF, EDF, NumPy or HDF5 format, found {found}")
    with unreadable_as(MaskError, f"{where}: wanted a mask image", longest=_LONGEST_REASON):
        values = _READERS[name](content, where, limit)
    masked: BoolImage = values != 0
    return masked


def format_of(content: bytes) -> str | None:
    """Format of a file, as far as its first bytes tell; None for one that `read_bounded` does not read."""
    if is_hdf5(content):
        return "HDF5"
    # Some writers of EDF begin with an empty line.
    start = content[:64].lstrip(b"\r\n") if content[:1] in (b"\r", b"\n") else content[:64]
    return next((name for magic, name in _FORMATS.items() if start.startswith(magic)), None)


def is_hdf5(content: bytes) -> bool:
    """True if a file, of which there are the first 2056 bytes at least, is one of HDF5."""
    return any(content.startswith(_HDF5_SIGNATURE, start) for start in _HDF5_STARTS)


def unpacked(content: bytes, where: str, limit: int) -> bytes:
    """Unpack a file that is compressed as a whole, gzip or bzip2; any other is left as it is.

    Raises
    ------
    MaskError
        It is damaged, or larger than a mask of ``limit`` pixels may be.
    """
    opened = next((opener for magic, opener in _PACKED.items() if content.startswith(magic)), None)
    if opened is None:
        return content
    most = _LARGEST_VALUE * limit + 2**20
    try:
        with opened(io.BytesIO(content)) as file:
            found = file.read(most + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MaskError(f"{where}: wanted a mask, found a damaged compressed file ({error})") from error
    if len(found) > most:
        raise MaskError(f"{where}: wanted a mask of at most {limit} pixels, found one that unpacks to more")
    if not found:
        raise MaskError(f"{where}: wanted a mask, found an empty file, compressed")
    return found


def _check_shape(shape: tuple[int, ...], where: str, limit: int) -> None:
    if len(shape) != 2:
        raise MaskError(f"{where}: wanted a mask of shape (rows, columns), found shape {shape}")
    if min(shape) < 1 or math.prod(shape) > limit:
        raise MaskError(f"{where}: wanted a mask of at most {limit} pixels, found one of shape {shape}")


def _check_type(dtype: np.dtype[Any], where: str) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > _LARGEST_VALUE:
        raise MaskError(f"{where}: wanted a mask of numbers, found values of type {dtype.kind}{dtype.itemsize}")


def _check_length(content: bytes, wanted: int, where: str) -> None:
    if len(content) < wanted:
        raise MaskError(f"{where}: wanted a whole mask of {wanted} bytes, found {len(content)}")


def _read_fit2d(content: bytes, where: str, limit: int) -> _Values:
    columns, rows = struct.unpack_from("<ii", content, 16)
    _check_shape((rows, columns), where, limit)
    row_bytes = 4 * math.ceil(columns / 32)
    _check_length(content, 1024 + rows * row_bytes, where)
    packed = np.frombuffer(content, np.uint8, rows * row_bytes, 1024).reshape(rows, row_bytes)
    return np.flipud(np.unpackbits(packed, axis=1, count=columns, bitorder="little"))


def _read_numpy(content: bytes, where: str, limit: int) -> _Values:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    _check_shape(shape, where, limit)
    _check_type(dtype, where)
    _check_length(content, file.tell() + math.prod(shape) * dtype.itemsize, where)
    values = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    return values.reshape(shape, order="F" if fortran else "C")


def _read_edf(content: bytes, where: str, limit: int) -> _Values:
    content = content.lstrip(b"\r\n")
    end = re.compile(rb"\}\r?\n").search(content, 0, _LONGEST_HEADER)
    if end is None:
        raise MaskError(f"{where}: wanted the header of an EDF file, found no end of it")
    header = {
        key.strip().lower(): value.strip()
        for key, found, value in (
            entry.partition("=") for entry in content[1 : end.start()].decode("latin-1").split(";")
        )
        if found
    }
    if header.get("compression", "none").lower() != "none" or any("binaryfile" in key for key in header):
        raise MaskError(f"{where}: wanted an uncompressed EDF file that holds its pixels, found another")
    shape = (int(header["dim_2"]), int(header["dim_1"]))
    _check_shape(shape, where, limit)
    order = {"highbytefirst": ">", "lowbytefirst": "<"}[header.get("byteorder", "LowByteFirst").lower()]
    dtype = np.dtype(order + _TYPES[header["datatype"].lower()])
    _check_length(content, end.end() + math.prod(shape) * dtype.itemsize, where)
    return np.frombuffer(content, dtype, math.prod(shape), end.end()).reshape(shape)


def _read_tiff(content: bytes, where: str, limit: int) -> _Values:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0].aspage()
        _check_shape(page.shape, where, limit)
        if page.compression in _TIFF_COMPRESSIONS:
            if page.dtype is None or math.prod(page.chunks) > 2 * limit + 2**20:
                raise MaskError(f"{where}: wanted a TIFF file of strips or tiles not larger than it, found another")
            _check_type(page.dtype, where)
            values: _Values = page.asarray()
            return values
    import PIL.Image

    # Pillow decodes into an image of the size that it tells, however much more there would be.
    with PIL.Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
        _check_shape((image.height, image.width), where, limit)
        return np.asarray(image)


def _read_hdf5(content: bytes, where: str, limit: int) -> _Values:
    """Read in a process of its own: of a damaged file, HDF5's library may make a loop without end, or a crash."""
    # As its first deed it makes way for the reduction; modules do not come from wherever the server was started.
    code = f"import os; os.nice(10); from {__name__} import _main; raise SystemExit(_main())"
    command = [sys.executable, "-P", "-c", code, where.replace("\0", " "), str(limit)]
    slow = MaskError(f"{where}: wanted a mask image, found one that takes too long to read")
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise slow from None
    if done.returncode == -signal.SIGXCPU:
        raise slow
    if done.returncode == _REFUSED:
        raise MaskError(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    if done.returncode:
        raise MaskError(f"{where}: wanted a mask image, found an unreadable file (HDF5)")
    values: _Values = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    return values


def _read_hdf5_here(content: bytes, where: str, limit: int) -> _Values:
    wanted = where.partition("::")[2]
    with h5py.File(io.BytesIO(content), "r") as file:
        dataset = _dataset(file, wanted, where)
        _check_shape(dataset.shape or (), where, limit)
        _check_type(dataset.dtype, where)
        if dataset.external or dataset.is_virtual:
            raise MaskError(f"{where}: wanted a file that holds its pixels, found one that refers to others")
        properties = dataset.id.get_create_plist()
        filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
        stored = dataset.id.get_storage_size()
        if filters - _HDF5_FILTERS or (1 in filters and stored * _DEFLATE_RATIO > 16 * limit + _UNPACKED):
            raise MaskError(f"{where}: wanted a mask that is not compressed, or a little, found another")
        if dataset.chunks and math.prod(dataset.chunks) > 2 * limit + 2**20:
            raise MaskError(f"{where}: wanted a mask in chunks not larger than it, found {dataset.chunks}")
        return np.asarray(dataset[()])


def only_image(file: h5py.File, where: str, most: int | None = None) -> h5py.Dataset:
    """The two-dimensional dataset of a file that has one; an error names so many at most.

    Raises
    ------
    MaskError
        There is none, or more than one.
    """
    found: list[str] = []

    def note_image(path: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2:
            found.append(path)

    file.visititems(note_image)  # which follows no links
    if len(found) != 1:
        listed = ", ".join(found[:most]) or "none"
        raise MaskError(f"{where}: wanted one two-dimensional dataset, found {listed}; name it as FILE::/dataset")
    return file[found[0]]


def _dataset(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    if not name:
        return only_image(file, where, most=10)
    item: Any = file
    for part in filter(None, name.split("/")):
        # A link may lead to any file that this program can read.
        if not isinstance(item, h5py.Group) or not isinstance(item.get(part, getlink=True), h5py.HardLink):
            raise MaskError(f"{where}: wanted a dataset {name}, found none of that name")
        item = item[part]
    if not isinstance(item, h5py.Dataset):
        raise MaskError(f"{where}: wanted a dataset {name}, found none of that name")
    return item


_FORMATS = {
    b"M\0\0\0A\0\0\0S\0\0\0K\0\0\0": "Fit2D",
    b"\x93NUMPY": "NumPy",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"{": "EDF",
}
_READERS: dict[str, Callable[[bytes, str, int], _Values]] = {
    "Fit2D": _read_fit2d,
    "NumPy": _read_numpy,
    "TIFF": _read_tiff,
    "EDF": _read_edf,
    "HDF5": _read_hdf5,
}


def _main() -> int:
    """Read the HDF5 file on standard input, and write its mask to standard output."""
    where, limit = sys.argv[1], int(sys.argv[2])
    for what, most, hardly in (
        (resource.RLIMIT_CPU, _PROCESSOR_SECONDS, _PROCESSOR_SECONDS + 1),  # a signal that tells, then one that kills
        (resource.RLIMIT_AS, _MEMORY + 32 * limit, _MEMORY + 32 * limit),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(what, (most, hardly))
    try:
        with unreadable_as(MaskError, f"{where}: wanted a mask image", longest=_LONGEST_REASON):
            values = _read_hdf5_here(sys.stdin.buffer.read(), where, limit)
            np.save(sys.stdout.buffer, values != 0, allow_pickle=False)
    except MaskError as error:
        sys.stderr.write(str(error))
        return _REFUSED
    return 0
