"""What a plan says of its independent variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dimensions_of(start: Mapping[str, Any]) -> list[tuple[list[str], str]]:
    """Fields and stream of each dimension of a scan, as ``hints`` of the start document tell them.

    What is malformed there is left out: it is no reason to leave the images of a run.

    Parameters
    ----------
    start
        The start document.
    """
    hints = start.get("hints")
    told = hints.get("dimensions") if isinstance(hints, Mapping) else None
    found: list[tuple[list[str], str]] = []
    for one in told if isinstance(told, list | tuple) else ():
        match one:
            case [[*fields], str(stream)] if fields and all(isinstance(field, str) for field in fields):
                found.append((fields, stream))
            case [str(field), str(stream)]:
                found.append(([field], stream))
    return found
