"""Images below a folder: their times, and what their headers say."""

from __future__ import annotations

import os
from hashlib import sha224
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge import Images, MergeSettings, curve_files, find_files, read_images
from saxs_bluesky.merge._image_header import parse_image_header, read_image_header
from saxs_bluesky.reduction import PilatusHeader, write_frame

LINES = [
    "# Pixel_size 172e-6 m x 172e-6 m", "# Silicon sensor, thickness 0.000450 m", "# Exposure_time 1.0000000 s",
    "# Exposure_period 1.1000000 s", "# Tau = 0 s", "# Count_cutoff 1080457 counts", "# Threshold_setting: 4000 eV",
    "# Gain_setting: autog (vrf = 1.000)", "# N_excluded_pixels = 137", "# Excluded_pixels: badpixel_mask.tif",
    "# Image_path: /home/det/Pil1M/run1/", "# Retrigger_mode: 1", "# Wavelength 1.54987 A",
]  # fmt: skip
LOG = "Image acquisition log of run1\n------------------------------\n"


def head(date: str = "2014:07:21 10:00:21", lines: list[str] = LINES) -> bytes:
    """The beginning of a file as a Pilatus writes it: tags, texts, and pixels from 4096 on."""
    texts = f"PILATUS3 1M, S/N 10-0120\0TVX TIFF v 1.3\0{date}\0" + "".join(f"{line}\r\n" for line in lines)
    return (b"II*\0\x08\0\0\0\x0e\0\0\x01\x04\0" + bytes(150) + texts.encode()).ljust(4096, b"\0")


def image(path: Path, date: str = "2014:07:21 10:00:21", lines: list[str] = LINES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head(date, lines) + b"Pixel: 5 s\n" * 100)
    return path


def stamps(images: Images) -> list[str]:
    return [str(time) for time in images.end.view("M8[ns]").astype("M8[us]")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_columns_of_an_image_as_deployed_programs_name_them(folder: Path) -> None:
    path = image(folder / "run1" / "a_00000.tif")
    (folder / "run1" / "run1.log").write_text(
        f"{LOG}    1.0000     0.9990 2014-07-21T10:00:21.250 /home/det/Pil1M/run1/a_00000.tif\n"
    )
    images = read_images(folder)
    assert images.columns.iloc[0].to_dict() == {
        "Time Measured (ImgLog)": 0.999,
        "Count_cutoff [counts] (Img)": 1080457.0,
        "Excluded_pixels (Img)": "badpixel_mask.tif",
        "Exposure_period [s] (Img)": 1.1,
        "Exposure_time [s] (Img)": 1.0,
        "Gain_setting (Img)": "autog (vrf = 1.000)",
        "Image_path (Img)": "/home/det/Pil1M/run1/",
        "N_excluded_pixels (Img)": 137,
        "Pixel_size [m] (Img)": 172e-6,
        "Retrigger_mode (Img)": 1,
        "Silicon sensor, thickness [m] (Img)": 0.00045,
        "Tau [s] (Img)": 0.0,
        "Threshold_setting [eV] (Img)": 4000.0,
        "Wavelength [A] (Img)": 1.54987,
        "filename (Img)": "a_00000.tif",
        "filepath (Img)": str(path),
        "id (Img)": "h" + sha224(str(folder / "run1" / "a_00000").encode()).hexdigest(),
        "date (Img)": np.datetime64("2014-07-21T10:00:21"),
        "File Name (Img)": "/home/det/Pil1M/run1/a_00000.tif",
        "Detector type": "Pil1M",
    }
    assert list(images.columns)[:2] == ["Time Measured (ImgLog)", "Count_cutoff [counts] (Img)"]
    assert list(images.columns)[-4:] == ["id (Img)", "date (Img)", "File Name (Img)", "Detector type"]
    assert images.columns["N_excluded_pixels (Img)"].dtype == np.int64
    assert stamps(images) == ["2014-07-21T10:00:21.250000"]
    assert (images.exposure.tolist(), images.logged.tolist(), images.remarks) == ([999_000_000], [True], ())
    assert str(images.middle.view("M8[ns]")[0]) == "2014-07-21T10:00:20.750500000"


def test_times_of_log_and_header(folder: Path) -> None:
    for name in ("a", "b", "c"):
        image(folder / f"{name}.tif")
    (folder / "x.log").write_text(
        f"{LOG}2014-07-21T10:00:21.900 /home/det/Pil1M/run1/b.tif\n"
        "1.0 0.5 2014-07-21T10:00:20.000 /home/det/Pil1M/run1/c.tif\n"
        "1.0 0.5 2014-07-21T10:00:20.000 /home/det/Pil1M/run1/gone.tif\n"
    )
    images = read_images(folder)
    assert images.columns["filename (Img)"].tolist() == ["c.tif", "a.tif", "b.tif"]
    assert stamps(images) == ["2014-07-21T10:00:20.000000", "2014-07-21T10:00:21.000000", "2014-07-21T10:00:21.900000"]
    assert images.exposure.tolist() == [500_000_000, 1_000_000_000, 1_000_000_000]
    assert images.logged.tolist() == [True, False, True]
    assert images.remarks == (
        "1 image without line in the detector's logs: the header's time is used.",
        "1 line of the detector's logs without image: /home/det/Pil1M/run1/gone.tif.",
    )


def test_equal_times_are_set_apart_in_the_order_of_paths(folder: Path) -> None:
    for name in ("b", "a", "c"):
        image(folder / f"{name}.tif")
    image(folder / "d.tif", "2014:07:21 10:00:22")
    image(folder / "run" / "e.tif", "2014:07:21 10:00:22")
    images = read_images(folder)
    assert images.columns["filename (Img)"].tolist() == ["a.tif", "b.tif", "c.tif", "d.tif", "e.tif"]
    assert [stamp[-9:] for stamp in stamps(images)] == ["21.000000", "21.000001", "21.000002", "22.000000", "22.000001"]


def test_header_lines_that_an_image_lacks_are_missing(folder: Path) -> None:
    image(folder / "a.tif", lines=[line for line in LINES if "Wavelength" not in line and "N_ex" not in line])
    image(folder / "b.tif")
    columns = read_images(folder).columns
    np.testing.assert_array_equal(columns["Wavelength [A] (Img)"], [np.nan, 1.54987])
    np.testing.assert_array_equal(columns["N_excluded_pixels (Img)"], [np.nan, 137])


def test_path_with_number_and_word(folder: Path) -> None:
    """Deployed programs take ``/2014 user/`` for a number with a unit, and fail."""
    lines = [line.replace("/home/det/Pil1M", "/home/2014 user/1") for line in LINES]
    image(folder / "a.tif", lines=lines)
    columns = read_images(folder).columns
    assert columns["Image_path (Img)"].tolist() == ["/home/2014 user/1/run1/"]
    assert columns["File Name (Img)"].tolist() == ["/home/2014 user/1/run1/a.tif"]
    assert columns["Detector type"].tolist() == [""]


def test_path_of_more_than_100_characters_and_not_ascii(folder: Path) -> None:
    path = "/home/Müller/" + "x" * 200
    image(folder / "a.tif", lines=[f"# Image_path: {path}"])
    assert read_images(folder).columns["File Name (Img)"].tolist() == [f"{path}/a.tif"]


def test_images_that_cannot_be_read_are_named_with_the_reason(folder: Path) -> None:
    image(folder / "good.tif")
    image(folder / "wrong.tif", "2014:13:21 10:00:21")
    tifffile.imwrite(folder / "nodate.tif", np.ones((6, 8), np.int32))
    (folder / "empty.tif").touch()
    (folder / "half.tif").write_bytes(head()[:30])
    images = read_images(folder)
    assert images.columns["filename (Img)"].tolist() == ["good.tif"]
    (remark,) = (remark for remark in images.remarks if "left out" in remark)
    assert remark.startswith(f"4 images left out: {folder}/empty.tif: the image is empty; {folder}/half.tif: the image")
    assert "and 1 more" in remark


def test_image_that_vanishes_is_left_out(folder: Path) -> None:
    files = find_files(folder) if image(folder / "a.tif") else None
    (folder / "a.tif").unlink()
    images = read_images(folder, files=files)
    assert len(images.end) == 0
    assert f"1 image left out: {folder}/a.tif: the image cannot be read: No such file or directory." in images.remarks


def test_other_detector_is_left_out(folder: Path) -> None:
    image(folder / "Pil100k" / "deep" / "a.tif")
    image(folder / "b.tif", lines=["# Image_path: /det/Pil100k/"])
    image(folder / "c.tif")
    image(folder / "d.TIF")
    image(folder / "e.tiff")
    image(folder / "nodot_tif")
    assert read_images(folder).columns["filename (Img)"].tolist() == ["c.tif", "nodot_tif"]
    assert len(find_files(folder).all_images) == 4


def test_folder_without_images(folder: Path) -> None:
    images = read_images(folder)
    assert (len(images.end), len(images.exposure), len(images.columns), len(images.logged)) == (0, 0, 0, 0)
    assert list(images.columns)[-1] == "Detector type"
    with pytest.raises(MergeError, match="absent: the folder of the images cannot be read: No such file or directory"):
        read_images(folder / "absent")


def test_images_without_exposure(folder: Path) -> None:
    image(folder / "a.tif", lines=["# Tau = 0 s"])
    images = read_images(folder)
    assert images.exposure.tolist() == [0]
    assert np.isnan(images.columns["Time Measured (ImgLog)"][0])
    assert "1 image without exposure time: counted as 0 s." in images.remarks


def test_zone_of_the_detector(folder: Path) -> None:
    """The log's order tells which of two equal hours it was; a header alone means the first one."""
    for name in ("a", "b"):
        image(folder / f"{name}.tif", "2014:10:26 02:30:00")
    image(folder / "c.tif", "2014:10:26 02:00:00")
    (folder / "x.log").write_text(
        f"{LOG}1 1 2014-10-26T02:30:00 /home/det/Pil1M/run1/a.tif\n1 1 2014-10-26T02:10:00 /home/det/Pil1M/run1/b.tif\n"
    )
    images = read_images(folder, MergeSettings(image_zone=ZoneInfo("Europe/Vienna")))
    assert images.columns["filename (Img)"].tolist() == ["c.tif", "a.tif", "b.tif"]
    assert stamps(images)[::2] == ["2014-10-26T00:00:00.000000", "2014-10-26T01:10:00.000000"]
    assert any("2 images ended in the hour that clocks in Europe/Vienna show twice" in line for line in images.remarks)


def test_clocks_of_log_and_header_that_differ(folder: Path) -> None:
    image(folder / "a.tif")
    (folder / "x.log").write_text(f"{LOG}1 1 2014-07-21T12:00:21.5 /home/det/Pil1M/run1/a.tif\n")
    (remark,) = read_images(folder).remarks
    assert "1 image with times in header and detector's log that are far apart, the median by 7200 s" in remark


def test_progress_may_end_the_reading(folder: Path) -> None:
    image(folder / "run1" / "a.tif")
    said: list[str] = []
    read_images(folder, progress=said.append)
    assert said == [
        f"Searching path: {folder}",
        f"Searching path: {folder}/run1",
        "Done going through all subfolders... A total of 1 images were found.",
    ]

    def end(text: str) -> None:
        raise InterruptedError(text)

    with pytest.raises(InterruptedError):
        read_images(folder, progress=end)


def test_links_out_of_the_folder_are_not_followed(folder: Path) -> None:
    inside, outside = folder / "inside", folder / "outside"
    image(outside / "secret.tif")
    image(inside / "a.tif")
    (inside / "file.tif").symlink_to(outside / "secret.tif")
    (inside / "dir").symlink_to(outside)
    (inside / "circle").symlink_to(inside)
    (inside / "gone.tif").symlink_to(inside / "absent.tif")
    (inside / "again.tif").symlink_to(inside / "a.tif")
    os.mkfifo(inside / "pipe.tif")
    images = read_images(inside)
    assert images.columns["filename (Img)"].tolist() == ["a.tif", "again.tif"]
    assert f"4 links to folders or out of the folder not followed, the first: {inside}/circle." in images.remarks


def test_curves_by_kind(folder: Path) -> None:
    for name in (
        "run2/work/a.chi", "run1/work/b.chi", "run1/work/b_cR1.chi", "run1/work/b_c1_cS2.chi", "results/c_cold_1.chi",
        "run1/b.json", "results/merge.json", "run1/b.chi.gz",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = {kind: [str(path.relative_to(folder)) for path in paths] for kind, paths in curve_files(folder).items()}
    assert found == {
        "JSON": ["run1/b.json"],
        "R": ["run2/work/a.chi", "run1/work/b.chi", "results/c_cold_1.chi"],
        "R1": ["run1/work/b_cR1.chi"],
        "S2": ["run1/work/b_c1_cS2.chi"],
    }


def test_names_with_dots_have_ids_of_their_own(folder: Path) -> None:
    """Deployed programs cut a path at its first dot, so that such images collide."""
    for name in ("x.y_00000.tif", "x.y_00001.tif"):
        image(folder / "a.b" / name)
    assert read_images(folder).columns["id (Img)"].nunique() == 2


def test_files_of_other_writers_are_read_through_their_tags(folder: Path) -> None:
    header = PilatusHeader(date_time="2014:01:31 12:26:52", entries={"Exposure_time": "2.5 s", "Tau": "0 s"})
    write_frame(folder / "a.tif", np.ones((6, 8)), header)
    found = read_image_header(str(folder / "a.tif"))
    assert (found.date, found.entries) == ("2014-01-31T12:26:52", {"Exposure_time [s]": 2.5, "Tau [s]": 0.0})


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("# Phi 0.0000 deg.", {"Phi [deg]": 0.0}),
        ("# Beam_xy (487.1, 619.2) pixels", {}),
        ("# Comment: 5 mg of 2 kg", {"Comment": "5 mg of 2 kg"}),
        ("# Comment: a = b: c", {"Comment": "a = b: c"}),
        ("# Energy range: 1.5", {"range": 1.5}),
        ("# Counts = 99999999999999999999", {"Counts": 1e20}),
    ],
)
def test_lines_of_headers(line: str, entry: dict[str, object]) -> None:
    assert parse_image_header(head(lines=[line])).entries == entry


def test_header_longer_than_its_usual_space(folder: Path) -> None:
    lines = [f"# Comment{i}: {'x' * 400}" for i in range(15)]
    path = folder / "a.tif"
    path.write_bytes(head(lines=lines) + bytes(100))
    assert len(read_image_header(str(path)).entries) == 15


@given(st.binary(max_size=300))
def test_any_bytes_have_a_header_or_none(content: bytes) -> None:
    assert parse_image_header(content).date == "" or b":" in content


def test_header_that_our_own_detectors_write_is_found_in_the_first_bytes(tmp_path: Path) -> None:
    """Or each image takes seven times as long: its tags are looked for."""
    header = PilatusHeader(date_time="2014:07:21 10:00:21", entries={"Exposure_time": "1.0 s"})
    write_frame(tmp_path / "a.tif", np.zeros((16, 24), np.int32), header)
    found = parse_image_header((tmp_path / "a.tif").read_bytes()[:4096])
    assert found.date == "2014-07-21T10:00:21"
    assert found.entries["Exposure_time [s]"] == 1.0
