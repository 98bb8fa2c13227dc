"""What is written of a frame, and under which names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import OutputError
from saxs_bluesky.frame_job import Condition, CurveFiles, FrameName, OutputNameRegistry, OutputNames
from saxs_bluesky.reduction import Calibration, Curve, Reducer, read_chi, stamp_of, write_chi
from saxs_bluesky.support.output_folders import draft_name

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
    assert name.named_after(Path("/home"), one_folder=False) == Path(image)


def test_frame_without_a_file_needs_no_folder_where_all_go_to_one() -> None:
    name = FrameName("", 0, "primary", "pilatus", "0a1b2c3d4e", None)
    assert name.named_after(Path("/home"), one_folder=True) == Path("0a1b2c3d_pilatus_00000.frame")


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


def write_as_of(files: CurveFiles, image: Path, curves: list[Curve], reducer: Reducer, **more: Any) -> list[Path]:
    """Write curves that say what they are made of, as the reduction does."""
    known = {"image": str(image), "image_stamp": stamp_of(image.stat())} | more
    provenance = replace(reducer.provenance, **known)
    return list(files.write(image, np.zeros((60, 80)), curves, reducer.calibration, provenance))


def other_reducer(reducer: Reducer, **changes: Any) -> Reducer:
    return Reducer(Calibration.from_dict(dict(reducer.calibration.document) | changes))


def test_curves_are_current_that_say_so(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    files = CurveFiles()
    assert files.condition(image, reducer) is Condition.ABSENT
    write_as_of(files, image, curves, reducer)
    assert files.are_current(image, reducer)
    assert (
        files.condition(image, other_reducer(reducer, Slices=[{"CutPosition": 5}, {"CutPosition": 6}]))
        is Condition.ABSENT
    )


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"Wavelength": 1.55}, Condition.OUTDATED),
        ({"GISAXSmode": False, "PolarizationCorrection": {"Fraction": 0.9}}, Condition.OUTDATED),
        ({"Title": "another", "Threads": 3, "OverwriteFiles": False, "Live-Filelisting": False}, Condition.CURRENT),
    ],
)
def test_curves_are_not_current_when_their_numbers_would_be_others(
    image: Path, curves: list[Curve], reducer: Reducer, changes: dict[str, Any], condition: Condition
) -> None:
    write_as_of(CurveFiles(), image, curves, reducer)
    assert CurveFiles().condition(image, other_reducer(reducer, **changes)) is condition


def test_curves_of_another_content_of_a_mask_are_not_current(
    image: Path, curves: list[Curve], document: dict[str, Any], tmp_path: Path
) -> None:
    document["Slices"] = [{"CutPosition": 5}]
    document["Masks"][0]["MaskFile"] = "mask.npy"
    mask = np.zeros((60, 80), dtype=np.uint8)
    np.save(tmp_path / "mask.npy", mask)
    write_as_of(CurveFiles(), image, curves, Reducer(Calibration.from_dict(document, folder=tmp_path)))
    assert CurveFiles().are_current(image, Reducer(Calibration.from_dict(document, folder=tmp_path)))
    renamed = document | {"Masks": [document["Masks"][0] | {"MaskFile": "same.npy"}]}
    np.save(tmp_path / "same.npy", mask)
    assert CurveFiles().are_current(image, Reducer(Calibration.from_dict(renamed, folder=tmp_path)))
    mask[3, 4] = 1
    np.save(tmp_path / "mask.npy", mask)
    changed = Reducer(Calibration.from_dict(document, folder=tmp_path))
    assert CurveFiles().condition(image, changed) is Condition.OUTDATED


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("fault", ["cut short", "empty", "missing", "a folder", "a pipe"])
def test_one_curve_that_is_not_whole_is_enough(
    image: Path, curves: list[Curve], reducer: Reducer, which: int, fault: str
) -> None:
    chi = write_as_of(CurveFiles(), image, curves, reducer)[which]
    content = chi.read_bytes()
    chi.unlink()
    match fault:
        case "cut short":
            chi.write_bytes(content[:-1])
        case "empty":
            chi.write_bytes(b"")
        case "a folder":
            chi.mkdir()
        case "a pipe":
            os.mkfifo(chi)
        case _:
            pass
    assert CurveFiles().condition(image, reducer) is Condition.ABSENT
    # Where curves are never replaced, what is there is there.
    kept = Condition.ABSENT if fault == "missing" else Condition.CURRENT if fault == "cut short" else Condition.UNKNOWN
    assert CurveFiles(overwrite=False).condition(image, reducer) is kept


@pytest.mark.parametrize("which", [0, 1])
def test_curve_that_does_not_say_what_it_is_made_of_is_not_known(
    image: Path, curves: list[Curve], reducer: Reducer, which: int
) -> None:
    chi = write_as_of(CurveFiles(), image, curves, reducer)[which]
    write_chi(chi, curves[which], reducer.calibration)  # as an earlier version did
    assert CurveFiles().condition(image, reducer) is Condition.UNKNOWN
    write_as_of(CurveFiles(), image, curves, reducer, image_stamp=None)
    assert CurveFiles().condition(image, reducer) is Condition.OUTDATED


def test_curves_of_another_image_are_foreign(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    other = image.with_suffix(".tiff")
    other.write_bytes(image.read_bytes())
    write_as_of(CurveFiles(), image, curves, reducer)
    assert CurveFiles().condition(other, reducer) is Condition.FOREIGN
    assert CurveFiles(overwrite=False).condition(other, reducer) is Condition.FOREIGN


def test_image_that_is_found_through_a_link_is_the_same(
    image: Path, curves: list[Curve], reducer: Reducer, tmp_path: Path
) -> None:
    write_as_of(CurveFiles(), image, curves, reducer)
    (tmp_path / "link").symlink_to(image.parent)
    names = OutputNames(relative="../work")
    assert CurveFiles(names).are_current(tmp_path / "link" / "a.tif", reducer)
    OutputNameRegistry(names).claim(tmp_path / "link" / "a.tif")


@pytest.mark.parametrize("change", ["written", "replaced with its times", "gone"])
def test_curves_of_an_earlier_content_are_not_current(
    image: Path, curves: list[Curve], reducer: Reducer, change: str
) -> None:
    write_as_of(CurveFiles(), image, curves, reducer)
    status = image.stat()
    match change:
        case "written":
            image.write_bytes(b"TAKEN")
        case "replaced with its times":
            new = image.with_suffix(".new")
            new.write_bytes(b"TAKEN")
            os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
            new.replace(image)
        case _:
            image.unlink()
    assert CurveFiles().condition(image, reducer) is Condition.OUTDATED


# What a killed writer left


@pytest.mark.parametrize("stem", ["a", "a[1-9]", "a*", "a?b", "[!a]", "a_{b,c}", "näme"])
def test_remains_of_a_frame_are_removed_and_no_others(tmp_path: Path, stem: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    drafts = [draft_name(f"{stem}{ending}") for ending in (".chi", "_cS1.chi", ".svg", ".png")]
    # Those of earlier versions too.
    mine = [
        *drafts,
        f".{stem}.chi.12-34.tmp",
        f".{stem}_cS1.chi.56-78.tmp",
        f".{stem}.svg.12-34.tmp",
        f".{stem}.png.1-2.tmp",
    ]
    others = [
        f"{stem}.chi",
        f"{stem}_cS1.chi",
        ".zz.chi.12-34.tmp",
        ".a5.chi.12-34.tmp",
        ".aab.chi.12-34.tmp",
        draft_name("a5.chi"),
    ]
    for name in mine + others:
        (work / name).write_text("")
    CurveFiles().clean_up(tmp_path / "data" / f"{stem}.tif", ["R0", "S1"])
    assert sorted(path.name for path in work.iterdir()) == sorted(others)


@pytest.mark.parametrize("neighbour", ["run_10", "run_1_c2", "run_1_cat", "run_1.b", "run_1.chi"])
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
    claims = OutputNameRegistry(OutputNames())
    claims.claim(Path("/run/x/a.tif"))
    claims.claim(Path("/run/x/a.tif"))  # overwritten
    claims.claim(Path("/run/x/b.tif"))
    with pytest.raises(OutputError, match=r"/run/y/a.tif: wanted names .* found those of /run/x/a.tif at /run/work/a"):
        claims.claim(Path("/run/y/a.tif"))
    with pytest.raises(OutputError, match=r"/run/x/a.tiff: wanted names of its own"):
        claims.claim(Path("/run/x/a.tiff"))


def test_names_in_one_folder_are_claimed_too() -> None:
    claims = OutputNameRegistry(OutputNames(folder=Path("/out")))
    claims.claim(Path("/run/a_b.tif"))
    with pytest.raises(OutputError, match=r"found those of /run/a_b.tif at /out/_run_a_b"):
        claims.claim(Path("/run/a/b.tif"))


def test_the_oldest_claims_are_forgotten_first() -> None:
    claims = OutputNameRegistry(OutputNames(), remembered=2)
    for name in ("a", "b", "c"):
        claims.claim(Path(f"/run/x/{name}.tif"))
    claims.claim(Path("/run/y/a.tif"))
    with pytest.raises(OutputError):
        claims.claim(Path("/run/y/c.tif"))


def test_curves_that_are_there_belong_to_the_image_that_they_name(
    image: Path, curves: list[Curve], reducer: Reducer, tmp_path: Path
) -> None:
    write_as_of(CurveFiles(), image, curves, reducer)
    other = tmp_path / "other" / "a.tif"
    with pytest.raises(OutputError, match=rf"{other}: wanted names .* found those of {image} at .*work/a; .*-R.*-o"):
        OutputNameRegistry(OutputNames()).claim(other)
    claims = OutputNameRegistry(OutputNames())
    with pytest.raises(OutputError):
        claims.claim(other)
    claims.claim(image)  # also when the other one came first
    image.rename(image.with_name("moved.tif"))
    OutputNameRegistry(OutputNames()).claim(other)


def test_curves_that_are_never_replaced_stay_in_the_way(
    image: Path, curves: list[Curve], reducer: Reducer, tmp_path: Path
) -> None:
    write_as_of(CurveFiles(), image, curves, reducer)
    image.unlink()
    OutputNameRegistry(OutputNames()).claim(image.with_suffix(".tiff"))
    with pytest.raises(OutputError, match="found those of"):
        OutputNameRegistry(OutputNames(), keep=True).claim(image.with_suffix(".tiff"))
    OutputNameRegistry(OutputNames(), keep=True).claim(tmp_path / "moved" / "a.tif")  # its folder was moved


def test_curves_that_name_no_image_belong_to_nobody(image: Path, curves: list[Curve], reducer: Reducer) -> None:
    write(CurveFiles(), image, curves, reducer)
    OutputNameRegistry(OutputNames()).claim(image.with_suffix(".tiff"))
