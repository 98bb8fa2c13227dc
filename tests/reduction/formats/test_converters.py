"""Calibrations from Fit2D, older SAXSdog and Nika."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import CalibrationError, SchemaError
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.reduction.formats.converters import conversion, convert
from saxs_bluesky.schemas import default_document, load_schema

REFINED = """\
INFO: Refined Beam centre =  387.772  808.370 (X/Y pixels)
INFO: Refined Beam centre =  66.697  139.040 (X/Y mm)
INFO: Refined sample to detector distance =  1031.657  mm
INFO: Refined tilt plane rotation angle =  73.569  degrees
INFO: Refined tilt angle =  -0.560  degrees
INFO: Refined wavelength =  1.5400  Angstroms
"""

BEST_FIT = """\
INFO: Best fit beam centre (X/Y mm) = 66.78356 138.9544
INFO: Best fit beam centre (X/Y pixels) = 388.2765 807.8745
INFO: Best fit angle of tilt plane rotation (degrees) = 73.59509
INFO: Best fit angle of tilt (degrees) = -10.00601
"""

NIKA = """\
BeamCenterX = 387.272
BeamCenterY = 234.13
SampleToCCDDistance = 1031.657
Wavelength = 1.54
HorizontalTilt = 3
VerticalTilt = -4
PixelSizeX = 0.172
PixelSizeY = 0.1
"""

FLAT: dict[str, Any] = {
    "Title": "from 2014",
    "PixelPerRadialElement": 2,
    "Imagesize": [619, 487],
    "Tilt": {"TiltRotDeg": 73.569, "TiltAngleDeg": -0.56},
    "MaskFile": "AAA.msk",
    "PolarizationCorrection": {"Fraction": 0.9, "Angle": 10},
    "PixelSizeMicroM": [172.0],
    "Wavelength": 1.2,
    "DedectorDistanceMM": 1031.657,
    "BeamCenter": [308.37, 387.772],
    "Oversampling": 5,
}


def defaults() -> dict[str, Any]:
    document: dict[str, Any] = default_document(load_schema("calibration"))
    return document


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


# Fit2D


def test_refined_values_of_fit2d_are_put_into_the_defaults() -> None:
    expected = defaults()
    expected["Geometry"] |= {
        "Tilt": {"TiltRotDeg": 73.569, "TiltAngleDeg": -0.56},
        "BeamCenter": [808.37, 387.772],
        "DedectorDistanceMM": 1031.657,
    }
    assert convert(REFINED, "fit.txt") == expected | {"Wavelength": 1.54}


def test_best_fit_values_of_fit2d_leave_distance_and_wavelength_to_the_template(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    converted = convert(BEST_FIT, "fit.txt", template=document)
    assert converted["Geometry"] == {
        "Tilt": {"TiltRotDeg": 73.59509, "TiltAngleDeg": -10.00601},
        "BeamCenter": [807.8745, 388.2765],
        "DedectorDistanceMM": 200.0,
        "PixelSizeMicroM": [1000.0],
        "Imagesize": [60, 80],
    }
    assert converted["Title"] == "small"
    assert converted["Masks"][0]["qStop"] == 20.0
    assert document == before


@pytest.mark.parametrize(("text", "center"), [(REFINED + BEST_FIT, 388.2765), (BEST_FIT + REFINED, 387.772)])
def test_last_line_of_fit2d_wins_whichever_generation(text: str, center: float) -> None:
    geometry = convert(text, "fit.txt")["Geometry"]
    assert geometry["BeamCenter"][1] == center
    assert geometry["DedectorDistanceMM"] == 1031.657


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("INFO:Refined  Beam  centre=387.772,808.37(X/Y pixels)", "BeamCenter", [808.37, 387.772]),
        ("  info: best fit beam center ( X/Y pixels ) = 3.87772E+02 8.0837D2", "BeamCenter", [808.37, 387.772]),
        ("INFO: Best fit beam centre (X/Y pixels) = -12.5 -3", "BeamCenter", [-3.0, -12.5]),
        ("INFO: Refined sample to detector distance = 1031.657mm", "DedectorDistanceMM", 1031.657),
        ("INFO: Best fit sample to detector distance (mm) = 1031.657\r", "DedectorDistanceMM", 1031.657),
        ("Sample to detector distance = .5 mm", "DedectorDistanceMM", 0.5),
        ("INFO: Pixel size = 172.0 100.0 microns (X/Y)", "PixelSizeMicroM", [100.0, 172.0]),
        ("INFO: Pixel sizes (X/Y microns) = 172", "PixelSizeMicroM", [172.0, 172.0]),
    ],
)
def test_spacing_and_wording_of_fit2d_may_vary(line: str, name: str, value: object) -> None:
    assert convert(line, "fit.txt")["Geometry"][name] == value


@pytest.mark.parametrize(
    "line",
    [
        "INFO: Starting tilt angle = 5.0 degrees",
        "INFO: Estimated error of tilt angle = 5.0 degrees",
        "INFO: Refined Beam centre = 66.697 139.040 (X/Y mm)",
    ],
)
def test_lines_of_fit2d_that_are_no_results_are_passed_over(line: str) -> None:
    assert convert(REFINED + line, "fit.txt") == convert(REFINED, "fit.txt")
    with pytest.raises(CalibrationError, match=r"fit\.txt: wanted Fit2D text .* found text that begins with 'INFO: "):
        convert(line, "fit.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("INFO: Refined tilt angle = *******  degrees", r"line 1: wanted a number after '=', found '\*\*\*\*"),
        ("\nINFO: Refined Beam centre = 387.772 (X/Y pixels)", "line 2: wanted 2 numbers after '=', found '387.772"),
        ("INFO: Refined sample to detector distance = 1.03 m", "line 1: wanted the distance in mm, found 'm'"),
        ("INFO: Refined wavelength = 0.154 nm", "line 1: wanted the wavelength in angstrom, found 'nm'"),
        ("INFO: Refined tilt angle = 0.01 rad", "line 1: wanted the tilt in deg, found 'rad'"),
        ("INFO: Refined tilt angle = 1.2.3 degrees", r"line 1: wanted a number after '=', found '1\.2\.3 degrees'"),
    ],
)
def test_line_of_fit2d_that_cannot_be_read_is_named(line: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=rf"fit\.txt: {message}"):
        convert(line, "fit.txt")


def test_fit2d_text_of_a_calibration_gives_that_calibration(shared_data: Path) -> None:
    document = json.loads((shared_data / "calibration_tilt10.json").read_text())
    geometry = document["Geometry"]
    y, x = geometry["BeamCenter"]
    text = (
        f"INFO: Refined Beam centre =  {x:.3f}  {y:.3f} (X/Y pixels)\n"
        f"INFO: Refined sample to detector distance =  {geometry['DedectorDistanceMM']:.3f}  mm\n"
        f"INFO: Refined tilt plane rotation angle =  {geometry['Tilt']['TiltRotDeg']:.3f}  degrees\n"
        f"INFO: Refined tilt angle =  {geometry['Tilt']['TiltAngleDeg']:.3f}  degrees\n"
        f"INFO: Refined wavelength =  {document['Wavelength']:.4f}  Angstroms\n"
    )
    converted = convert(text, "fit.txt")
    assert converted["Geometry"] == geometry
    assert converted["Wavelength"] == document["Wavelength"]
    assert convert(text, "fit.txt", template=document) == document


# SAXSdog


def test_flat_calibration_is_carried_over_to_the_nested_form() -> None:
    expected = defaults() | {
        "Title": "from 2014",
        "Wavelength": 1.2,
        "PolarizationCorrection": {"Fraction": 0.9, "Angle": 10},
        "Geometry": {
            "Tilt": {"TiltRotDeg": 73.569, "TiltAngleDeg": -0.56},
            "BeamCenter": [308.37, 387.772],
            "DedectorDistanceMM": 1031.657,
            "PixelSizeMicroM": [172.0],
            "Imagesize": [619, 487],
        },
    }
    expected["Masks"][0] |= {"MaskFile": "AAA.msk", "Oversampling": 5, "PixelPerRadialElement": 2}
    assert convert(json.dumps(FLAT), "old.json") == expected


def test_mask_of_a_flat_calibration_takes_the_place_of_the_first_of_the_template(document: dict[str, Any]) -> None:
    document["Masks"].append({"MaskFile": "second.msk"})
    first, second = convert(json.dumps(FLAT), "old.json", template=document)["Masks"]
    assert (first["MaskFile"], first["Oversampling"], first["PixelPerRadialElement"]) == ("AAA.msk", 5, 2)
    assert first["qStop"] == 20.0
    assert second["MaskFile"] == "second.msk"


def test_flat_calibration_makes_a_mask_where_the_template_has_none(document: dict[str, Any]) -> None:
    template = document | {"Masks": [], "Slices": [{"CutPosition": 3}]}
    (mask,) = convert(json.dumps(FLAT), "old.json", template=template)["Masks"]
    assert mask["MaskFile"] == "AAA.msk"


@pytest.mark.parametrize("nothing", [None, False, 0, {}])
def test_flat_calibration_without_tilt_and_polarization_clears_those_of_the_template(nothing: object) -> None:
    template = convert(json.dumps(FLAT), "old.json")
    flat = FLAT | {"Tilt": nothing, "PolarizationCorrection": None, "MaskFile": None}
    converted = convert(json.dumps(flat), "old.json", template=template)
    assert converted["Geometry"]["Tilt"] == {"TiltRotDeg": 0, "TiltAngleDeg": 0}
    assert "PolarizationCorrection" not in converted
    assert converted["Masks"][0]["MaskFile"] == ""


def test_flat_tilt_that_is_a_number_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"old\.json: Tilt: wanted an object, or null for none, found 5"):
        convert(json.dumps(FLAT | {"Tilt": 5}), "old.json")


def test_unknown_key_of_a_flat_calibration_is_named() -> None:
    with pytest.raises(SchemaError, match=r'old\.json: unknown key "Wavelenght", did you mean "Wavelength"\?'):
        convert(json.dumps(FLAT | {"Wavelenght": 1}), "old.json")


def test_nested_calibration_keeps_its_values_over_the_template(document: dict[str, Any]) -> None:
    source = {
        "Geometry": {"BeamCenter": [1.5, 2.5], "DetectorDistanceMM": 300, "Tilt": {"TiltAngleDeg": 3}},
        "Masks": [{"MaskFile": "a.msk"}, {"MaskFile": "b.msk"}],
    }
    document["Geometry"]["Tilt"] = {"TiltAngleDeg": 1, "TiltRotDeg": 20}
    converted = convert(json.dumps(source), "cal.json", template=document)
    assert converted["Geometry"] == {
        "Tilt": {"TiltAngleDeg": 3, "TiltRotDeg": 20},
        "BeamCenter": [1.5, 2.5],
        "DedectorDistanceMM": 300,
        "PixelSizeMicroM": [1000.0],
        "Imagesize": [60, 80],
    }
    assert [mask["MaskFile"] for mask in converted["Masks"]] == ["a.msk", "b.msk"]
    assert converted["Masks"][0]["qStop"] == 5.0
    assert converted["Wavelength"] == 1.54


def test_other_spellings_in_flat_calibration_and_template_meet(document: dict[str, Any]) -> None:
    flat = without(FLAT, "DedectorDistanceMM", "Imagesize") | {"DetectorDistanceMM": 12.5, "ImageSize": [619, 487]}
    document["Geometry"]["ImageSize"] = document["Geometry"].pop("Imagesize")
    geometry = convert(json.dumps(flat), "old.json", template=document)["Geometry"]
    assert geometry["DedectorDistanceMM"] == 12.5
    assert geometry["Imagesize"] == [619, 487]
    assert "DetectorDistanceMM" not in geometry
    assert "ImageSize" not in geometry


def test_calibration_with_a_byte_order_mark_is_read() -> None:
    assert convert("\ufeff" + json.dumps(FLAT), "old.json") == convert(json.dumps(FLAT), "old.json")


def test_part_of_a_calibration_changes_that_part(document: dict[str, Any]) -> None:
    assert convert('{"Wavelength": 0.7}', "part.json", template=document)["Wavelength"] == 0.7


# Nika


def test_nika_values_follow_the_documented_formulas() -> None:
    converted = convert(NIKA, "nika.txt")
    a, b = math.sin(math.radians(-3)), math.sin(math.radians(-4))
    geometry = converted["Geometry"]
    assert geometry["BeamCenter"] == [808.37, 387.772]  # 1043 - 234.13 - 0.5; 387.272 + 0.5
    assert geometry["DedectorDistanceMM"] == 1031.657
    assert geometry["PixelSizeMicroM"] == [100.0, 172.0]
    assert geometry["Tilt"]["TiltAngleDeg"] == pytest.approx(math.degrees(math.asin(math.hypot(a, b))), rel=1e-11)
    assert geometry["Tilt"]["TiltRotDeg"] == pytest.approx(math.degrees(math.atan2(b, a)), rel=1e-11)
    assert converted["Wavelength"] == 1.54


@pytest.mark.parametrize(
    ("horizontal", "vertical", "angle", "rotation"), [(-30, 0, 30, 0), (0, 30, 30, 90), (30, 0, 30, 180), (0, 0, 0, 0)]
)
def test_single_tilts_of_nika_point_along_the_axes(
    horizontal: float, vertical: float, angle: float, rotation: float
) -> None:
    tilt = convert(f"HorizontalTilt = {horizontal}\nVerticalTilt = {vertical}", "nika.txt")["Geometry"]["Tilt"]
    assert tilt == pytest.approx({"TiltAngleDeg": angle, "TiltRotDeg": rotation})


def test_rows_that_nika_counts_from_are_those_of_the_template(document: dict[str, Any]) -> None:
    converted = convert("BeamCenterX = 30.1\nBeamCenterY = 34.2", "nika.txt", template=document)
    assert converted["Geometry"]["BeamCenter"] == [25.3, 30.6]  # 60 - 34.2 - 0.5; 30.1 + 0.5


def test_nika_pixel_of_the_beam_centre_is_the_one_with_the_smallest_q(document: dict[str, Any]) -> None:
    converted = convert("BeamCenterX = 30\nBeamCenterY = 34", "nika.txt", template=document)
    q = Calibration.from_dict(converted).geometry.q_of_pixels()
    assert np.argwhere(q == q.min()).tolist() == [[34, 30]]
    assert q[34, 30] == 0


def test_nika_values_as_json_and_in_any_case_are_the_same() -> None:
    values = dict(line.lower().split(" = ") for line in NIKA.splitlines())
    as_numbers = {name: float(value) for name, value in values.items()}
    assert convert(json.dumps(as_numbers), "nika.json") == convert(NIKA, "nika.txt")
    assert convert(json.dumps(values), "nika.json") == convert(NIKA, "nika.txt")
    assert convert(NIKA.upper().replace("\n", ";\r"), "nika.txt") == convert(NIKA, "nika.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BeamCenterX = 3", r"nika\.txt: wanted BeamCenterX and BeamCenterY, found BeamCenterX alone"),
        ("VerticalTilt = 3", "wanted HorizontalTilt and VerticalTilt, found VerticalTilt alone"),
        ("SampleToCCDDistance = 1 m", "SampleToCCDDistance: wanted a number, found '1 m'"),
        ("HorizontalTilt = 1e999\nVerticalTilt = 0", "HorizontalTilt: wanted a number, found '1e999'"),
        ('{"SampleToCCDDistance": true}', "SampleToCCDDistance: wanted a number, found 'True'"),
        ("HorizontalTilt = 80\nVerticalTilt = 80", "tilt below 90 degrees, found 80.0 and 80.0"),
    ],
)
def test_what_is_wrong_with_nika_values_is_named(text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        convert(text, "nika.txt")


# What is none of these, and what is common to all


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found nothing in it"),
        ("\n \n", "found nothing in it"),
        ("Dear diary,\nthe beam was back", "found text that begins with 'Dear diary,'"),
        ("[1, 2]", r"found text that begins with '\[1, 2\]'"),
        ("{}", "found a JSON object with nothing in it"),
        ('{"command": "stat", "time": 1}', "found a JSON object with command, time"),
    ],
)
def test_unknown_content_is_answered_with_the_formats_wanted(text: str, found: str) -> None:
    formats = r"x: wanted Fit2D text .* a SAXSdog calibration .* Nika values .* pyFAI \.poni, "
    with pytest.raises(CalibrationError, match=formats + found):
        convert(text, "x")


def test_broken_json_is_named() -> None:
    with pytest.raises(SchemaError, match=r"x\.json: wanted JSON, found .* at line 1"):
        convert('{"Geometry": ', "x.json")


def test_broken_template_is_named() -> None:
    with pytest.raises(SchemaError, match=r"template: Geometry: wanted an object, found \[\]"):
        convert(REFINED, "fit.txt", template={"Geometry": [], "Wavelength": 1})


def test_impossible_value_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"fit\.txt: Geometry\.Tilt\.TiltAngleDeg: wanted a number below 90, found"):
        convert("INFO: Refined tilt angle = 91 degrees", "fit.txt")


def test_slice_that_lies_outside_the_new_image_is_named(document: dict[str, Any]) -> None:
    document["Slices"] = [{"CutPosition": 60}]
    with pytest.raises(CalibrationError, match=r"Slices\[0\]\.CutPosition: wanted a number from 1 to 40"):
        convert('{"Imagesize": [40, 80]}', "old.json", template=document)


@pytest.mark.parametrize(
    ("text", "source", "assumed"),
    [
        (REFINED, "Fit2D text", ("PixelSizeMicroM", "Imagesize")),
        (BEST_FIT, "Fit2D text", ("DedectorDistanceMM", "PixelSizeMicroM", "Imagesize", "Wavelength")),
        (NIKA, "Nika values", ("Imagesize",)),
        (json.dumps(FLAT), "an older SAXSdog calibration", ()),
        (json.dumps(defaults()), "a SAXSdog calibration", ()),
    ],
)
def test_conversion_says_what_it_read_and_what_it_assumed(text: str, source: str, assumed: tuple[str, ...]) -> None:
    converted = conversion(text, "x")
    assert (converted.source, converted.assumed) == (source, assumed)
    assert conversion(text, "x", template=defaults()).assumed == ()


def test_rows_of_an_image_serve_nika_and_are_not_assumed() -> None:
    converted = conversion("BeamCenterX = 30.1\nBeamCenterY = 34.2\n", "n.txt", shape=(60, 80))
    assert converted.document["Geometry"]["BeamCenter"] == [25.3, 30.6]
    assert converted.document["Geometry"]["Imagesize"] == [60, 80]
    assert "Imagesize" not in converted.assumed
