"""How long tests wait for what must come about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 180.0  # seconds: only for what would otherwise hang; machines that are busy are slow


def until(condition: Callable[[], Any], what: Callable[[], Any] = lambda: "it did not come about") -> None:
    """Wait until a condition holds.

    Parameters
    ----------
    condition
        What must come about.
    what
        What to tell if it does not.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.01)
