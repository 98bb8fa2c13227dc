"""Pilatus TIFF files: headers, and every way a file can be bad."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import PilatusHeader, read_frame, write_frame

IMAGE = np.arange(-2, 58, dtype=np.int32).reshape(6, 10)
HEADER = PilatusHeader(
    date_time="2014:01:31 12:26:52",
    model="PILATUS3 1M, S/N 10-0120",
    entries={
        "Pixel_size": "172e-6 m x 200e-6 m",
        "Silicon": "sensor, thickness 0.000450 m",
        "Exposure_time": "10.0000000 s",
        "Count_cutoff": "1080457 counts",
        "Threshold_setting": "4000 eV",
        "Tau": "0 s",
        "Image_path": "/home/det/images/",
        "Wavelength": "1.54987 A",
    },
)


def test_header_of_a_real_frame(shared_data: Path) -> None:
    frame = read_frame(shared_data / "pilatus1m_buffer.tif")
    assert frame.image.shape == (1043, 981)
    assert frame.image.dtype == np.int32
    header = frame.header
    assert (header.exposure_time, header.exposure_period, header.count_cutoff) == (10.0, 10.0, 1080457)
    assert header.threshold == 4000
    assert header.wavelength == pytest.approx(0.154987)
    assert header.pixel_size == pytest.approx((0.172, 0.172))
    assert header.image_path == "/home/det/images/140128_amenitsch/"
    assert header.model == "PILATUS3 1M, S/N 10-0120"
    assert header.entries["Gain_setting"] == "autog (vrf = 1.000)"
    assert header.entries["N_excluded_pixels"] == "137"
    assert header.time(UTC) == datetime(2014, 1, 31, 12, 26, 52, tzinfo=UTC)


def test_real_header_survives_writing(shared_data: Path, tmp_path: Path) -> None:
    frame = read_frame(shared_data / "pilatus1m_buffer.tif")
    write_frame(tmp_path / "copy.tif", frame.image, frame.header)
    copy = read_frame(tmp_path / "copy.tif")
    assert copy.header.entries == frame.header.entries
    assert copy.header == frame.header
    with tifffile.TiffFile(tmp_path / "copy.tif") as ours, tifffile.TiffFile(frame.path) as theirs:
        assert ours.pages.first.description == theirs.pages.first.description


def test_written_frame_has_the_layout_of_a_pilatus(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.tif", IMAGE, HEADER)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert tiff.byteorder == "<"
        assert (len(tiff.pages), page.compression, page.dtype) == (1, 1, np.int32)
        assert (page.dataoffsets, page.databytecounts) == ((4096,), (IMAGE.nbytes,))
        assert page.description.startswith(
            "# Pixel_size 172e-6 m x 200e-6 m\r\n# Silicon sensor, thickness 0.000450 m\r\n"
        )
        assert "# Tau = 0 s\r\n" in page.description
        assert "# Threshold_setting: 4000 eV\r\n" in page.description


def test_written_frame_reads_back(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.tif", IMAGE, HEADER)
    frame = read_frame(tmp_path / "a.tif")
    np.testing.assert_array_equal(frame.image, IMAGE)
    assert frame.header.entries == HEADER.entries
    assert frame.header.pixel_size == pytest.approx((0.2, 0.172))  # y, x; the file says x first
    assert frame.header.model == HEADER.model
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_frame_without_header_has_none_to_tell(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", IMAGE)
    header = read_frame(tmp_path / "plain.tif").header
    assert (header.exposure_time, header.count_cutoff, header.pixel_size) == (None, None, None)
    assert header.time(UTC) is None


def truncate(path: Path, size: int) -> Path:
    write_frame(path, IMAGE, HEADER)
    with path.open("r+b") as file:
        file.truncate(size)
    return path


# tifffile logs an ERROR beside raising where a header is damaged.
@pytest.mark.logs_errors
@pytest.mark.parametrize("size", [1, 4, 8, 100, 2000, 4096, 4100, 4096 + IMAGE.nbytes - 1])
def test_file_cut_short_anywhere_is_refused(tmp_path: Path, size: int) -> None:
    path = truncate(tmp_path / "short.tif", size)
    with pytest.raises(FrameError, match=r"short\.tif: wanted") as caught:
        read_frame(path)
    assert "\n" not in str(caught.value)


def test_cut_short_pixels_tell_where(tmp_path: Path) -> None:
    path = truncate(tmp_path / "short.tif", 4100)
    with pytest.raises(FrameError, match=r"wanted an image that ends at byte 4336, found a file cut short at 4100"):
        read_frame(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "found an empty file"), (b"plain text, no image", "not a TIFF file")],
)
def test_what_is_no_tiff_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.tif").write_bytes(content)
    with pytest.raises(FrameError, match=message):
        read_frame(tmp_path / "bad.tif")


def test_absent_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"gone\.tif: wanted a TIFF image, found No such file"):
        read_frame(tmp_path / "gone.tif")
    with pytest.raises(FrameError, match="found Is a directory"):
        read_frame(tmp_path)


def test_colour_picture_is_no_frame(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(FrameError, match=r"wanted one grey image of shape \(rows, columns\), found shape \(4, 5, 3\)"):
        read_frame(tmp_path / "rgb.tif")


@pytest.mark.parametrize("text", ["0 counts", "-1", "1e999", "not set"])
def test_cutoff_that_is_not_set_is_none(tmp_path: Path, text: str) -> None:
    write_frame(tmp_path / "a.tif", IMAGE, PilatusHeader(entries={"Count_cutoff": text}))
    assert read_frame(tmp_path / "a.tif").header.count_cutoff is None
