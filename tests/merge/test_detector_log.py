"""The detector's own logs."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from saxs_bluesky.merge._detector_log import DetectorLog, read_detector_logs

UTC = ZoneInfo("UTC")
TITLE = "Image acquisition log of run1\n------------------------------------------------------------\n"


def read(folder: Path, *contents: str | bytes) -> DetectorLog:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.log")
        paths[-1].write_bytes(content.encode() if isinstance(content, str) else content)
    return read_detector_logs(paths, UTC)


def ends(log: DetectorLog) -> list[str]:
    return [str(time)[11:23] for time in log.end.view("M8[ns]")]


def test_lines_with_and_without_exposures(tmp_path: Path) -> None:
    log = read(
        tmp_path,
        f"{TITLE}    1.0000     0.9990 2014-07-21T10:00:21.250 /det/a 1.tif\n2014-07-21T10:00:22.250 /det/b.tif\r\n",
    )
    assert log.files == ["/det/a 1.tif", "/det/b.tif"]
    assert ends(log) == ["10:00:21.250", "10:00:22.250"]
    np.testing.assert_array_equal(log.measured, [0.999, np.nan])
    assert log.remarks == ()


def test_log_without_title_loses_no_line(tmp_path: Path) -> None:
    assert read(tmp_path, "1 1 2014-07-21T10:00:21 /det/a.tif\n").files == ["/det/a.tif"]


def test_malformed_lines_are_named(tmp_path: Path) -> None:
    log = read(
        tmp_path,
        f"{TITLE}1 1 2014-07-21T10:00:21 /det/a.tif\nbroken\n\n1 1 2014-07-21T10:0\n"
        "1 1 2014-13-21T10:00:21 /det/b.tif\n"
        "1 1 2014-07-21T10:00:23 /det/c.tif\n1 0.5 2014-07",
    )
    assert log.files == ["/det/a.tif", "/det/c.tif"]
    (remark,) = log.remarks
    assert remark == (
        f"{tmp_path}/0.log: 4 lines of the detector's log left out, wanted the end of an exposure and a file: line 4: "
        "'broken'; line 6: '1 1 2014-07-21T10:0'; line 9: '1 0.5 2014-07'; and 1 more."
    )


@pytest.mark.parametrize(
    "content", ["", "notes of the night\nall went well\n", "Time\tA\n3488781543.25\t1\n", b"\0\xff" * 50]
)
def test_other_files_called_log_are_named(tmp_path: Path, content: str | bytes) -> None:
    log = read(tmp_path, TITLE + "1 1 2014-07-21T10:00:21 /det/a.tif\n", content)
    assert log.files == ["/det/a.tif"]
    assert log.remarks == (
        f"{tmp_path}/1.log: no log of the detector, left out: no line holds the end of an exposure and a file.",
    )


def test_image_that_was_taken_again_has_its_latest_time(tmp_path: Path) -> None:
    log = read(
        tmp_path,
        TITLE + "1 1 2014-07-21T10:00:21 /det/a.tif\n1 2 2014-07-21T10:00:25 /det/a.tif\n",
        TITLE + "1 3 2014-07-21T10:00:22 /det/a.tif\n",
    )
    assert (log.files, ends(log), log.measured.tolist()) == (["/det/a.tif"], ["10:00:25.000"], [2.0])
    assert log.remarks == ("The detector's logs name 2 images again: the latest time counts.",)


def test_log_that_vanishes(tmp_path: Path) -> None:
    log = read_detector_logs([tmp_path / "gone.log"], UTC)
    assert (log.files, len(log.end)) == ([], 0)
    assert log.remarks == (f"{tmp_path}/gone.log: the log cannot be read: No such file or directory.",)
