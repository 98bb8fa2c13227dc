"""Compressed TIFF images: those of other programs, and some that unpack to more than they say."""

from __future__ import annotations

import resource
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import read_frame, read_header

SHAPE = (195, 487)
HEADER = "# Exposure_time 2.0 s\r\n# Count_cutoff 1000 counts\r\n"


def image_of(dtype: str) -> np.ndarray:
    lowest = 0 if np.dtype(dtype).kind == "u" else -2
    return np.random.default_rng(1).integers(lowest, 2000, SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", ["i4", "u4", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 10}, {"tile": (64, 64)}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd", "lzma"])
def test_usual_compressions_give_the_pixels(
    tmp_path: Path, compression: str, layout: dict[str, Any], dtype: str
) -> None:
    image = image_of(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", image, compression=compression, photometric="minisblack", description=HEADER, **layout
    )
    frame = read_frame(tmp_path / "a.tif")
    np.testing.assert_array_equal(frame.image, image)
    assert frame.image.dtype == np.dtype(dtype)
    assert (frame.header.exposure_time, frame.header.count_cutoff) == (2.0, 1000)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
@pytest.mark.parametrize(("dtype", "predictor"), [("i4", 2), ("u2", 2), ("u4", 2), ("f4", 3)])
def test_differences_of_neighbours_are_summed_up(tmp_path: Path, compression: str, dtype: str, predictor: int) -> None:
    image = image_of(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", image, compression=compression, predictor=predictor, photometric="minisblack", metadata=None
    )
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif").image, image)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_files_of_another_writer(tmp_path: Path, compression: str) -> None:
    from PIL import Image

    image = image_of("i4")
    Image.fromarray(image).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.tif").image, image)


def write_strip(path: Path, compression: int, strip: bytes) -> None:
    """A TIFF file of one strip of int32."""
    rows, columns = SHAPE
    tags = [
        (256, 3, columns), (257, 3, rows), (258, 3, 32), (259, 3, compression), (262, 3, 1),
        (273, 4, 200), (277, 3, 1), (278, 3, rows), (279, 4, len(strip)), (339, 3, 2),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + strip)


@pytest.mark.parametrize("compression", [5, 8, 32773, 34925, 50000])
def test_pixels_that_unpack_to_more_than_the_header_says_take_no_memory(tmp_path: Path, compression: int) -> None:
    pack: dict[int, Callable[[bytes], bytes]] = {
        5: imagecodecs.lzw_encode,
        8: zlib.compress,
        32773: lambda large: b"\x81\x00" * (len(large) // 128),
        34925: imagecodecs.lzma_encode,
        50000: imagecodecs.zstd_encode,
    }
    write_strip(tmp_path / "a.tif", compression, pack[compression](bytes(2**27)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(FrameError):  # some decoders stop where there is no more room, others refuse
        assert not read_frame(tmp_path / "a.tif").image.any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # kilobytes


def test_compressions_of_pictures_are_refused_by_name(tmp_path: Path) -> None:
    image = (image_of("u2") % 256).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", image, compression="jpeg", photometric="minisblack", metadata=None)
    for read in (read_header, read_frame):
        with pytest.raises(
            FrameError, match=r"a\.tif: wanted pixels that are not compressed, or with LZW.*, found JPEG"
        ):
            read(tmp_path / "a.tif")
