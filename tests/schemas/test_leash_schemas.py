"""The schemas of the SAXSdog network: valid in their draft, and every key described."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from saxs_bluesky.schemas import default_document, load_schema, validate

NAMES = ["leash-request", "leash-response", "leash-network", "merge"]


def described(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()]
    inner = [part for _, part in found] + ([schema["items"]] if "items" in schema else [])
    return found + [deeper for part in inner for deeper in described(part)]


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_and_every_key_is_described(name: str) -> None:
    schema = load_schema(name)
    assert schema["$schema"].endswith("2020-12/schema")
    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    for key, part in described(schema):
        assert part.get("description"), key


def test_default_merge_is_valid() -> None:
    document = default_document(load_schema("merge"))
    validate(document, load_schema("merge"), "merge")
    assert document["OutputFormats"] == {
        "csv": True, "hdf": False, "exel": False, "json": False, "parquet": False, "netcdf": False,
    }  # fmt: skip
    assert document["HDFOptions"] == {"IncludeCHI": False, "IncludeTIF": False}


def test_default_network_is_valid() -> None:
    assert default_document(load_schema("leash-network")) == []


def test_merge_has_every_documented_key() -> None:
    merge = load_schema("merge")["properties"]
    assert set(merge) == {
        "TimeOffset", "LogDataTables", "OutputFormats", "OutputFileName", "OutputFileBaseName", "HDFOptions",
        "ImageTimeZone", "ZeroImageName",
    }  # fmt: skip
    table = merge["LogDataTables"]["items"]["properties"]
    assert set(table) == {
        "TimeEpoch", "TimeOffset", "FirstImageCorrelation", "ZeroImageCorrelation", "Name", "Files",
        "TimeZone", "Method", "Tolerance", "Steps", "Correlate",
    }  # fmt: skip
    assert set(table["Files"]["items"]["properties"]) == {"RemotePath", "Path", "LocalPath"}
