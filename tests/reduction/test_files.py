"""Names of output files and the live list of curves."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.reduction import Curve, FileList, IntegralParameters, OutputNames


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
    assert files.path.read_text() == "work/a.chi, 1.5, 2.0, 3.0\nwork/b.chi, 0.0, 2.0, 3.0\n"


def test_file_list_is_begun_anew_or_kept(tmp_path: Path) -> None:
    FileList(tmp_path / "run1", keep=False).add(tmp_path / "a.chi", curve(1))
    assert FileList(tmp_path / "run1", keep=True).path.read_text() == "a.chi, 1, 2.0, 3.0\n"
    assert FileList(tmp_path / "run1", keep=False).path.read_text() == ""


def test_lines_from_many_threads_stay_whole(tmp_path: Path) -> None:
    files = FileList(tmp_path / "run1", keep=False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: files.add(tmp_path / f"{i}.chi", curve(i)), range(400)))
    lines = files.path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{i}.chi, {i}, 2.0, 3.0" for i in range(400))


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
