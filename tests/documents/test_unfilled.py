"""Files and datasets that are made at full size and filled later: waited for, and zeros that are meant are not."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from saxs_bluesky.documents import Hdf5Frame, TiffFrame, load
from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import read_header, write_frame

IMAGE = np.arange(64 * 80, dtype=np.int32).reshape(64, 80) + 1


def preallocate(path: Path, *, hole: bool) -> bytes:
    """Make a file at its full size, its pixels a hole or zeros; return what it will hold."""
    write_frame(path, IMAGE)
    content, offset = path.read_bytes(), read_header(path).offset
    assert offset is not None
    with path.open("wb") as file:
        file.write(content[:offset])
        if hole:
            file.truncate(len(content))
        else:
            file.write(bytes(len(content) - offset))
    return content


@pytest.mark.parametrize(("hole", "seconds"), [(True, 3.0), (False, 1.0)])
def test_tiff_that_is_filled_later_is_waited_for(tmp_path: Path, hole: bool, seconds: float) -> None:
    path = tmp_path / "a.tif"
    content = preallocate(path, hole=hole)

    def fill() -> None:
        time.sleep(seconds)
        with path.open("r+b") as file:
            file.write(content)

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        np.testing.assert_array_equal(load(TiffFrame(str(path)), time.time() + 30).image, IMAGE)
    finally:
        writer.join()


def test_zeros_that_are_meant_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "dark.tif"
    write_frame(path, np.zeros_like(IMAGE))
    begin = time.time()
    assert not load(TiffFrame(str(path)), begin + 30).image.any()
    assert 1 < time.time() - begin < 15
    # At once where the file is old, or nobody waits.
    os.utime(path, (begin - 100, begin - 100))
    begin = time.time()
    assert not load(TiffFrame(str(path)), begin + 30).image.any()
    preallocate(path, hole=True)
    assert not load(TiffFrame(str(path)), 0).image.any()
    assert time.time() - begin < 1


def test_weak_pattern_that_ends_in_zeros_is_not_waited_for(tmp_path: Path) -> None:
    weak = np.zeros_like(IMAGE)
    weak[-3, 5] = 1
    write_frame(tmp_path / "weak.tif", weak)
    begin = time.time()
    np.testing.assert_array_equal(load(TiffFrame(str(tmp_path / "weak.tif")), begin + 30).image, weak)
    assert time.time() - begin < 1


def test_chunk_that_is_never_written_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset("stack", (4, *IMAGE.shape), "i4", chunks=(1, *IMAGE.shape))
        data[0], data[1] = IMAGE, 0
    np.testing.assert_array_equal(load(Hdf5Frame(str(path), "stack", 0), 0).image, IMAGE)
    assert not load(Hdf5Frame(str(path), "stack", 1), 0).image.any()  # zeros that were written
    with pytest.raises(FrameError, match=r"a\.h5: wanted frame 2 in /stack, found that it is not written"):
        load(Hdf5Frame(str(path), "stack", 2), 0)


def test_chunk_that_is_written_later_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    is_open = threading.Event()

    def write() -> None:
        with h5py.File(path, "w", libver="latest") as file:
            data = file.create_dataset("stack", (2, *IMAGE.shape), "i4", chunks=(1, *IMAGE.shape))
            file.swmr_mode = True
            is_open.set()
            time.sleep(1)
            data[1] = IMAGE
            data.flush()

    writer = threading.Thread(target=write)
    writer.start()
    is_open.wait()
    try:
        np.testing.assert_array_equal(load(Hdf5Frame(str(path), "stack", 1), time.time() + 30).image, IMAGE)
    finally:
        writer.join()


def test_virtual_dataset_waits_for_its_files(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((4, *IMAGE.shape), "i4")
    for number in range(2):
        layout[2 * number : 2 * number + 2] = h5py.VirtualSource(f"part_{number}.h5", "data", (2, *IMAGE.shape))
    with h5py.File(tmp_path / "master.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("stack", layout, fillvalue=0)
    with h5py.File(tmp_path / "part_0.h5", "w", libver="latest") as file:
        part = file.create_dataset("data", (2, *IMAGE.shape), "i4", chunks=(1, *IMAGE.shape))
        part[0] = IMAGE
    path = str(tmp_path / "master.h5")
    np.testing.assert_array_equal(load(Hdf5Frame(path, "stack", 0), 0).image, IMAGE)
    with pytest.raises(FrameError, match=r"part_0\.h5: wanted frame 1 in /data, found that it is not written"):
        load(Hdf5Frame(path, "stack", 1), 0)
    with pytest.raises(FrameError, match=r"master\.h5: wanted frame 3 in /stack, found no file .*part_1\.h5"):
        load(Hdf5Frame(path, "stack", 3), 0)
