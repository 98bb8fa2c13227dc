"""TIFF files of several images: every page is a frame."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import FrameFile, read_frame, read_header, read_headers

STACK = np.arange(5 * 6 * 8, dtype=np.int32).reshape(5, 6, 8)


def write_directories(path: Path, **options: Any) -> None:
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as tiff:
        for image in STACK:
            tiff.write(image, photometric="minisblack", metadata=None, contiguous=False, **options)


def write_imagej(path: Path) -> None:
    tifffile.imwrite(path, STACK.astype("f4"), imagej=True, metadata={"axes": "TYX"})


def write_imagej_big_endian(path: Path) -> None:
    tifffile.imwrite(path, STACK.astype(">u2"), imagej=True, byteorder=">", metadata={"axes": "ZYX"})


def write_shaped(path: Path, **options: Any) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)


WAYS = {
    "a directory each": write_directories,
    "BigTIFF": lambda path: write_directories(path, bigtiff=True),
    "compressed": lambda path: write_directories(path, compression="zlib"),
    "in strips": lambda path: write_directories(path, rowsperstrip=2),
    "ImageJ": write_imagej,
    "ImageJ, big endian": write_imagej_big_endian,
    "shaped": write_shaped,
    "shaped, compressed": lambda path: write_shaped(path, compression="lzw"),
    "shaped, one directory": lambda path: write_shaped(path, truncate=True),
    "shaped, BigTIFF, one directory": lambda path: write_shaped(path, truncate=True, bigtiff=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_page_is_read(tmp_path: Path, way: str) -> None:
    path = tmp_path / "stack.tif"
    WAYS[way](path)
    assert read_header(path).pages == 5
    headers = read_headers(path)
    assert len(headers) == 5
    for number, (header, image) in enumerate(zip(headers, STACK, strict=True)):
        assert isinstance(header, FrameFile)
        assert header.shape == image.shape
        frame = read_frame(path, page=number)
        assert frame.pages == 5
        np.testing.assert_array_equal(frame.image, image)
    with pytest.raises(FrameError, match=r"stack\.tif: wanted page 5 \(from 0\), found 5 pages"):
        read_frame(path, page=5)


@pytest.mark.parametrize("options", [{"metadata": None}, {}, {"imagej": True}, {"bigtiff": True}])
def test_single_images_have_one_page(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "one.tif"
    tifffile.imwrite(path, STACK[0].astype("f4"), photometric="minisblack", **options)
    assert read_header(path).pages == 1
    assert len(read_headers(path)) == 1
    np.testing.assert_array_equal(read_frame(path).image, STACK[0])
    with pytest.raises(FrameError, match=r"one\.tif: wanted page 1 \(from 0\), found"):
        read_frame(path, page=1)


def test_several_series_in_one_directory_each(tmp_path: Path) -> None:
    path = tmp_path / "series.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(STACK[:2], photometric="minisblack", truncate=True, contiguous=False)
        tiff.write(STACK[2:], photometric="minisblack", truncate=True, contiguous=False)
    assert read_header(path).pages == 5
    for number, image in enumerate(STACK):
        np.testing.assert_array_equal(read_frame(path, page=number).image, image)


def test_reduced_images_and_masks_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "thumbnail.tif"
    with tifffile.TiffWriter(path) as tiff:
        for image, kind in ((STACK[0], 0), (STACK[0, ::2, ::2], 1), (STACK[1], 0), (STACK[0] > 0, 4)):
            tiff.write(image, photometric="minisblack", metadata=None, subfiletype=kind, contiguous=False)
    assert read_header(path).pages == 2
    np.testing.assert_array_equal(read_frame(path, page=1).image, STACK[1])


def test_each_page_has_its_own_header(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as tiff:
        for number, image in enumerate(STACK[:3]):
            text = f"# Exposure_time {number}.0 s\r\n" if number < 2 else None
            tiff.write(image, photometric="minisblack", metadata=None, description=text, contiguous=False)
    headers = [header for header in read_headers(path) if isinstance(header, FrameFile)]
    # A page that says nothing is as the first one says.
    assert [header.header.exposure_time for header in headers] == [0.0, 1.0, 0.0]
    assert [read_frame(path, page=number).header for number in range(3)] == [one.header for one in headers]


def test_page_that_is_no_grey_image_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(STACK[0], photometric="minisblack", metadata=None, contiguous=False)
        tiff.write(np.zeros((6, 8, 3), np.uint8), photometric="rgb", metadata=None, contiguous=False)
        tiff.write(STACK[2], photometric="minisblack", metadata=None, contiguous=False)
    found = read_headers(path)
    assert [isinstance(one, FrameFile) for one in found] == [True, False, True]
    assert re.fullmatch(r".*mixed\.tif, page 1: wanted one grey image .* found shape \(6, 8, 3\) .*", str(found[1]))
    np.testing.assert_array_equal(read_frame(path, page=2).image, STACK[2])


@pytest.mark.logs_errors
@pytest.mark.parametrize("way", ["a directory each", "ImageJ", "BigTIFF", "shaped, one directory"])
def test_file_that_is_cut_short_loses_no_page_without_a_word(tmp_path: Path, way: str) -> None:
    path = tmp_path / "stack.tif"
    WAYS[way](path)
    content = path.read_bytes()
    for size in range(len(content) - 1, len(content) // 4, -7):
        path.write_bytes(content[:size])
        try:
            found = read_headers(path)
        except FrameError:
            continue
        failed = [str(one) for one in found if isinstance(one, FrameError)]
        assert failed or len(found) == len(STACK), size
        for number, one in enumerate(found):
            if isinstance(one, FrameFile):
                np.testing.assert_array_equal(read_frame(path, page=number).image, STACK[number])


@pytest.mark.logs_errors
def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    write_directories(path)
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[-1].offset
    (count,) = struct.unpack_from("<H", content, last)
    struct.pack_into("<I", content, last + 2 + 12 * count, first)
    path.write_bytes(content)
    found = read_headers(path)
    assert [isinstance(one, FrameFile) for one in found] == [True] * 5 + [False]
    assert "that follows itself" in str(found[-1])


@pytest.mark.logs_errors
@pytest.mark.parametrize(
    "text",
    ["ImageJ=1.11a\nimages=999999999999\n", json.dumps({"shape": [10**12, 6, 8]}), '{"shape": "none"}', '{"shape":'],
)
def test_texts_that_claim_any_number_of_images(tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.tif"
    tifffile.imwrite(path, STACK[0], photometric="minisblack", metadata=None, description=text)
    found = read_headers(path)
    assert isinstance(found[0], FrameFile)
    assert len(found) < 10
    assert len(found) == 1 or isinstance(found[-1], FrameError)
