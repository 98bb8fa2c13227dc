"""Keys that deployed programs send and no schema knows: they are ignored, and logged once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

_log = logging.getLogger(__name__)

_MOST_PLACES = 50  # that are logged one by one
_LONGEST_PLACE = 80  # characters


def drop_unknown_keys(document: Any, schema: Mapping[str, Any], where: str, unknown_keys: list[str]) -> Any:
    """Copy a document without the keys that its schema does not know; nothing else is changed or checked.

    Parameters
    ----------
    document
        As the JSON parser returns it.
    schema
        Its JSON schema.
    where
        Prefix of the places; may be empty.
    unknown_keys
        The place of each key that is left out is added here; all entries of a list have the same place.
    """
    if isinstance(document, dict) and "properties" in schema:
        closed = schema.get("additionalProperties") is False
        kept = {}
        for key, value in document.items():
            place = f"{where}.{key}" if where else key
            if key in schema["properties"]:
                kept[key] = drop_unknown_keys(value, schema["properties"][key], place, unknown_keys)
            elif closed:
                unknown_keys.append(place)
            else:
                kept[key] = value
        return kept
    if isinstance(document, list) and "items" in schema:
        return [drop_unknown_keys(entry, schema["items"], f"{where}[]", unknown_keys) for entry in document]
    return document


class UnknownKeyLog:
    """Logs unknown keys: each place once, and at most 50 places."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log_new(self, places: Iterable[str]) -> None:
        """Log the places that were not logged before."""
        for place in places:
            shown = re.sub(r"[^ -~]", "?", place[:_LONGEST_PLACE])
            if shown in self._logged or len(self._logged) > _MOST_PLACES:
                continue
            self._logged.add(shown)
            if len(self._logged) > _MOST_PLACES:
                _log.info("requests hold more keys that are not known; they are ignored and not logged any more")
            else:
                _log.info("requests hold a key that is not known, which is ignored: %s", shown)
