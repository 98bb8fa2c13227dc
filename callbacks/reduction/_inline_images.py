"""Images that events bring along: taken over before the detector can use its array again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from saxs_bluesky.documents import Document, inline_keys
from saxs_bluesky.errors import reason_of
from saxs_bluesky.support.latest import keep_latest

_log = logging.getLogger(__name__)

_REMEMBERED = 1000  # descriptors
_NO_ARRAYS = (str, list, tuple, int, float)


class InlineImages:
    """Copies the images of events, in the thread that emits them.

    A detector may fill the array that it gave away anew as soon as its document was taken. Arrays that nobody can write
    to, as those that came over a network, stay where they are, and so does all that is no image to reduce.

    Parameters
    ----------
    detectors
        Whose images count; None: all do.
    """

    def __init__(self, detectors: frozenset[str] | None) -> None:
        self._detectors = detectors
        self._keys: dict[str, tuple[str, ...]] = {}  # by the uids of descriptors

    def taken(self, name: str, doc: Document) -> Document:
        """The document as it may wait; never raises.

        Parameters
        ----------
        name, doc
            As they were emitted.
        """
        try:
            if name == "descriptor":
                keep_latest(self._keys, doc["uid"], inline_keys(doc, self._detectors), _REMEMBERED)
            elif name in ("event", "event_page") and (keys := self._keys.get(doc["descriptor"])):
                return _with_copies(doc, keys, in_page=name == "event_page")
        # A document that is no document is told by those who follow it.
        except Exception:  # noqa: BLE001
            _log.debug("a %s document could not be looked at", name, exc_info=True)
        return doc


def _with_copies(doc: Document, keys: Iterable[str], *, in_page: bool) -> Document:
    data = doc["data"]
    copies = {}
    for key in keys:
        value = data.get(key)
        copies[key] = [_copy(one) for one in value] if in_page and isinstance(value, list) else _copy(value)
    return {**doc, "data": {**data, **copies}}


def _copy(value: Any) -> Any:
    """An array of this program's own; the lists of JSON as they are."""
    if value is None or isinstance(value, _NO_ARRAYS) or _nobody_writes_to(value):
        return value
    try:
        return np.array(value)
    # Then it is no image, and its frame fails; the detector's next image in its place would be worse.
    except (MemoryError, TypeError, ValueError) as error:
        return f"no copy of the image ({reason_of(error)})"


def _nobody_writes_to(array: Any) -> bool:
    """True if what an array shows can never change: the bytes of a message, for example."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return isinstance(array, bytes)
