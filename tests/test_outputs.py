"""What is written of a frame, and under which names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import OutputError
from saxs_bluesky.outputs import Claims, CurveFiles, FrameName
from saxs_bluesky.reduction import Calibration, Curve, OutputNames, Reducer, read_chi, write_chi

NAMES = ["R0", "P1", "S2"]


@pytest.fixture
def reducer(document: dict[str, Any]) -> Reducer:
    document["Slices"] = [{"CutPosition": 5}]
    return Reducer(Calibration.from_dict(document))


@pytest.fixture
def curves(reducer: Reducer, rng: np.random.Generator) -> list[Curve]:
    return reducer.reduce(rng.poisson(20, (60, 80)))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "a.tif"
    path.parent.mkdir()
    path.write_bytes(b"taken")
    return path


def write(files: CurveFiles, image: Path, curves: list[Curve], reducer: Reducer) -> list[Path]:
    return list(files.write(image, np.zeros((60, 80)), curves, reducer.calibration))


# Names


def test_curves_go_beside_the_folder_of_their_image() -> None:
    found = CurveFiles().targets(Path("/run/data/a.b.tif"), NAMES)
    assert found == [Path("/run/work") / name for name in ("a.b.chi", "a.b_cR1.chi", "a.b_cS2.chi")]


@pytest.mark.parametrize(
    ("base", "image", "stem"),
    [
        (None, "/run/data/more/a.tif", "_run_data_more_a"),
        ("/run", "/run/data/more/a.tif", "data_more_a"),
        ("/run/data", "/run/data/a.tif", "a"),
        ("/run", "/running/data/a.tif", "_running_data_a"),  # no prefix of its neighbour
        ("/elsewhere", "/run/data/a.tif", "_run_data_a"),
        (None, "data/./more/../a.tif", "data_a"),
    ],
)
def test_curves_in_one_folder_carry_the_path_of_their_image(base: str | None, image: str, stem: str) -> None:
    names = OutputNames(folder=Path("/out"), base=None if base is None else Path(base))
    assert CurveFiles(names).targets(Path(image), ["R0", "S1"]) == [
        Path(f"/out/{stem}.chi"),
        Path(f"/out/{stem}_cS1.chi"),
    ]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        (FrameName("data/a.tif", 3, "primary", "pilatus", "0a1b2c3d4e", 7), "/home/data/a.tif"),
        (FrameName("/data/a.CBF", 3, "dark", "pilatus", "0a1b2c3d4e", 7), "/data/a.CBF"),
        (FrameName("/data/a.h5", 12, "primary", "pilatus", "0a1b2c3d4e", 7), "/data/a_00012.h5"),
        (FrameName("/data/a.h5", 12, "dark", "pilatus", "0a1b2c3d4e", 7), "/data/a_dark_00012.h5"),
        (FrameName("", 0, "primary", "pilatus", "0a1b2c3d4e", 7), "/home/pilatus/scan7_0a1b2c3d_pilatus_00000.frame"),
        (FrameName("", 0, "a/b", "../up", "0a1b2c3d4e", None), "/home/_._up/0a1b2c3d__._up_a_b_00000.frame"),
    ],
)
def test_frame_has_a_name_wherever_it_comes_from(name: FrameName, image: str) -> None:
    assert name.image(Path("/home"), one_folder=False) == Path(image)


def test_frame_without_a_file_needs_no_folder_where_all_go_to_one() -> None:
    name = FrameName("", 0, "primary", "pilatus", "0a1b2c3d4e", None)
    assert name.image(Path("/home"), one_folder=True) == Path("0a1b2c3d_pilatus_00000.frame")


# Files


def test_files_hold_the_curves(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    paths = write(CurveFiles(), image, curves, reducer)
    assert paths == CurveFiles().targets(image, ["R0", "S1"])
    for path, curve in zip(paths, curves, strict=True):
        np.testing.assert_array_equal(read_chi(path).curve.intensity, curve.intensity)
        np.testing.assert_array_equal(read_chi(path).curve.sigma, curve.sigma)


def test_files_that_are_there_stay_where_asked(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    first, second = CurveFiles().targets(image, ["R0", "S1"])
    first.parent.mkdir()
    first.write_text("of old")
    assert write(CurveFiles(overwrite=False), image, curves, reducer) == [first, second]
    assert first.read_text() == "of old"
    assert second.exists()
    write(CurveFiles(), image, curves, reducer)
    assert first.read_text() != "of old"


def test_pictures_stand_beside_the_first_curve(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    write(CurveFiles(svg=True, png=True), image, curves, reducer)
    work = image.parents[1] / "work"
    assert sorted(path.name for path in work.iterdir()) == ["a.chi", "a.png", "a.svg", "a_cS1.chi"]


def test_file_in_the_way_of_the_folder_is_named(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    (image.parents[1] / "work").write_text("in the way")
    with pytest.raises(OutputError, match="work: wanted a folder to write curves to, found File exists"):
        write(CurveFiles(), image, curves, reducer)


def test_folder_in_the_way_of_a_curve_costs_that_and_those_behind(
    image: Path, curves: list[Curve], reducer: Reducer
) -> None:
    first, second = CurveFiles().targets(image, ["R0", "S1"])
    second.mkdir(parents=True)
    writing = CurveFiles().write(image, np.zeros((60, 80)), curves, reducer.calibration)
    assert next(writing) == first
    with pytest.raises(OutputError, match=r"a_cS1.chi: the curve cannot be written \(Is a directory\)"):
        next(writing)
    assert sorted(path.name for path in first.parent.iterdir()) == ["a.chi", "a_cS1.chi"]  # no temporary file


# Which are current


def test_curves_are_current_when_all_are_whole_and_newer(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    files, names = CurveFiles(), ["R0", "S1"]
    assert not files.are_there(image, names)
    assert not files.are_current(image, names)
    write(files, image, curves, reducer)
    assert files.are_there(image, names)
    assert files.are_current(image, names)
    assert not files.are_current(image, ["R0", "S1", "S2"])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("fault", ["older", "cut short", "empty", "missing"])
def test_one_curve_that_is_not_current_is_enough(
    image: Path, curves: list[Curve], reducer: Reducer, which: int, fault: str
) -> None:
    files, names = CurveFiles(), ["R0", "S1"]
    chi = write(files, image, curves, reducer)[which]
    content = chi.read_bytes()
    match fault:
        case "older":
            taken = image.stat().st_mtime_ns
            os.utime(chi, ns=(taken, taken - 1))
        case "cut short":
            chi.write_bytes(content[:-1])
        case "empty":
            chi.write_bytes(b"")
        case _:
            chi.unlink()
    assert not files.are_current(image, names)
    assert files.are_there(image, names) == (fault != "missing")


def test_curve_of_the_same_tick_as_its_image_is_current(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    files = CurveFiles()
    taken = image.stat().st_mtime_ns
    for chi in write(files, image, curves, reducer):
        os.utime(chi, ns=(taken, taken))
    assert files.are_current(image, ["R0", "S1"])


def test_curves_of_an_image_that_is_gone_are_not_current(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    write(CurveFiles(), image, curves, reducer)
    image.unlink()
    assert not CurveFiles().are_current(image, ["R0", "S1"])


# What a killed writer left


@pytest.mark.parametrize("stem", ["a", "a[1-9]", "a*", "a?b", "[!a]", "a_{b,c}", "näme"])
def test_remains_of_a_frame_are_removed_and_no_others(tmp_path: Path, stem: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    mine = [f".{stem}.chi.12-34.tmp", f".{stem}_cS1.chi.56-78.tmp", f".{stem}.svg.12-34.tmp", f".{stem}.png.1-2.tmp"]
    others = [f"{stem}.chi", f"{stem}_cS1.chi", ".zz.chi.12-34.tmp", ".a5.chi.12-34.tmp", ".aab.chi.12-34.tmp"]
    for name in mine + others:
        (work / name).write_text("")
    CurveFiles().clean_up(tmp_path / "data" / f"{stem}.tif", ["R0", "S1"])
    assert sorted(path.name for path in work.iterdir()) == sorted(others)


@pytest.mark.parametrize("neighbour", ["run_10", "run_1_c2", "run_1_cat", "run_1.b"])
def test_what_is_being_written_of_a_frame_whose_name_begins_alike_is_left(tmp_path: Path, neighbour: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    names = [f".{neighbour}.chi.12-34.tmp", f".{neighbour}_cS1.chi.12-34.tmp"]
    for name in names:
        (work / name).write_text("")
    CurveFiles().clean_up(tmp_path / "data" / "run_1.tif", ["R0", "S1"])
    assert sorted(path.name for path in work.iterdir()) == sorted(names)


def test_nothing_to_remove_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    CurveFiles().clean_up(tmp_path / "data" / "a.tif", ["R0"])


def test_writing_leaves_no_remains(image: Path, curves: list[Curve], reducer: Reducer, tmp_path: Path) -> None:
    target = tmp_path / "work" / "a.chi"
    target.mkdir(parents=True)
    with pytest.raises(OutputError):
        write_chi(target, curves[0], reducer.calibration)
    assert list(target.parent.iterdir()) == [target]


# Who has which names


def test_two_images_must_not_have_the_same_names() -> None:
    claims = Claims(OutputNames())
    claims.claim(Path("/run/x/a.tif"))
    claims.claim(Path("/run/x/a.tif"))  # overwritten
    claims.claim(Path("/run/x/b.tif"))
    with pytest.raises(OutputError, match=r"/run/y/a.tif: wanted names .* found those of /run/x/a.tif at /run/work/a"):
        claims.claim(Path("/run/y/a.tif"))
    with pytest.raises(OutputError, match=r"/run/x/a.tiff: wanted names of its own"):
        claims.claim(Path("/run/x/a.tiff"))


def test_names_in_one_folder_are_claimed_too() -> None:
    claims = Claims(OutputNames(folder=Path("/out")))
    claims.claim(Path("/run/a_b.tif"))
    with pytest.raises(OutputError, match=r"found those of /run/a_b.tif at /out/_run_a_b"):
        claims.claim(Path("/run/a/b.tif"))


def test_the_oldest_claims_are_forgotten_first() -> None:
    claims = Claims(OutputNames(), remembered=2)
    for name in ("a", "b", "c"):
        claims.claim(Path(f"/run/x/{name}.tif"))
    claims.claim(Path("/run/y/a.tif"))
    with pytest.raises(OutputError):
        claims.claim(Path("/run/y/c.tif"))
