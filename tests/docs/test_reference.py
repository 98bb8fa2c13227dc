"""The reference leaves nothing out: what the code has stands on a page, with a description."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs._generate.commands import command_page, scripts
from docs._generate.documents import RUNS, document_keys, parts
from docs._generate.faces import documented_faces, faces, public_names
from docs._generate.schema_fields import schema_fields, schema_names, schema_title
from docs._generate.wire import wire_commands
from saxs_bluesky.documents import KEY_DESCRIPTIONS
from saxs_bluesky.leash import COMMANDS
from saxs_bluesky.schemas import load_schema

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def shown(directive: str) -> list[str]:
    """Arguments of a directive on all pages of the reference."""
    pages = [page.read_text(encoding="utf-8") for page in REFERENCE.rglob("*.md")]
    return [found.strip() for page in pages for found in re.findall(rf"^```{{{directive}}}(.*)$", page, re.MULTILINE)]


@pytest.mark.parametrize("name", scripts())
def test_command_and_its_options_are_described(name: str) -> None:
    assert shown("command").count(name) == 1
    for page in command_page(name).walk():
        assert page.description, page.name
        for option in page.options:
            assert re.sub(r"default: .*", "", option.help).strip(), f"{page.name}: {option.names}"


def test_only_installed_commands_have_a_page() -> None:
    assert sorted(shown("command")) == sorted(scripts())


@pytest.mark.parametrize("name", schema_names())
def test_schema_and_its_fields_are_described(name: str) -> None:
    assert all(schema_title(name))
    for definition in ("", *load_schema(name).get("$defs", ())):
        assert shown("schema").count(f"{name} {definition}".strip()) == 1, (name, definition)
        for field in schema_fields(name, definition):
            assert field.description, f"{name}: {field.path}"


def test_field_tells_type_unit_default_and_range() -> None:
    (margin,) = (field for field in schema_fields("calibration") if field.path == "Slices[].CutMargin")
    assert (margin.type, margin.required, margin.unit, margin.default, margin.allowed) == (
        "integer",
        False,
        "pixel",
        "1",
        "from 0",
    )
    (direction,) = (field for field in schema_fields("calibration") if field.path == "Slices[].Direction")
    assert direction.allowed == '"x", "y"'


@pytest.mark.parametrize("run", RUNS)
def test_keys_of_documents_are_described(run: str) -> None:
    assert shown("document-keys").count(run) == 1
    composed = {(run, part, key.name) for part in parts(run) for key in document_keys(run, part)}
    described = {(run, part, key) for part, keys in KEY_DESCRIPTIONS[run].items() for key in keys}
    assert composed == described


def test_data_key_tells_unit_dims_and_source() -> None:
    keys = {key.name: key for key in document_keys("reduced run", "event")}
    intensity = keys["<curve>_intensity"]
    assert (intensity.type, intensity.unit, intensity.dims) == ("array", "counts/pixel", "<curve>_<axis>")
    assert keys["image_time"].source == "raw run"
    (axis,) = document_keys("reduced run", "configuration")
    assert axis.unit == "1/nm, rad"


def test_commands_of_the_network_are_described() -> None:
    assert shown("wire-commands") == [""]
    assert [command.name for command in wire_commands()] == [command.value for command in COMMANDS]
    answers = {field.path.removeprefix("data.") for field in schema_fields("leash-response")}
    for command in wire_commands():
        assert command.meaning, command.name
        assert set(command.data) <= answers, command.name


def test_faces_have_pages() -> None:
    assert sorted(shown("face")) == documented_faces()


@pytest.mark.parametrize("face", faces())
def test_public_names_are_described(face: str) -> None:
    for name in public_names(face):
        assert name.docstring, f"{face}.{name.name}"
        assert name.owner in documented_faces(), f"{face}.{name.name}"
