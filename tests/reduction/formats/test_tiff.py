"""The short way through plain TIFF files against tifffile's: the same answer, or a FrameError."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import FrameFile, PilatusHeader, ends_in_zeros, read_frame, read_header, write_frame
from saxs_bluesky.reduction.formats import frames
from saxs_bluesky.reduction.formats._tiff import plain_layout

IMAGE = np.arange(-2, 58, dtype=np.int32).reshape(6, 10)
HEADER = PilatusHeader(
    date_time="2014:01:31 12:26:52",
    model="PILATUS3 1M, S/N 10-0120",
    entries={"Pixel_size": "172e-6 m x 200e-6 m", "Exposure_time": "10.0 s", "Count_cutoff": "1080457 counts"},
)


@contextmanager
def without_the_short_way() -> Iterator[None]:
    with patch.object(frames, "plain_layout", return_value=None):
        yield


def found(path: Path) -> tuple[Any, ...] | None:
    """All that is known of a file, None where it is refused."""
    try:
        file, frame = read_header(path), read_frame(path)
    except FrameError:
        return None
    assert file.header == frame.header
    assert file.shape == frame.image.shape
    where = (file.shape, file.dtype, file.offset, file.nbytes, file.size, file.mtime_ns)
    return (*where, repr(asdict(file.header)), frame.image.dtype, frame.image.tobytes())


def assert_same_both_ways(path: Path) -> None:
    short = found(path)
    with without_the_short_way():
        assert found(path) == short


def is_plain(path: Path) -> bool:
    content = path.read_bytes()
    return plain_layout(content[:8192], len(content)) is not None


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    write_frame(tmp_path / "a.tif", IMAGE, HEADER)
    return tmp_path / "a.tif"


def test_real_frame(shared_data: Path) -> None:
    path = shared_data / "pilatus1m_buffer.tif"
    file = read_header(path)
    assert (file.shape, file.dtype, file.offset, file.nbytes) == ((1043, 981), np.dtype("<i4"), 4096, 4092732)
    assert (file.size, file.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert file.header.model == "PILATUS3 1M, S/N 10-0120"
    assert not ends_in_zeros(file)
    assert is_plain(path)
    assert_same_both_ways(path)


def test_offset_leads_to_the_pixels(plain: Path) -> None:
    file = read_header(plain)
    assert file.offset is not None
    image = np.memmap(plain, file.dtype, "r", file.offset, file.shape)
    np.testing.assert_array_equal(image, IMAGE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i4", "u4", "i2", "u2", "f4"])
@pytest.mark.parametrize("rows", [6, 2, 4])
def test_both_byte_orders_all_types_and_strips_in_a_row(tmp_path: Path, order: Any, dtype: str, rows: int) -> None:
    path = tmp_path / "a.tif"
    image = (IMAGE + 2).astype(dtype)
    tifffile.imwrite(
        path, image, byteorder=order, rowsperstrip=rows, metadata=None, description="# Tau 0 s", software="x"
    )
    assert is_plain(path)
    assert_same_both_ways(path)
    assert read_header(path).dtype == np.dtype(order + dtype)
    frame = read_frame(path)
    assert (frame.image.dtype, frame.header.software, frame.header.entries) == (np.dtype(dtype), "x", {"Tau": "0 s"})
    np.testing.assert_array_equal(frame.image, image)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"dtype": "f8"},
        {"dtype": "u1"},
        {"description": 9000 * "x"},
        {"description": b"# Wavelength 1 \xc5ngstr\xf6m"},
        {"extratags": [(65000, "s", 0, "another's tag", True)]},
        {"photometric": "miniswhite", "rowsperstrip": 1, "align": 16},
    ],
)
def test_other_layouts_are_left_to_tifffile(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    image = (IMAGE + 2).astype(options.pop("dtype", "i4"))
    tifffile.imwrite(path, image, metadata=None, **options)
    file = read_header(path)
    np.testing.assert_array_equal(read_frame(path).image, image)
    assert (file.shape, file.dtype, file.nbytes) == (image.shape, image.dtype, image.nbytes)
    assert (file.offset is None) == ("compression" in options or "tile" in options)
    assert not ends_in_zeros(file)
    assert_same_both_ways(path)


TEXT = st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=40)


@settings(deadline=None)
@given(
    entries=st.dictionaries(
        st.sampled_from(["Exposure_time", "Wavelength", "Pixel_size", "Tau", "Image_path", "X"]),
        TEXT | st.sampled_from(["1e-3 s", ".5 m", "172e-6 m x 172e-6 m", "1 m x 2 mm", "= 3", "-4.e5"]),
    ),
    model=TEXT,
    software=st.sampled_from(["TVX TIFF v 1.3", "SI.", "ISS Vista", "Philips DP", "IndicaLabsImageWriter", " x "]),
)
def test_any_header_both_ways(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, str], model: str, software: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "header.tif"
    write_frame(path, IMAGE, PilatusHeader(entries=entries, model=model, software=software))
    assert is_plain(path)
    assert_same_both_ways(path)


@pytest.mark.logs_errors
def test_every_prefix_both_ways(plain: Path, tmp_path: Path) -> None:
    content, path = plain.read_bytes(), tmp_path / "short.tif"
    for size in [*range(700), *range(4090, len(content))]:
        path.write_bytes(content[:size])
        with pytest.raises(FrameError, match=r"short\.tif: wanted"):
            read_header(path)
        with pytest.raises(FrameError, match=r"short\.tif: wanted"):
            read_frame(path)


@pytest.mark.logs_errors
def test_damaged_bytes_both_ways(plain: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    content, path = plain.read_bytes(), tmp_path / "damaged.tif"
    for number in range(2000):
        damaged = bytearray(content)
        for position in rng.integers(0, 400, 1 + number % 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        short = found(path)
        with without_the_short_way():
            assert short in (None, found(path))


def tag(content: bytearray, code: int, value: int) -> None:
    """Give a tag another value."""
    start = struct.unpack_from("<I", content, 4)[0]
    for position in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        if struct.unpack_from("<H", content, position)[0] == code:
            struct.pack_into("<I", content, position + 8, value)
            return
    raise AssertionError(code)


@pytest.mark.logs_errors
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({257: 2**31 - 1, 278: 2**31 - 1}, r"wanted 85899345880 bytes of pixels .* found 240"),
        ({257: 2**31 - 1, 278: 2**31 - 1, 259: 8}, r"wanted 85899345880 bytes of pixels"),
        ({257: 7, 278: 7}, r"wanted 280 bytes of pixels \(shape \(7, 10\) of int32\), found 240"),
        ({257: 2**20, 278: 1, 259: 8}, r"wanted 1048576 strips or tiles of pixels, found 1"),
        ({256: 0}, r"wanted one grey image of shape \(rows, columns\), found shape \(6, 0\) of int32"),
        ({339: 9}, r"wanted one grey image .* of no known type"),
        ({279: 241}, r"wanted an image that ends at byte 4337, found a file cut short at 4336"),
    ],
)
def test_header_that_claims_too_much(plain: Path, changes: dict[int, int], message: str) -> None:
    content = bytearray(plain.read_bytes())
    for code, value in changes.items():
        tag(content, code, value)
    plain.write_bytes(content)
    for read in (read_header, read_frame):
        with pytest.raises(FrameError, match=message):
            read(plain)


@pytest.mark.parametrize(
    "entries",
    [
        {"Pixel_size": 200_000 * "1"},
        {"Exposure_time": 200_000 * "1" + "." + 200_000 * "1"},
        {"Tau": "0", "Gain_setting": "a" + 200_000 * " " + "b"},
        {"X": 400_000 * "y"},
    ],
)
def test_endless_texts_take_no_endless_time(tmp_path: Path, entries: dict[str, str]) -> None:
    write_frame(tmp_path / "a.tif", IMAGE, PilatusHeader(entries=entries))
    assert read_header(tmp_path / "a.tif").header.entries == entries


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(FrameError, match=r"pipe\.tif: wanted a TIFF image, found no file but a named pipe"):
        read_header(tmp_path / "pipe.tif")


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda path: os.truncate(path, 4200), "_examine"),
        (lambda path: os.truncate(path, 5000), "_read_pixels"),
        (lambda path: os.utime(path, ns=(0, 0)), "_read_pixels"),
    ],
    ids=["cut before the pixels are read", "grown since", "written in place since"],
)
def test_file_that_changes_while_it_is_read(
    plain: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], step: str
) -> None:
    original = getattr(frames, step)

    def then_change(*arguments: Any) -> Any:
        result = original(*arguments)
        change(plain)
        return result

    monkeypatch.setattr(frames, step, then_change)
    with pytest.raises(FrameError, match=r"a\.tif: wanted a finished image, found a file that changed while it was"):
        read_frame(plain)


def test_file_that_is_replaced_while_it_is_read_is_the_old_one(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = frames._examine

    def then_replace(*arguments: Any) -> FrameFile:
        result = original(*arguments)
        write_frame(plain, IMAGE + 1, HEADER)
        return result

    monkeypatch.setattr(frames, "_examine", then_replace)
    np.testing.assert_array_equal(read_frame(plain).image, IMAGE)


def test_buffer_that_fits_is_filled(plain: Path) -> None:
    buffer = np.zeros((6, 10), np.int32)
    assert read_frame(plain, out=buffer).image is buffer
    np.testing.assert_array_equal(buffer, IMAGE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_buffer_is_filled_whatever_the_layout(tmp_path: Path, order: Any, compression: str | None) -> None:
    buffer = np.zeros((6, 10), np.int32)
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, byteorder=order, compression=compression)
    assert read_frame(tmp_path / "a.tif", out=buffer).image is buffer
    np.testing.assert_array_equal(buffer, IMAGE)


@pytest.mark.parametrize(
    "buffer",
    [
        np.zeros((10, 6), np.int32),
        np.zeros((6, 10), np.float32),
        np.zeros((6, 10), ">i4"),
        np.zeros((6, 20), np.int32)[:, ::2],
        np.zeros((10, 6), np.int32).T,
        np.broadcast_to(np.int32(0), (6, 10)),
    ],
    ids=["shape", "type", "byte order", "every other", "transposed", "read-only"],
)
def test_buffer_that_does_not_fit_is_left_alone(plain: Path, buffer: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(read_frame(plain, out=buffer).image, IMAGE)
    assert not buffer.any()


def test_last_row_tells_a_file_that_is_not_filled_yet(tmp_path: Path) -> None:
    path, image = tmp_path / "a.tif", IMAGE.copy()
    image[-1] = 0
    write_frame(path, image)
    file = read_header(path)
    assert ends_in_zeros(file)
    image[-1, -1] = 1
    write_frame(path, image)
    assert not ends_in_zeros(file)
    path.unlink()
    with pytest.raises(FrameError, match=r"a\.tif: wanted a TIFF image, found No such file"):
        ends_in_zeros(file)
