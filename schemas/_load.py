"""Reading schemas and JSON text."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any

from saxs_bluesky.errors import SchemaError

type_names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Schema ``name`` of this package (``"calibration"``); shared, so not to be changed."""
    text = files("saxs_bluesky.schemas").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """Parse a JSON document that must be an object.

    Parameters
    ----------
    text
        The document, UTF-8 where it is bytes.
    where
        What errors call it: a path or another name.

    Returns
    -------
    The object.

    Raises
    ------
    SchemaError
        It is not JSON, names a key twice in one object, or is not an object.
    """
    try:
        # Editors on Windows put a byte order mark in front.
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        document = json.loads(decoded, object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as error:
        raise SchemaError(f"{where}: wanted JSON text in UTF-8, found other bytes ({error})") from error
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"{where}: wanted JSON, found {error.msg.lower()} at line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise SchemaError(f"{where}: wanted JSON, found brackets nested too deeply to be read") from error
    except ValueError as error:
        raise SchemaError(f"{where}: {error}") from error
    if not isinstance(document, dict):
        raise SchemaError(f"{where}: wanted a JSON object, found {type_names.get(type(document), 'a number')}")
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f'wanted each key once, found "{twice}" twice in one object')
    return document
