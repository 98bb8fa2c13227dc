"""The configuration of a merge: defaults, both spellings, and fields that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from saxs_bluesky.errors import MergeError, SchemaError
from saxs_bluesky.merge import Epoch, FileSettings, MergeSettings, Method, TableSettings
from saxs_bluesky.schemas import load_schema

PEAK: dict[str, Any] = {"Name": "Peak", "Files": [{"RemotePath": ["logs", "peak.log"], "LocalPath": ""}]}
LOGGER: dict[str, Any] = {"Name": "Dlogger", "Files": [{"LocalPath": "logger.log"}]}


def settings(*tables: dict[str, Any], **other: Any) -> MergeSettings:
    return MergeSettings.from_dict({"LogDataTables": list(tables), **other})


def test_configuration_of_a_deployed_client() -> None:
    found = MergeSettings.from_dict(
        {
            "TimeOffset": -37.25,
            "LogDataTables": [
                {**PEAK, "TimeEpoch": "Mac", "TimeOffset": 0.0, "FirstImageCorrelation": True},
                {**LOGGER, "TimeEpoch": "Unix", "TimeOffset": -0.25, "ZeroImageCorrelation": False},
            ],
            "OutputFormats": {"csv": True, "hdf": True, "exel": False, "json": False},
            "HDFOptions": {"IncludeCHI": True, "IncludeTIF": False},
            "OutputFileBaseName": ".//results//logs//",
        }
    )
    peak, logger = found.tables
    assert peak == TableSettings("Peak", (FileSettings("", ("logs", "peak.log")),), first_image=True)
    assert (logger.name, logger.epoch, logger.offset) == ("Dlogger", Epoch.UNIX, -0.25)
    assert logger.files == (FileSettings("logger.log"),)
    assert (found.time_offset, found.output_name) == (-37.25, ".//results//logs//")
    assert (found.formats, found.include_chi, found.include_tif) == ({"csv", "hdf"}, True, False)
    assert found.synchronising is peak


def test_defaults() -> None:
    found = settings(PEAK)
    (table,) = found.tables
    assert (table.method, table.tolerance, table.steps, table.synchronises) == (Method.AUTO, None, None, False)
    assert (found.image_zone.key, table.zone.key, found.zero_image_name) == ("UTC", "UTC", "zero_1M_00000.tif")
    assert (found.output_name, found.formats, found.synchronising) == ("merged", {"csv"}, None)
    assert settings() == MergeSettings()


def test_tables_have_the_zone_of_the_images_unless_they_name_theirs() -> None:
    found = settings(PEAK, {**LOGGER, "TimeZone": "Asia/Tokyo"}, ImageTimeZone="Europe/Vienna")
    assert [table.zone.key for table in found.tables] == ["Europe/Vienna", "Asia/Tokyo"]


def test_tables_without_name_are_numbered() -> None:
    assert [table.name for table in settings(PEAK, {**LOGGER, "Name": ""}).tables] == ["Peak", "Table2"]


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ({"Path": "logs/peak.log"}, ("logs", "peak.log")),
        ({"Path": ["logs", "peak.log"]}, ("logs", "peak.log")),
        ({"RemotePath": ["peak.log"], "Path": "x"}, ("peak.log",)),
        ({"RemotePath": [], "Path": "x"}, ("x",)),
    ],
)
def test_path_of_the_shipped_template_means_remote_path(file: dict[str, Any], parts: tuple[str, ...]) -> None:
    (found,) = settings({**PEAK, "Files": [file]}).tables[0].files
    assert (found.remote, found.name) == (parts, "/".join(parts))


@pytest.mark.parametrize(
    ("name", "steps", "columns", "found"),
    [
        ("Peak", None, [], True),
        ("Shutter", None, ["Duration  "], True),
        ("Dlogger", None, ["Ioni"], False),
        ("Peak", False, ["Duration"], False),
        ("Dlogger", True, ["Ioni"], True),
    ],
)
def test_what_table_is_one_of_steps(name: str, steps: bool | None, columns: list[str], found: bool) -> None:
    assert TableSettings(name, steps=steps).are_steps(columns) is found


FIRST, ZERO, CORRELATE = "FirstImageCorrelation", "ZeroImageCorrelation", "Correlate"


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        (
            [{**PEAK, FIRST: True, ZERO: True}],
            r"LogDataTables\[0\]: wanted one of FirstImageCorrelation and ZeroImageCorrelation, found both true",
        ),
        (
            [{**PEAK, CORRELATE: True, ZERO: True}],
            r"LogDataTables\[0\]: wanted one of ZeroImageCorrelation and Correlate, found both true",
        ),
        (
            [PEAK, {**LOGGER, FIRST: True}],
            r"LogDataTables\[1\].FirstImageCorrelation: wanted the table of the shutter, which is called Peak or has "
            "Steps true, found 'Dlogger'",
        ),
        (
            [{**PEAK, CORRELATE: True}, {**LOGGER, ZERO: True, "Steps": True}],
            r"LogDataTables\[1\].ZeroImageCorrelation: wanted one table that the offset is found with, found also "
            r"LogDataTables\[0\].Correlate",
        ),
        (
            [PEAK, {**LOGGER, "TimeZone": "Europe/Wien"}],
            r"LogDataTables\[1\].TimeZone: wanted a time zone such as Europe/Vienna, found 'Europe/Wien'",
        ),
        ([{**PEAK, "TimeZone": "Europe"}], "TimeZone: wanted a time zone"),
        (
            [PEAK, {**LOGGER, "Name": "PEAK"}],
            r"\[1\].Name: wanted each name once, found 'PEAK', which LogDataTables\[0",
        ),
        ([PEAK, {**LOGGER, "Name": "a/b"}], r"\[1\].Name: wanted a name of at most 100 characters that can be that of"),
        ([{**LOGGER, "Name": ".hidden"}], "Name: wanted a name of at most"),
        ([{**LOGGER, "Name": "Imagedata"}], "wanted another name, found 'Imagedata', which the table of the images"),
        ([{**PEAK, "Files": [{"LocalPath": ""}]}], r"Files\[0\]: wanted a LocalPath or a RemotePath, found neither"),
        ([{**PEAK, "Files": [{"Path": "./"}]}], r"Files\[0\]: wanted a LocalPath or a RemotePath, found neither"),
        ([{**PEAK, "TimeOffset": 3e9}], r"LogDataTables\[0\].TimeOffset: wanted at most 2.2e\+09 s, found 3000000000"),
    ],
)
def test_contradictions_name_their_fields(tables: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(MergeError, match=text) as caught:
        settings(*tables)
    assert str(caught.value).startswith("mergeconf: LogDataTables[")


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"ImageTimeZone": "Mars"}, "mergeconf: ImageTimeZone: wanted a time zone such as Europe/Vienna, found 'Mars'"),
        ({"TimeOffset": -1e10}, r"mergeconf: TimeOffset: wanted at most 2.2e\+09 s, found -10000000000.0"),
        (
            {"OutputFileName": "a", "OutputFileBaseName": "b"},
            "mergeconf: wanted one of OutputFileName and OutputFileBaseName, found two names: 'a' and 'b'",
        ),
    ],
)
def test_contradictions_beside_the_tables(other: dict[str, Any], text: str) -> None:
    with pytest.raises(MergeError, match=text):
        settings(**other)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({**LOGGER, "Tolerance": 0}, r"LogDataTables\[0\].Tolerance: wanted a number above 0, found 0"),
        ({**LOGGER, "Tolerance": "1"}, r"Tolerance: wanted a finite number or null, found \"1\""),
        ({**LOGGER, "Method": "spline"}, 'Method: wanted one of "auto", "previous"'),
        ({**LOGGER, "Timezone": "UTC"}, 'unknown key "Timezone", did you mean "TimeZone"?'),
        ({**LOGGER, "Files": [{"Path": 5}]}, "Path: wanted a list or a text, found 5"),
    ],
)
def test_values_that_the_schema_refuses(table: dict[str, Any], text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        settings(table)


def test_both_names_may_agree() -> None:
    assert settings(OutputFileName="results/a", OutputFileBaseName="results/a").output_name == "results/a"


def test_offsets_say_that_they_are_subtracted() -> None:
    schema = load_schema("merge")["properties"]
    for offset in (schema["TimeOffset"], schema["LogDataTables"]["items"]["properties"]["TimeOffset"]):
        assert "subtracted" in offset["description"]
