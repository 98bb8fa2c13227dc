"""The command ``saxsconverter``: what it writes, what it leaves alone, what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyFAI
import pytest

from saxs_bluesky.cli.saxsconverter import main
from saxs_bluesky.reduction import Calibration, write_frame

FIT2D = """\
INFO: Refined Beam centre =  31.5  24.25 (X/Y pixels)
INFO: Refined sample to detector distance =  210.5  mm
"""


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    path = tmp_path / "fit2d.log"
    path.write_text(FIT2D)
    return path


@pytest.fixture
def cal(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "cal.json"
    path.write_text(json.dumps(document | {"Threads": 7}))
    return path


def test_new_calibration_is_written_and_what_was_assumed_is_said(
    fit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.json"
    assert main([str(fit), str(out)]) == 0
    assert out.read_text().startswith('{\n  "Title": ""')
    assert Calibration.from_file(out).geometry.beam_center == (24.25, 31.5)
    assert capsys.readouterr().out == (
        f"{out}: written from {fit} (Fit2D text); not said there and so assumed, please check: "
        "PixelSizeMicroM [172.0, 172.0], Imagesize [1043, 981], Wavelength 1.54\n"
    )


def test_existing_calibration_is_updated_in_place(fit: Path, cal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Calibration.from_file(cal).document
    assert main([str(fit), str(cal)]) == 0
    after = json.loads(cal.read_text())
    assert after["Geometry"] == {
        **before["Geometry"],
        "BeamCenter": [24.25, 31.5],
        "DedectorDistanceMM": 210.5,
    }
    assert {**after, "Geometry": None} == {**before, "Geometry": None}
    assert capsys.readouterr().out == f"{cal}: updated from {fit} (Fit2D text)\n"


def test_template_goes_before_an_existing_calibration(
    fit: Path, cal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    out.write_text("to be replaced")
    assert main(["-t", str(cal), str(fit), str(out)]) == 0
    after = json.loads(out.read_text())
    assert after["Threads"] == 7
    assert after["Geometry"]["DedectorDistanceMM"] == 210.5
    assert capsys.readouterr().out == f"{out}: written from {fit} (Fit2D text), the rest from {cal}\n"


def test_old_calibration_is_brought_to_the_present_form_in_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    flat = {
        "BeamCenter": [24.25, 31.5],
        "DedectorDistanceMM": 210.5,
        "PixelSizeMicroM": [172.0],
        "Imagesize": [60, 80],
        "Wavelength": 1.2,
        "MaskFile": "a.msk",
        "Oversampling": 2,
        "PixelPerRadialElement": 1,
    }
    path.write_text(json.dumps(flat))
    assert main([str(path), str(path)]) == 0
    assert Calibration.from_file(path).masks[0].mask_file == "a.msk"
    assert capsys.readouterr().out == f"{path}: updated from {path} (an older SAXSdog calibration)\n"


def test_calibration_becomes_a_poni_that_pyfai_reads(cal: Path, tmp_path: Path) -> None:
    out = tmp_path / "cal.poni"
    assert main([str(cal), str(out)]) == 0
    integrator = pyFAI.load(str(out))
    assert integrator.dist == 0.2
    assert integrator.detector.max_shape == (60, 80)


def test_poni_updates_a_calibration(cal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poni = tmp_path / "a.poni"
    poni.write_text("Distance: 0.5\nPoni1: 0.01\nPoni2: 0.02\nRot1: 0\nRot2: 0\nRot3: 0\n")
    assert main([str(poni), str(cal)]) == 0
    assert json.loads(cal.read_text())["Geometry"]["BeamCenter"] == [50.0, 20.0]
    assert capsys.readouterr().out == f"{cal}: updated from {poni} (a pyFAI .poni file)\n"


def test_existing_poni_is_replaced(cal: Path, tmp_path: Path) -> None:
    out = tmp_path / "cal.PONI"
    out.write_text("Distance: 3\n")
    assert main([str(cal), str(out)]) == 0
    assert "Distance: 0.2\n" in out.read_text()


def test_fit2d_text_in_latin_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fit.txt"
    path.write_bytes("INFO: Refined wavelength = 1.2 Å\n".encode("latin-1"))
    assert main([str(path), str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["Wavelength"] == 1.2


def fails(arguments: list[Path], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command complains with."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.rstrip("\n")


def test_failure_leaves_the_calibration_and_nothing_else(
    cal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cal.read_bytes()
    bad = tmp_path / "bad.txt"
    bad.write_text("INFO: Refined tilt angle = 95 degrees")
    assert "TiltAngleDeg: wanted a number below 90" in fails([bad, cal], capsys)
    assert cal.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "cal.json"]


def test_broken_calibration_is_not_written_over(fit: Path, cal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cal.write_text('{"Geometry": ')
    assert fails([fit, cal], capsys).startswith(f"saxsconverter: {cal}: wanted JSON, found")
    assert cal.read_text() == '{"Geometry": '


def test_template_that_is_not_complete_is_named(fit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fails([Path("-t"), fit, fit, tmp_path / "out.json"], capsys)
    assert message == (
        f"saxsconverter: {fit}: wanted a complete calibration to start from, found none of PixelSizeMicroM, "
        "Imagesize, Wavelength"
    )


def test_other_endings_are_refused(fit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails([fit, tmp_path / "cal.txt"], capsys).endswith("wanted a name that ends in .json or .poni, found .txt")
    assert fails([fit, tmp_path / "cal"], capsys).endswith("found no ending")


def test_absent_source_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fails([tmp_path / "none.txt", tmp_path / "out.json"], capsys)
    assert message == f"saxsconverter: {tmp_path / 'none.txt'}: wanted a file to read, found No such file or directory"


def test_image_in_place_of_a_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "image.tif"
    image.write_bytes(b"II*\0\x08\0\0\0")
    assert fails([image, tmp_path / "out.json"], capsys).endswith("wanted text, found binary data")


def test_absent_folder_of_the_result_is_named(fit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "none" / "out.json"
    assert fails([fit, out], capsys).endswith(f"{out}: the calibration cannot be written (No such file or directory)")


def test_help_tells_what_is_kept_and_what_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "updated in place" in text
    assert "examples:" in text


PONI_1 = """\
PixelSize1: 0.000172
PixelSize2: 0.000172
Distance: 0.2
Poni1: 0.01
Poni2: 0.02
Rot1: 0.0
Rot2: 0.0
Rot3: 0.5235987755982988
Wavelength: 1e-10
"""


def test_poni_of_version_1_with_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.poni").write_text(PONI_1)
    arguments = [str(tmp_path / "a.poni"), str(tmp_path / "new.json")]
    assert main(arguments) == 2
    assert "give an image of the detector (--image FILE), or a template" in capsys.readouterr().err
    write_frame(tmp_path / "a.tif", np.zeros((195, 487)))
    assert main(["--image", str(tmp_path / "a.tif"), *arguments]) == 0
    geometry = json.loads((tmp_path / "new.json").read_text())["Geometry"]
    assert geometry["Imagesize"] == [195, 487]
    assert geometry["BeamCenter"] == pytest.approx([195 - 0.01 / 172e-6, 0.02 / 172e-6])
    captured = capsys.readouterr()
    assert captured.out.endswith("new.json: written from " + arguments[0] + " (a pyFAI .poni file)\n")
    assert captured.err.startswith(
        f"saxsconverter: {arguments[0]}: Rot3 turns the image about the beam, so that the lab"
    )
    assert "has Angle 30.0 in it" in captured.err
    assert captured.err.count("\n") == 1


def test_image_that_cannot_be_read_is_named(fit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-i", str(tmp_path / "gone.tif"), str(fit), str(tmp_path / "new.json")]) == 2
    assert "gone.tif: wanted an image, found No such file" in capsys.readouterr().err
    assert not (tmp_path / "new.json").exists()
