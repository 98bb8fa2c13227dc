"""Default documents, built from the schemas alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any


def default_document(schema: dict[str, Any]) -> Any:
    """Build the default document of a schema: what an editor starts from.

    An object gets every property that has a default or is required, a list the entries of its
    default, each completed from the schema of its items.

    Parameters
    ----------
    schema
        A JSON schema.

    Returns
    -------
    The document; it need not be valid, where the schema requires what has no default.
    """
    if schema.get("type") == "object":
        required = schema.get("required", [])
        return {
            name: default_document(part)
            for name, part in schema["properties"].items()
            if "default" in part or name in required
        }
    return fill_defaults(schema["default"], schema)


def fill_defaults(document: Any, schema: dict[str, Any]) -> Any:
    """Return a copy of a valid document in which every absent key that has a default is present.

    Parameters
    ----------
    document
        The document; it is not changed.
    schema
        The schema that it fits.

    Returns
    -------
    The completed copy.
    """
    if isinstance(document, dict):
        properties = schema.get("properties", {})
        filled = {name: fill_defaults(value, properties.get(name, {})) for name, value in document.items()}
        for name, part in properties.items():
            if name not in filled and "default" in part:
                filled[name] = fill_defaults(part["default"], part)
        return filled
    if isinstance(document, list):
        return [fill_defaults(entry, schema.get("items", {})) for entry in document]
    return deepcopy(document)
