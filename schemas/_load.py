"""Reading schemas and JSON text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
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
        document = decode_json(text, encoding="utf-8-sig")
    except ValueError as error:
        raise SchemaError(f"{where}: {error}") from error
    if not isinstance(document, dict):
        raise SchemaError(f"{where}: wanted a JSON object, found {type_names.get(type(document), 'a number')}")
    return document


def decode_json(text: str | bytes, *, encoding: str = "utf-8", parse_int: Callable[[str], Any] = int) -> Any:
    """Decode a JSON document of any kind, in which no object may have a key twice.

    Parameters
    ----------
    text
        The document.
    encoding
        Encoding of bytes: ``utf-8``, or ``utf-8-sig`` to allow a byte order mark.
    parse_int
        Called with the digits of each integer.

    Returns
    -------
    The value: an object is a dict, an array a list.

    Raises
    ------
    ValueError
        It is not JSON, or names a key twice in one object; the message says what was wanted and found.
    """
    try:
        decoded = text.decode(encoding) if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_unique_keys, parse_int=parse_int)
    except UnicodeDecodeError as error:
        raise ValueError("wanted JSON text in UTF-8, found other bytes") from error
    except json.JSONDecodeError as error:
        found = f"{error.msg.lower()} at line {error.lineno} column {error.colno}"
        raise ValueError(f"wanted JSON, found {found}") from error
    except RecursionError as error:
        raise ValueError("wanted JSON, found brackets nested too deeply to be read") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"wanted each key once, found {json.dumps(twice)[:60]} twice in one object")
    return document
