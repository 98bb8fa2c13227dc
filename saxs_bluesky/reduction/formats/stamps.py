"""Stamps: numbers that tell one content of a file from the next."""

from __future__ import annotations

import os

Stamp = int
"""Tells one content of a file from the next: made of inode, size and times of the last changes; 63 bits."""

# Odd, without pattern: those of xxHash.
_OF_SIZE, _OF_INODE, _OF_CTIME = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_MASK = 0x7FFF_FFFF_FFFF_FFFF


def stamp_of(status: os.stat_result) -> Stamp:
    """Stamp of a file, by its status; the same in every process, so that it may be stored.

    The time of the last change of the inode is in it, so that a file is new which was replaced by one of the same size
    and time of writing (``cp -p``), or which became readable.

    Parameters
    ----------
    status
        Status of the file.

    Returns
    -------
    What tells this content from an earlier or a later one.
    """
    return (_without_ctime(status) + status.st_ctime_ns * _OF_CTIME) & _MASK


def has_stamp(status: os.stat_result, stamp: Stamp) -> bool:
    """True if a stamp is that of a file with this status.

    Journals of earlier versions hold stamps without the time of the inode, which are known too.

    Parameters
    ----------
    status
        Status of a file.
    stamp
        A stamp that was stored.

    Returns
    -------
    True if the file has not been written to or replaced since.
    """
    return stamp == stamp_of(status) or stamp == _without_ctime(status) & _MASK


def part_of(stamp: Stamp, pages: int) -> Stamp:
    """Make a stand-in for the stamp of a file of which only some pages are done; no file has it as its stamp.

    Parameters
    ----------
    stamp
        Stamp of the file.
    pages
        How many pages are done.

    Returns
    -------
    A stamp that no file has.
    """
    return (stamp ^ pages * _OF_CTIME) & _MASK


def _without_ctime(status: os.stat_result) -> int:
    return status.st_mtime_ns + status.st_size * _OF_SIZE + status.st_ino * _OF_INODE
