"""Texts for clients that are made when something has changed, and not too often."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

_RENDER_SECONDS = 0.1  # between two texts
_RENDER_SHARE = 0.1  # of the time that making texts may take


class CachedText:
    """A text that is made anew when something has changed, at most ten times a second however often it is asked for.

    Parameters
    ----------
    make
        Makes the text.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._text = b""
        self._state: object = None
        self._next = -math.inf

    def get(self, state: object) -> bytes:
        """Return the text, made anew if ``state`` is not that of the last time and the pause is over."""
        began = time.monotonic()
        if state != self._state and began >= self._next:
            self._state = state
            self._text = self._make()
            ended = time.monotonic()
            self._next = max(began + _RENDER_SECONDS, ended + (ended - began) / _RENDER_SHARE)
        return self._text


def json_list(texts: Iterable[str]) -> str:
    """A JSON list of entries that are JSON already."""
    return "[" + ", ".join(texts) + "]"
