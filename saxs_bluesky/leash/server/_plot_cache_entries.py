"""Lines of the plot cache's file: what is kept of a frame."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from saxs_bluesky.callbacks import ReducedFrame
from saxs_bluesky.leash.server._integral_history import time_taken

Entry = list[Any]
"""The kind of an entry and its values; one line of the file."""

_ITEMS_PER_LINE = 100

_Item = TypeVar("_Item")


def frame_entry(frame: ReducedFrame, done: float) -> Entry:
    """Make the entry of a frame.

    Parameters
    ----------
    frame
        With curves or a failure.
    done
        When it was processed, in seconds since 1970.
    """
    if frame.failure:
        return ["failed", frame.path]
    paths = frame.files.curves if frame.files else ()
    files = {curve.name: path for curve, path in zip(frame.curves, paths, strict=False) if path}
    integrals = {}
    for curve in frame.curves:
        if curve.kind in ("radial", "azimuthal"):
            stem = os.path.splitext(files.get(curve.name) or frame.path)[0]  # noqa: PTH122 - a text
            # Deployed windows look for a separator in it.
            stem = stem if "/" in stem else f"./{stem}"
            integrals[f"R{curve.name[1:]}"] = [stem, curve.integral.I0, curve.integral.I1, curve.integral.I2]
    return ["frame", done, time_taken(frame.time, done), frame.path, [*map(list, files.items())], integrals]


def frame_identity(entry: Entry) -> str:
    """What of the entry of a frame is the same when the frame is done again."""
    return json.dumps([entry[0], *entry[2:]] if entry[0] == "frame" else entry)


def checked_files(files: Iterable[Sequence[object]]) -> list[tuple[str, str]]:
    """Names of curves and paths of their files, from a line of the file.

    Raises
    ------
    TypeError, ValueError
        They are others.
    """
    checked = []
    for name, path in files:
        if not (isinstance(name, str) and isinstance(path, str)):
            raise TypeError(f"wanted texts, found {name!r} and {path!r}")
        checked.append((name, path))
    return checked


def batched(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Lists of as many items as fit in a line."""
    rest = iter(items)
    while batch := list(islice(rest, _ITEMS_PER_LINE)):
        yield batch
