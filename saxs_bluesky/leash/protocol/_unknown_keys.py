"""Keys that deployed programs send along and that nobody needs: passed over, and told of once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

_log = logging.getLogger(__name__)

_MOST_KINDS = 50  # that are told of one by one
_LONGEST_PLACE = 80  # characters


def without_unknown(document: Any, schema: Mapping[str, Any], where: str, spare: list[str]) -> Any:
    """Copy of a document without the keys that its schema does not know; nothing else is changed or checked.

    Parameters
    ----------
    document
        As the JSON parser returns it.
    schema
        What it is to be validated with.
    where
        What to call it; may be empty.
    spare
        Gets the place of each key that is left out; entries of a list count as one place.
    """
    if isinstance(document, dict) and "properties" in schema:
        closed = schema.get("additionalProperties") is False
        kept = {}
        for key, value in document.items():
            place = f"{where}.{key}" if where else key
            if key in schema["properties"]:
                kept[key] = without_unknown(value, schema["properties"][key], place, spare)
            elif closed:
                spare.append(place)
            else:
                kept[key] = value
        return kept
    if isinstance(document, list) and "items" in schema:
        return [without_unknown(entry, schema["items"], f"{where}[]", spare) for entry in document]
    return document


class SpareKeys:
    """Tells the log of keys that were passed over: each place once, and of no more than 50."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, places: Iterable[str]) -> None:
        """Tell of those that are new."""
        for place in places:
            shown = re.sub(r"[^ -~]", "?", place[:_LONGEST_PLACE])
            if shown in self._told or len(self._told) > _MOST_KINDS:
                continue
            self._told.add(shown)
            if len(self._told) > _MOST_KINDS:
                _log.info("requests hold more keys that are not known; they are passed over, and not told of any more")
            else:
                _log.info("requests hold a key that is not known, which is passed over: %s", shown)
