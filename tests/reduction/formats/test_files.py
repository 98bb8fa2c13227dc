"""Names of output files and the live list of curves."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.frame_job import OutputNames
from saxs_bluesky.reduction import Curve, FileList, IntegralParameters


@pytest.mark.parametrize(
    ("position", "curve", "expected"),
    [
        (0, "R0", "data/work/name.chi"),
        (0, "S1", "data/work/name.chi"),
        (1, "R1", "data/work/name_cR1.chi"),
        (1, "P1", "data/work/name_cR1.chi"),
        (2, "S2", "data/work/name_cS2.chi"),
        (3, "Profile", "data/work/name_cProfile.chi"),
    ],
)
def test_curves_go_to_the_work_folder_beside(position: int, curve: str, expected: str) -> None:
    assert OutputNames().chi(Path("data/run1/name.tif"), position, curve) == Path(expected)


def test_dots_in_names_are_kept() -> None:
    assert OutputNames().chi(Path("d/a.b.tif"), 0, "R0") == Path("work/a.b.chi")


def test_other_relative_folder() -> None:
    assert OutputNames("curves").chi(Path("run/name.tif"), 0, "R0") == Path("run/curves/name.chi")


def test_one_folder_for_all_carries_the_whole_path_in_the_name() -> None:
    names = OutputNames(folder=Path("out"))
    assert names.chi(Path("data/buf1_00000.tif"), 0, "R0") == Path("out/data_buf1_00000.chi")
    assert names.chi(Path("./data/../data/x.tif"), 1, "S1") == Path("out/data_x_cS1.chi")


def curve(i0: float) -> Curve:
    nothing = np.zeros(0)
    return Curve("R0", "radial", nothing, "q", "1/nm", nothing, nothing, integral=IntegralParameters(i0, 2.0, 3.0))


def test_file_list_has_a_line_a_curve(tmp_path: Path) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    files.add(tmp_path / "work" / "a.chi", curve(1.5))
    files.add(tmp_path / "work" / "b.chi", curve(0.0))
    assert files.path == tmp_path / "results" / "filelist_run1.log"
    assert files.path.read_text() == "/work/a.chi, 1.5, 2.0, 3.0\n/work/b.chi, 0.0, 2.0, 3.0\n"


def test_file_list_of_a_folder_that_is_not_there_is_made_with_its_first_line(tmp_path: Path) -> None:
    files = FileList(tmp_path / "user" / "run1", keep=False)
    assert [*tmp_path.iterdir()] == []
    assert files.size == 0
    files.add(tmp_path / "user" / "work" / "a.chi", curve(1))
    assert files.path.read_text() == "/work/a.chi, 1, 2.0, 3.0\n"


def test_file_list_is_begun_anew_or_kept(tmp_path: Path) -> None:
    FileList(tmp_path / "run1", keep=False).add(tmp_path / "a.chi", curve(1))
    assert FileList(tmp_path / "run1", keep=True).path.read_text() == "/a.chi, 1, 2.0, 3.0\n"
    assert FileList(tmp_path / "run1", keep=False).path.read_text() == ""


def test_lines_from_many_threads_stay_whole(tmp_path: Path) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: files.add(tmp_path / f"{i}.chi", curve(i)), range(400)))
    lines = files.path.read_text().splitlines()
    assert sorted(lines) == sorted(f"/{i}.chi, {i}, 2.0, 3.0" for i in range(400))


def test_list_on_a_full_disk_keeps_whole_lines(tmp_path: Path) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    files.add(tmp_path / "a.chi", curve(1))
    first = files.path.read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left on device"):
            files.add(tmp_path / "b.chi", curve(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    files.add(tmp_path / "c.chi", curve(1))
    assert files.path.read_text() == first + first.replace("a.chi", "c.chi")


# Several processes


OTHER = """
import sys
from pathlib import Path
from saxs_bluesky.reduction import FileList

files = FileList(Path(sys.argv[1]), keep=False)
files.append("of the other\\n")
print("ready", flush=True)
sys.stdin.read()
files.append("of the other, again\\n")
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that adds to the list; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path / "run1")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.communicate(timeout=60)


def test_list_is_not_emptied_under_another_process(
    tmp_path: Path, other: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    assert caplog.messages == [
        f"{files.path}: the list is written by another process (pid {other.pid}) too: it is not begun anew"
    ]
    files.append("mine\n")
    other.communicate(timeout=60)
    assert files.path.read_text() == "of the other\nmine\nof the other, again\n"
    caplog.clear()
    again = FileList(tmp_path / "run1", keep=False)
    assert again.path.read_text() == ""
    assert caplog.messages == []


def test_lists_of_one_process_share_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = FileList(tmp_path / "run1", keep=False)
    first.append("a\n")
    second = FileList(tmp_path / "run1", keep=True)
    second.append("b\n")
    assert first.path.read_text() == "a\nb\n"
    third = FileList(tmp_path / "run1", keep=False)
    first.append("c\n")
    assert third.path.read_text() == "c\n"
    assert caplog.messages == []


def test_list_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    files.append("a\n")
    files.path.rename(tmp_path / "old")
    files.append("b\n")
    files.path.unlink()
    files.append("c\n")
    assert (tmp_path / "old").read_text() == "a\n"
    assert files.path.read_text() == "c\n"


@pytest.mark.parametrize("keep", [True, False])
def test_list_with_another_name_elsewhere_leaves_that_alone(tmp_path: Path, keep: bool) -> None:
    (tmp_path / "elsewhere").write_text("mine\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "filelist_run1.log").hardlink_to(tmp_path / "elsewhere")
    files = FileList(tmp_path / "run1", keep=keep)
    files.append("a\n")
    assert (tmp_path / "elsewhere").read_text() == "mine\n"
    assert files.path.read_text() == ("mine\na\n" if keep else "a\n")


def test_pipe_in_the_place_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    os.mkfifo(tmp_path / "results" / "filelist_run1.log")
    with pytest.raises(OSError, match="no regular file"):
        FileList(tmp_path / "run1", keep=True).append("a\n")
    FileList(tmp_path / "run1", keep=False).append("a\n")
    assert (tmp_path / "results" / "filelist_run1.log").read_text() == "a\n"


def test_line_is_one_line_whatever_the_name(tmp_path: Path) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    files.add(tmp_path / "a\nb\x1b\udcff.chi", curve(1))
    assert files.path.read_bytes() == b"/a\\nb\\x1b\xff.chi, 1, 2.0, 3.0\n"


# Long names


@pytest.mark.parametrize(("letters", "fits"), [(247, True), (248, False), (251, False)])
def test_long_name_is_cut_and_marked(letters: int, fits: bool) -> None:
    image = Path("d/n") / f"{'é' * 10}{'a' * (letters - 20)}.tif"
    first, second = (OutputNames().chi(image, position, "R1").name for position in (0, 1))
    assert first == f"{image.stem}.chi"
    assert len(os.fsencode(second)) <= 255
    assert second.endswith("_cR1.chi")
    assert (second == f"{image.stem}_cR1.chi") == fits
    if not fits:
        assert re.fullmatch(r"é{10}a+~[0-9a-f]{12}_cR1\.chi", second)
        assert second != OutputNames().chi(image.with_name(f"b{image.name[1:]}"), 1, "R1").name


def test_long_path_in_a_name_is_cut_between_letters() -> None:
    names = OutputNames(folder=Path("/out"))
    made = {names.chi(Path(f"/{'ü' * 100}/{'ö' * 60}{number}.tif"), 0, "R0").name for number in range(3)}
    assert len(made) == 3
    for name in made:
        assert len(name.encode()) <= 255
        assert name.startswith("_üü")


def test_nothing_leads_up_out_of_a_folder_that_is_meant_to_hold_all() -> None:
    names = OutputNames(within=Path("/base"))
    assert names.chi(Path("/base/a.tif"), 0, "R0") == Path("/base/work/a.chi")
    assert names.chi(Path("/base/run/a.tif"), 0, "R0") == Path("/base/work/a.chi")
    assert names.chi(Path("/base/run/data/a.tif"), 0, "R0") == Path("/base/run/work/a.chi")
    up = OutputNames("../../../x", within=Path("/base"))
    assert up.chi(Path("/base/run/a.tif"), 0, "R0") == Path("/base/x/a.chi")
