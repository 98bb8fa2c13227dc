"""The schema of calibrations: what it accepts, what it says of the rest, and its defaults."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from saxs_bluesky.errors import SchemaError
from saxs_bluesky.schemas import default_document, fill_defaults, load_schema, parse_json, validate

SCHEMA = load_schema("calibration")


def walk(schema: dict[str, Any]) -> list[dict[str, Any]]:
    parts = [schema, *schema.get("properties", {}).values()]
    if "items" in schema:
        parts.append(schema["items"])
    return [schema] + [deeper for part in parts[1:] for deeper in walk(part)]


def test_schema_is_valid_in_its_draft() -> None:
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    Draft202012Validator.check_schema(SCHEMA)


def test_every_documented_key_is_there() -> None:
    properties = SCHEMA["properties"]
    assert set(properties) == {
        "Title", "Geometry", "Masks", "Slices", "Wavelength", "PolarizationCorrection",
        "Directory", "Threads", "Live-Filelisting", "OverwriteFiles", "GISAXSmode",
    }  # fmt: skip
    geometry = properties["Geometry"]["properties"]
    assert set(geometry) == {"Tilt", "BeamCenter", "DedectorDistanceMM", "PixelSizeMicroM", "Imagesize"}
    assert set(geometry["Tilt"]["properties"]) == {"TiltRotDeg", "TiltAngleDeg"}
    assert set(properties["Masks"]["items"]["properties"]) == {
        "MaskFile", "Oversampling", "PixelPerRadialElement", "Name", "qStart", "qStop", "Phi-mode",
    }  # fmt: skip
    assert set(properties["Slices"]["items"]["properties"]) == {
        "Direction", "Plane", "CutPosition", "CutMargin", "IncidentAngle", "MaskRef", "CutOrigin",
    }  # fmt: skip


def test_every_key_is_described_and_every_physical_number_has_a_unit() -> None:
    for part in walk(SCHEMA):
        for name, value in part.get("properties", {}).items():
            assert value.get("description"), name
    tilt = SCHEMA["properties"]["Geometry"]["properties"]["Tilt"]["properties"]
    assert tilt["TiltAngleDeg"]["x-unit"] == "degree"
    assert SCHEMA["properties"]["Wavelength"]["x-unit"] == "angstrom"


def test_editor_annotations() -> None:
    mask_file = SCHEMA["properties"]["Masks"]["items"]["properties"]["MaskFile"]
    assert (mask_file["x-widget"], mask_file["x-display"]) == ("file", "mask-preview")
    assert SCHEMA["properties"]["Directory"]["x-widget"] == "remote-directory"


def test_default_document_is_valid_and_complete() -> None:
    document = default_document(SCHEMA)
    validate(document, SCHEMA, "default")
    assert document["Geometry"]["Imagesize"] == [1043, 981]
    assert document["Masks"] == [
        {"MaskFile": "", "Oversampling": 3, "PixelPerRadialElement": 1, "Name": "", "qStart": 0.0, "qStop": 5.0,
         "Phi-mode": False}
    ]  # fmt: skip
    assert "PolarizationCorrection" not in document


def test_default_documents_do_not_share_parts_with_the_schema() -> None:
    before = copy.deepcopy(SCHEMA)
    document = default_document(SCHEMA)
    document["Geometry"]["BeamCenter"][0] = -1
    document["Masks"].append("spoilt")
    assert before == SCHEMA


def test_filling_defaults_keeps_what_is_there(document: dict[str, Any]) -> None:
    filled = fill_defaults(document, SCHEMA)
    assert filled["Geometry"]["Tilt"] == {"TiltRotDeg": 0.0, "TiltAngleDeg": 0.0}
    assert filled["Masks"][0]["qStop"] == 20.0
    assert filled["Threads"] == 1
    assert "Tilt" not in document["Geometry"]


def set_in(document: dict[str, Any], path: list[Any], value: Any) -> None:
    for part in path[:-1]:
        document = document[part]
    document[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["Masks", 0, "Oversamplin"], 3, 'cal.json: Masks[0]: unknown key "Oversamplin", did you mean "Oversampling"?'),
        (["wavelength"], 1.0, 'cal.json: unknown key "wavelength", did you mean "Wavelength"?'),
        (["Zzz"], 1.0, 'cal.json: unknown key "Zzz" (known: Title, Geometry, '),
        (["Wavelength"], "1.54", 'cal.json: Wavelength: wanted a finite number, found "1.54"'),
        (["Wavelength"], True, "cal.json: Wavelength: wanted a finite number, found true"),
        (["Wavelength"], float("nan"), "cal.json: Wavelength: wanted a finite number, found NaN"),
        (["Wavelength"], 10**400, "cal.json: Wavelength: wanted a finite number, found 1000"),
        (["Wavelength"], 0, "cal.json: Wavelength: wanted a number not below 0.0001, found 0"),
        (["Geometry", "BeamCenter", 1], None, "Geometry.BeamCenter[1]: wanted a finite number, found null"),
        (["Geometry", "BeamCenter"], [1, 2, 3], "BeamCenter: wanted at most 2 entries, found 3: [1, 2, 3]"),
        (["Geometry", "PixelSizeMicroM"], [], "PixelSizeMicroM: wanted at least 1 entries, found 0: []"),
        (["Geometry", "Tilt"], {"TiltAngleDeg": 90}, "TiltAngleDeg: wanted a number below 90, found 90"),
        (["Geometry", "Tilt"], {"TiltRotDeg": 361}, "TiltRotDeg: wanted a number not above 360, found 361"),
        (["Masks", 0, "Oversampling"], 2.5, "Masks[0].Oversampling: wanted a whole number, found 2.5"),
        (["Masks", 0, "qStart"], -1, "Masks[0].qStart: wanted a number not below 0, found -1"),
        (["Slices"], [{"CutPosition": 1, "Direction": "z"}], 'Direction: wanted one of "x", "y", found "z"'),
        (["Slices"], [{}], 'Slices[0]: key "CutPosition" is missing'),
        (["Title"], ["x" * 100], "Title: wanted a text, found [\"xxx"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_place_wanted_and_found(
    document: dict[str, Any], path: list[Any], value: Any, message: str
) -> None:
    set_in(document, path, value)
    with pytest.raises(SchemaError) as caught:
        validate(document, SCHEMA, "cal.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_problems_are_told_at_once_and_each_once() -> None:
    with pytest.raises(SchemaError) as caught:
        validate({"Geometry": {}, "Titel": ""}, SCHEMA, "cal.json")
    text = str(caught.value)
    for missing in ("DedectorDistanceMM", "BeamCenter", "PixelSizeMicroM", "Imagesize", "Wavelength"):
        assert text.count(f'"{missing}" is missing') == 1
    assert '"Titel", did you mean "Title"?' in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "wanted JSON, found expecting property name"),
        (b"", "wanted JSON, found expecting value at line 1 column 1"),
        (b"\xff\xfe{}", "wanted JSON text in UTF-8"),
        (b"[1]", "wanted a JSON object, found a list"),
        (b"3", "wanted a JSON object, found a number"),
        (b'{"a": 1, "a": 2}', 'found "a" twice'),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "integer string conversion"),
    ],
)
def test_text_that_is_no_json_object_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=r"^cal\.json: ") as caught:
        parse_json(text, "cal.json")
    assert message in str(caught.value)


def test_parsed_json_is_what_was_written(document: dict[str, Any]) -> None:
    assert parse_json(json.dumps(document), "here") == document
