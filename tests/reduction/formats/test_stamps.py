"""Stamps: what makes a file another content."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from saxs_bluesky.reduction import has_stamp, stamp_of


def replace_keeping_times(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"zweit")
    shutil.copystat(path, other)
    other.replace(path)


def overwrite_keeping_times(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"zweit")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        replace_keeping_times,
        overwrite_keeping_times,
        lambda path: path.chmod(0o600),
        lambda path: path.write_bytes(b"longer"),
        os.utime,
    ],
    ids=["replaced", "overwritten", "made readable", "grown", "touched"],
)
def test_each_change_makes_another_stamp(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"first")
    os.utime(path, ns=(10**18, 10**18))
    before = stamp_of(path.stat())
    assert has_stamp(path.stat(), before)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    change(path)
    assert not has_stamp(path.stat(), before)
    assert has_stamp(path.stat(), stamp_of(path.stat()))


def test_stamps_of_older_journals_are_known(tmp_path: Path) -> None:
    """As they were made before the time of the inode was looked at."""
    (tmp_path / "a.tif").write_bytes(b"first")
    status = (tmp_path / "a.tif").stat()
    multiples = status.st_size * 0x9E3779B97F4A7C15 + status.st_ino * 0xC2B2AE3D27D4EB4F
    assert has_stamp(status, (status.st_mtime_ns + multiples) & 0x7FFF_FFFF_FFFF_FFFF)
