"""``saxsdog`` where there are curves already: whose they are, and what they were made with."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.reduction import Calibration, Reducer, read_chi, read_frame, stamp_of, write_chi, write_frame


def saxsdog(beamtime: Path, *options: str) -> int:
    return main(["-c", str(beamtime / "cal.json"), *options, str(beamtime / "data")])


def edit(beamtime: Path, **changes: Any) -> None:
    path = beamtime / "cal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def summary(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def put_mask(beamtime: Path, row: int) -> None:
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[row] = 1
    np.save(beamtime / "mask.npy", mask)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_curves_say_which_image_they_are_of(beamtime: Path, threads: str) -> None:
    assert saxsdog(beamtime, "-t", threads) == 0
    wanted = Reducer(Calibration.from_file(beamtime / "cal.json")).provenance
    for name in ("a.chi", "a_cS1.chi"):
        found = read_chi(beamtime / "work" / name).provenance
        assert found is not None
        assert found.image == str(beamtime / "data" / "a.tif")
        assert found.image_stamp == stamp_of((beamtime / "data" / "a.tif").stat())
        assert (found.calibration_sha256, found.mask_sha256) == (wanted.calibration_sha256, wanted.mask_sha256)


def test_curves_of_another_image_are_not_taken_for_its_own(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (beamtime / "data" / "b.tif").unlink()
    assert saxsdog(beamtime) == 0
    before = (beamtime / "work" / "a.chi").read_bytes()
    capsys.readouterr()
    # In a folder beside, so that its curves go to the same place; and with another suffix.
    (beamtime / "data2").mkdir()
    write_frame(beamtime / "data2" / "a.tif", np.full((60, 80), 3))
    assert main(["-c", str(beamtime / "cal.json"), "-r", str(beamtime / "data2")]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "1 images: 0 reduced, 0 skipped, 1 failed"
    assert (
        f"{beamtime}/data2/a.tif: wanted names of its own for its curves, found those of {beamtime}/data/a.tif"
    ) in output.err
    write_frame(beamtime / "data" / "a.tiff", np.full((60, 80), 3))
    assert saxsdog(beamtime, "-r") == 1
    assert summary(capsys) == "3 images: 0 reduced, 2 skipped, 1 failed"
    assert (beamtime / "work" / "a.chi").read_bytes() == before


def test_curves_of_an_image_that_has_moved_are_made_anew(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saxsdog(beamtime, "-n") == 0
    shutil.move(beamtime / "data", beamtime / "moved")
    capsys.readouterr()
    assert main(["-c", str(beamtime / "cal.json"), "-n", "-r", str(beamtime / "moved")]) == 0
    assert summary(capsys) == "2 images: 2 reduced, 0 skipped, 0 failed"
    found = read_chi(beamtime / "work" / "a.chi").provenance
    assert found is not None
    assert found.image == str(beamtime / "moved" / "a.tif")


@pytest.mark.parametrize("change", ["calibration", "mask", "nothing that counts"])
def test_resume_notices_what_curves_are_made_with(
    beamtime: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    put_mask(beamtime, 30)
    document = json.loads((beamtime / "cal.json").read_text())
    edit(beamtime, Masks=[document["Masks"][0] | {"MaskFile": "mask.npy"}])
    assert saxsdog(beamtime) == 0
    assert saxsdog(beamtime, "-r") == 0
    assert summary(capsys) == "3 images: 0 reduced, 3 skipped, 0 failed"
    match change:
        case "calibration":
            edit(beamtime, Wavelength=1.55)
        case "mask":
            put_mask(beamtime, 31)
        case _:
            edit(beamtime, Title="another", Threads=2)
    assert saxsdog(beamtime, "-r") == 0
    done = 0 if change == "nothing that counts" else 3
    assert summary(capsys) == f"3 images: {done} reduced, {3 - done} skipped, 0 failed"
    curve = Reducer(Calibration.from_file(beamtime / "cal.json")).reduce(
        read_frame(beamtime / "data" / "a.tif").image, count_cutoff=1000
    )[0]
    np.testing.assert_array_equal(read_chi(beamtime / "work" / "a.chi").curve.intensity, curve.intensity)


def test_image_that_was_replaced_with_its_times_is_noticed(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = beamtime / "data" / "a.tif"
    assert saxsdog(beamtime) == 0
    status = image.stat()
    write_frame(beamtime / "new.tif", np.full((60, 80), 3))
    os.truncate(beamtime / "new.tif", status.st_size)
    os.utime(beamtime / "new.tif", ns=(status.st_atime_ns, status.st_mtime_ns))
    (beamtime / "new.tif").replace(image)
    capsys.readouterr()
    saxsdog(beamtime, "-r")
    assert "2 skipped" in summary(capsys)


def test_curves_that_do_not_say_what_they_are_made_of_are_made_anew(
    beamtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert saxsdog(beamtime) == 0
    calibration = Calibration.from_file(beamtime / "cal.json")
    for name in ("a.chi", "a_cS1.chi", "b_cS1.chi"):
        path = beamtime / "work" / name
        write_chi(path, read_chi(path).curve, calibration)  # as an earlier version did
    capsys.readouterr()
    assert saxsdog(beamtime, "-r") == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "3 images: 2 reduced, 1 skipped, 0 failed"
    assert output.err == ("saxsdog: 2 images had curves that do not say what they were made of; they were made anew\n")
    assert saxsdog(beamtime, "-r") == 0
    assert capsys.readouterr().err == ""


def test_where_overwriting_is_off_curves_of_the_image_are_kept_and_told_of(
    beamtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert saxsdog(beamtime) == 0
    before = (beamtime / "work" / "a.chi").read_bytes()
    edit(beamtime, OverwriteFiles=False)
    assert saxsdog(beamtime) == 0
    assert capsys.readouterr().err == ""
    edit(beamtime, Wavelength=1.55)
    write_chi(
        beamtime / "work" / "b.chi",
        read_chi(beamtime / "work" / "b.chi").curve,
        Calibration.from_file(beamtime / "cal.json"),
    )
    capsys.readouterr()
    assert saxsdog(beamtime) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "3 images: 0 reduced, 3 skipped, 0 failed"
    assert output.err.splitlines() == [
        "saxsdog: 1 image has curves that do not say what they were made of; they were kept (OverwriteFiles: false)",
        "saxsdog: 2 images have curves of another calibration, mask or content of the image; they were kept "
        "(OverwriteFiles: false)",
    ]
    assert (beamtime / "work" / "a.chi").read_bytes() == before


def test_where_overwriting_is_off_curves_of_another_image_are_a_failure(
    beamtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(beamtime, OverwriteFiles=False)
    assert saxsdog(beamtime) == 0
    before = (beamtime / "work" / "a.chi").read_bytes()
    (beamtime / "data" / "a.tif").unlink()
    write_frame(beamtime / "data" / "a.tiff", np.full((60, 80), 3))
    capsys.readouterr()
    assert saxsdog(beamtime) == 1
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "3 images: 0 reduced, 2 skipped, 1 failed"
    assert f"found those of {beamtime}/data/a.tif" in output.err
    assert (beamtime / "work" / "a.chi").read_bytes() == before
