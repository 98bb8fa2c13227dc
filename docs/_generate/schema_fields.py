"""Fields of the JSON schemas: path, type, unit, default, allowed values, description."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from saxs_bluesky.schemas import load_schema

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a document.

    Parameters
    ----------
    path
        Where it stands: ``Geometry.Tilt.TiltAngleDeg``, ``Masks[].qStart``.
    type
        What a value looks like.
    required
        Whether a document must have it.
    unit
        Unit of a number; empty where there is none.
    default
        What absence means, as JSON; empty where there is no default.
    allowed
        Values or range that are accepted; empty for all of the type.
    description
        What it means.
    """

    path: str
    type: str
    required: bool
    unit: str
    default: str
    allowed: str
    description: str


def schema_names() -> list[str]:
    """Names of all schemas of the package."""
    found = (path.name for path in files("saxs_bluesky.schemas").iterdir() if path.name.endswith(".schema.json"))
    return sorted(name.removesuffix(".schema.json") for name in found)


def schema_title(name: str) -> tuple[str, str]:
    """Title and description of a schema."""
    schema = load_schema(name)
    return schema["title"], schema["description"]


def schema_fields(name: str, definition: str = "") -> tuple[Field, ...]:
    """All fields of a schema, or of one of its ``$defs``, in their order."""
    schema: Schema = load_schema(name)
    if definition:
        schema = schema["$defs"][definition]
    return tuple(_fields(schema, ""))


def _fields(schema: Schema, path: str) -> Iterator[Field]:
    required = set(schema.get("required", ()))
    for key, entry in schema.get("properties", {}).items():
        below = f"{path}.{key}" if path else key
        yield Field(
            below,
            _type(entry),
            key in required,
            entry.get("x-unit", ""),
            json.dumps(entry["default"]) if "default" in entry else "",
            _allowed(entry),
            entry.get("description", ""),
        )
        yield from _fields(entry, below)
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield from _fields(items, f"{path}[]")


def _type(entry: Schema) -> str:
    if "enum" in entry:
        return "choice"
    kind = entry.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(_type({**entry, "type": one}) for one in kind)
    if kind != "array":
        return str(kind)
    of = f"{_type(entry['items'])}s" if "items" in entry else "values"
    least, most = entry.get("minItems"), entry.get("maxItems")
    count = "" if most is None else f"{most} " if least in {most, None} else f"{least} to {most} "
    return f"array of {count}{of}"


def _allowed(entry: Schema) -> str:
    if "enum" in entry:
        return ", ".join(json.dumps(value) for value in entry["enum"])
    if entry.get("type") == "array" and isinstance(entry.get("items"), Mapping):
        return _allowed({key: value for key, value in entry["items"].items() if key != "properties"})
    if "minimum" in entry and "maximum" in entry:
        return f"{entry['minimum']} to {entry['maximum']}"
    words = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "up to {}",
        "exclusiveMaximum": "below {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "pattern": "matches {}",
    }
    return ", ".join(text.format(entry[key]) for key, text in words.items() if key in entry)
