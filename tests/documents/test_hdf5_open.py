"""HDF5 files that are read while they are open: in this process and in another, with SWMR and without."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from saxs_bluesky.documents import Hdf5Frame, load
from saxs_bluesky.errors import FrameError, StillOpenError

STACK = np.arange(1, 3 * 32 * 5 + 1, dtype=np.int32).reshape(3, 32, 5)

# Writes a frame for each line of its input, and closes the file at the end of it.
WRITER = """
import sys, h5py, numpy as np
path, libver, swmr, flush = sys.argv[1], sys.argv[2], sys.argv[3] == "True", sys.argv[4] == "True"
stack = np.arange(1, 3 * 32 * 5 + 1, dtype=np.int32).reshape(3, 32, 5)
with h5py.File(path, "w", libver=libver) as file:
    data = file.create_dataset("data", (0, 32, 5), "i4", maxshape=(None, 32, 5), chunks=(1, 32, 5))
    if swmr:
        file.swmr_mode = True
    for number, line in enumerate(sys.stdin):
        data.resize(number + 1, axis=0)
        data[number] = stack[number]
        if flush:
            file.flush()
        print(number, flush=True)
print("closed", flush=True)
"""


@contextmanager
def other_process(path: Path, libver: str, *, swmr: bool, flush: bool) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(path), libver, str(swmr), str(flush)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def write(process: subprocess.Popen[str], numbers: range) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    for number in numbers:
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{number}\n"


def close(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    assert process.stdout.readline() == "closed\n"


@pytest.mark.parametrize("locking", [None, False, True, "best-effort"])
@pytest.mark.parametrize(("libver", "swmr"), [("latest", True), ("v110", True), ("latest", False), ("earliest", False)])
def test_file_that_this_process_writes(tmp_path: Path, libver: str, swmr: bool, locking: Any) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver, locking=locking) as file:
        data = file.create_dataset("data", (0, 32, 5), "i4", maxshape=(None, 32, 5), chunks=(1, 32, 5))
        if swmr:
            file.swmr_mode = True
        for number in range(3):
            data.resize(number + 1, axis=0)
            data[number] = STACK[number]
            data.flush()
            for before in range(number + 1):
                np.testing.assert_array_equal(load(Hdf5Frame(str(path), "data", before), 0).image, STACK[before])
            with pytest.raises(FrameError, match=f"wanted frame {number + 1} in data, found {number + 1}"):
                load(Hdf5Frame(str(path), "data", number + 1), 0)
    np.testing.assert_array_equal(load(Hdf5Frame(str(path), "data", 2), 0).image, STACK[2])


@pytest.mark.parametrize("swmr", [True, False])
def test_file_that_a_viewer_in_this_process_has_open(tmp_path: Path, swmr: bool) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["data"] = STACK
    with h5py.File(tmp_path / "a.h5", "r", swmr=swmr):
        np.testing.assert_array_equal(load(Hdf5Frame(str(tmp_path / "a.h5"), "data", 2), 0).image, STACK[2])


def test_reading_keeps_no_writer_of_this_process_from_opening_the_file(tmp_path: Path) -> None:
    """It opens the file for each frame anew, while others read."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (0, 32, 5), "i4", maxshape=(None, 32, 5), chunks=(1, 32, 5))
    written = threading.Event()
    wrong: list[Exception] = []

    def read() -> None:
        while not written.is_set():
            try:
                image = load(Hdf5Frame(str(path), "data", 0), time.time() + 30).image
                np.testing.assert_array_equal(image, STACK[0])
            except Exception as error:  # noqa: BLE001 - raised below
                wrong.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(100):
            with h5py.File(path, "a") as file:
                file["data"].resize(number + 1, axis=0)
                file["data"][number] = STACK[number % 3]
    finally:
        written.set()
        for reader in readers:
            reader.join()
    assert wrong == []


@pytest.mark.parametrize("libver", ["latest", "v110"])
def test_file_that_another_process_writes_in_swmr_mode(tmp_path: Path, libver: str) -> None:
    path = tmp_path / "a.h5"
    with other_process(path, libver, swmr=True, flush=True) as process:
        for number in range(3):
            write(process, range(number, number + 1))
            np.testing.assert_array_equal(load(Hdf5Frame(str(path), "data", number), 0).image, STACK[number])
        with pytest.raises(FrameError, match="wanted frame 3 in data, found 3") as caught:
            load(Hdf5Frame(str(path), "data", 3), 0)
        assert not isinstance(caught.value, StillOpenError)  # it may come at any time


@pytest.mark.parametrize(
    ("libver", "flush", "live", "why"),
    [
        ("latest", False, 0, "found one that is open for writing"),
        ("v110", True, 0, "found one that is open for writing"),
        ("earliest", False, 0, "wanted a dataset data, found none|wanted a whole HDF5 file, found one that cannot"),
        ("earliest", True, 2, "wanted frame 2 in data, found 2"),
    ],
)
def test_file_that_another_process_writes_without_swmr(
    tmp_path: Path, libver: str, flush: bool, live: int, why: str
) -> None:
    path = tmp_path / "a.h5"
    with other_process(path, libver, swmr=False, flush=flush) as process:
        write(process, range(2))
        for number in range(live):
            np.testing.assert_array_equal(load(Hdf5Frame(str(path), "data", number), 0).image, STACK[number])
        for number in range(live, 3):
            with pytest.raises(StillOpenError, match=why):
                load(Hdf5Frame(str(path), "data", number), 0)
        write(process, range(2, 3))
        close(process)
        for number in range(3):
            np.testing.assert_array_equal(load(Hdf5Frame(str(path), "data", number), 0).image, STACK[number])
    with pytest.raises(FrameError, match="wanted frame 3 in data, found 3") as caught:
        load(Hdf5Frame(str(path), "data", 3), 0)
    assert not isinstance(caught.value, StillOpenError)


def test_virtual_dataset_of_a_file_that_this_process_writes(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((3, 32, 5), "i4")
    layout[:] = h5py.VirtualSource("part.h5", "data", (3, 32, 5))
    with h5py.File(tmp_path / "master.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("data", layout, fillvalue=0)
    with h5py.File(tmp_path / "part.h5", "w", libver="latest") as part:
        data = part.create_dataset("data", (3, 32, 5), "i4", chunks=(1, 32, 5))
        part.swmr_mode = True
        data[1] = STACK[1]
        data.flush()
        frame = Hdf5Frame(str(tmp_path / "master.h5"), "data", 1)
        np.testing.assert_array_equal(load(frame, 0).image, STACK[1])
        with pytest.raises(FrameError, match=r"part\.h5: wanted frame 2 in /data, found that it is not written"):
            load(Hdf5Frame(str(tmp_path / "master.h5"), "data", 2), 0)


def test_frames_of_space_that_is_set_aside_at_once(tmp_path: Path) -> None:
    """In one piece, or in chunks of several frames: not read before they are written."""
    whole, parts = np.full((3, 512, 512), 7, "i4"), np.full((4, 32, 5), 7, "i4")
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset("data", whole.shape, "i4")
        several = file.create_dataset("several", parts.shape, "i4", chunks=(2, 32, 5))
        file.swmr_mode = True
        for number in (1, 0):
            data[number], several[number] = whole[number], parts[number]
            file.flush()
        np.testing.assert_array_equal(load(Hdf5Frame(path, "data", 1), 0).image, whole[1])
        with pytest.raises(FrameError, match="wanted frame 2 in /data, found that it is not written"):
            load(Hdf5Frame(path, "data", 2), 0)
        with pytest.raises(FrameError, match="wanted frame 3 in /several, found that it is not written"):
            load(Hdf5Frame(path, "several", 3), 0)
        several[2] = parts[2]
        file.flush()

        def fill() -> None:
            time.sleep(0.5)
            several[3] = parts[3]
            file.flush()

        writer = threading.Thread(target=fill)
        writer.start()
        try:
            np.testing.assert_array_equal(load(Hdf5Frame(path, "several", 3), time.time() + 30).image, parts[3])
        finally:
            writer.join()


def test_stack_of_stacks_is_counted_frame_by_frame(tmp_path: Path) -> None:
    images = np.arange(1, 6 * 32 * 5 + 1).reshape(3, 2, 32, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["row"], file["image"] = images, np.arange(5), images[0, 0]
    path = str(tmp_path / "a.h5")
    for number in range(6):
        frame = load(Hdf5Frame(path, "data", number), 0)
        np.testing.assert_array_equal(frame.image, images.reshape(6, 32, 5)[number])
    with pytest.raises(FrameError, match="wanted frame 6 in data, found 6"):
        load(Hdf5Frame(path, "data", 6), 0)
    for name, index, shape in (("row", 0, r"\(5,\)"), ("image", 1, r"\(32, 5\)")):
        with pytest.raises(FrameError, match=f"wanted a stack of images in {name}, found shape {shape}"):
            load(Hdf5Frame(path, name, index), 0)


def test_file_that_is_no_hdf5_file_may_become_one(tmp_path: Path) -> None:
    for content in (b"", b"no HDF5 at all" * 100):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(StillOpenError, match="wanted a whole HDF5 file, found one that cannot be opened"):
            load(Hdf5Frame(str(tmp_path / "a.h5"), "data", 0), 0)
    with pytest.raises(FrameError, match="No such file or directory") as caught:
        load(Hdf5Frame(str(tmp_path / "b.h5"), "data", 0), 0)
    assert not isinstance(caught.value, StillOpenError)


def test_chunk_that_is_not_whole_may_be_when_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=STACK, chunks=(1, 32, 5), compression="gzip")
        chunk = data.id.get_chunk_info_by_coord((1, 0, 0))
    content = path.read_bytes()
    path.write_bytes(content[: chunk.byte_offset] + bytes(chunk.size) + content[chunk.byte_offset + chunk.size :])
    frame = Hdf5Frame(str(path), "data", 1)
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)  # as HDF5 does
        with pytest.raises(StillOpenError, match=r"wanted frame .* in /data, found"):
            load(frame, 0)
    with pytest.raises(FrameError) as caught:
        load(frame, 0)
    assert not isinstance(caught.value, StillOpenError)
    np.testing.assert_array_equal(load(Hdf5Frame(str(path), "data", 2), 0).image, STACK[2])
