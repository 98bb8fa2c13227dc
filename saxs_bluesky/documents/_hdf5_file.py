"""HDF5 files opened for reading while others write to them, in this process or in another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Any, TypeVar

import h5py
from h5py._objects import phil

from saxs_bluesky.errors import FrameError, StillOpenError

T = TypeVar("T")

# Without locks first: a reader's lock would refuse the file to a writer that opens it. Inside one process HDF5 wants
# all to open a file alike: as the writer did, or another reader. "best-effort" and None are one to it.
_WAYS: tuple[tuple[bool, bool | None], ...] = (
    (True, False), (True, None), (True, True), (False, False), (False, None), (False, True)
)  # fmt: skip
# Of HDF5 (H5Fint.c), where the file is open in this process in another way, or one that it links to.
_OPENED_OTHERWISE = ("flag values don't match", "flag not the same for file that is already open")
_LOCKS = "/proc/locks"
_OPEN = "open for writing"


def read_file(path: str | Path, read: Callable[[h5py.File], T]) -> T:
    """Open an HDF5 file for reading, which may still be written to, and read from it.

    No other thread of this process uses HDF5 meanwhile: a writer that opened or closed the file in between would be
    refused, or take it away.

    Parameters
    ----------
    path
        Where it is.
    read
        What reads; called again where a file that this one links to is open in another way.

    Raises
    ------
    StillOpenError
        It cannot be opened, as files that are not whole before they are closed.
    OSError
        It is not there, or not for this user.
    """
    for swmr, locking in _WAYS:
        try:
            with phil, _open(str(path), swmr=swmr, locking=locking) as file:
                return read(file)
        except (OSError, RuntimeError, StillOpenError) as error:
            text = str(error)
            if not any(one in text for one in _OPENED_OTHERWISE) or (swmr, locking) == _WAYS[-1]:
                raise
    raise AssertionError


def _open(path: str, *, swmr: bool, locking: bool | None) -> h5py.File:
    try:
        return h5py.File(path, "r", swmr=swmr, libver="latest", locking=locking)
    except OSError as error:
        # The file is there, and may be read: its content is what is wrong.
        if _is_readable_file(path):
            raise StillOpenError(f"{path}: {_reason(str(error))}") from error
        raise


def _is_readable_file(path: str) -> bool:
    try:
        return S_ISREG(os.stat(path).st_mode) and os.access(path, os.R_OK)  # noqa: PTH116
    except OSError:
        return False


def _reason(text: str) -> str:
    if "already open for" in text:
        return (
            f"wanted a file that is closed or written in SWMR mode, found one that is {_OPEN}; if the program that "
            " wrote it has ended without closing it, h5clear -s makes it readable"
        )
    return f"wanted a whole HDF5 file, found one that cannot be opened ({text})"


def dataset_of(file: h5py.File, path: str, name: str) -> Any:
    """Dataset of a file.

    Raises
    ------
    StillOpenError
        It is not there, as in files that are not whole before they are closed.
    FrameError
        It is a group.
    """
    try:
        found = file[name]
    # RuntimeError: what HDF5 finds in a file that is half written.
    except (KeyError, OSError, RuntimeError) as error:
        text = str(error.args[0] if error.args else error)
        raise StillOpenError(f"{path}: wanted a dataset {name}, found none that can be opened ({text})") from error
    if not isinstance(found, h5py.Dataset):
        raise FrameError(f"{path}: wanted a dataset {name}, found a group")
    return found


def not_yet(path: str, text: str) -> FrameError:
    """Error of what a file does not hold, or not before its writer closes it.

    Parameters
    ----------
    path
        The file.
    text
        What was wanted and what was found.
    """
    return StillOpenError(text) if is_written_to(path) else FrameError(text)


def is_open(path: str, error: StillOpenError) -> bool:
    """True if a file that cannot be read is known to be open, and not only of no use as it is."""
    return _OPEN in str(error) or is_written_to(path)


def is_written_to(path: str) -> bool:
    """True if some program on this computer has a file open for writing, without SWMR; by the lock that HDF5 takes."""
    try:
        inode = str(os.stat(path).st_ino)  # noqa: PTH116
        locks = Path(_LOCKS).read_text("ascii", "replace")
    except OSError:
        return False
    # 1: FLOCK  ADVISORY  WRITE 24255 fe:00:2196911 0 EOF; filesystems in layers differ in the device only.
    fields = (line.split() for line in locks.splitlines())
    return any("WRITE" in one and one[-3].rpartition(":")[2] == inode for one in fields if len(one) > 7)
