"""What the data keys of a descriptor say: which are images, and which are scanned axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from saxs_bluesky.documents._types import Document

FILE_SOURCE = "file:image/tiff"
"""Source of a data key whose values are paths of image files: one frame in each event."""


_MOST_FRAMES = 100_000  # in an event; a number beyond is none


@dataclass(frozen=True)
class ImageKey:
    """A data key whose values are images, or stacks of them."""

    key: str
    detector: str
    frames: int  # in each event
    kind: Literal["inline", "external", "file"]
    shape: tuple[Any, ...] = ()  # that the descriptor announces
    is_streamed: bool = False  # its frames are never in events
    dtype: str = ""  # that the descriptor announces, as numpy spells it


def image_keys(doc: Document, detectors: frozenset[str] | None) -> Iterator[ImageKey]:
    """The images among the data keys of a descriptor."""
    owners = {key: name for name, keys in (doc.get("object_keys") or {}).items() for key in keys}
    for key, entry in doc["data_keys"].items():
        shape = _shape(entry)
        is_file = entry.get("dtype") == "string" and entry.get("source") == FILE_SOURCE
        if not is_file and (entry.get("dtype") != "array" or len(shape) < 2):
            continue
        # A detector with several images has a calibration for each data key.
        by_key = detectors is not None and key in detectors
        detector = key if by_key else owners.get(key, key)
        if detectors is None or detector in detectors:
            frames = math.prod(size for size in shape[:-2] if isinstance(size, int) and size > 0)
            kind: Literal["inline", "external", "file"] = "external" if "external" in entry else "inline"
            dtype = str(entry.get("dtype_numpy", ""))
            frames = frames if frames <= _MOST_FRAMES else 1
            yield ImageKey(key, detector, frames, "file" if is_file else kind, shape, is_streamed(entry), dtype)


def inline_keys(descriptor: Document, detectors: frozenset[str] | None = None) -> tuple[str, ...]:
    """Data keys whose images come inline in events.

    Parameters
    ----------
    descriptor
        What describes the events.
    detectors
        As for `RawRun`.
    """
    return tuple(image.key for image in image_keys(descriptor, detectors) if image.kind == "inline")


def coordinate_keys(doc: Document, dimensions: Iterable[str]) -> dict[str, Document]:
    """Scanned axes among the data keys: numbers and texts, those that are streamed into a file too.

    Parameters
    ----------
    doc
        The descriptor.
    dimensions
        Data keys of the axes that were scanned.
    """
    keys = doc["data_keys"]
    found: dict[str, Document] = {}
    for key in dimensions:
        entry = keys.get(key)
        if entry is None:
            continue
        if not is_streamed(entry):
            if not _shape(entry):
                found[key] = entry
        # One value for each index has the shape (1,).
        elif _shape(entry) in ((), (1,)):
            number = "integer" if entry.get("dtype") == "integer" else "number"
            plain = {name: value for name, value in entry.items() if name not in ("external", "dims", "chunks")}
            found[key] = plain | {"dtype": number, "shape": []}
    return found


def _shape(entry: Document) -> tuple[Any, ...]:
    """Shape that a data key announces; () where it says none."""
    shape = entry.get("shape")
    return tuple(shape) if isinstance(shape, list | tuple) else ()


def is_streamed(entry: Document) -> bool:
    """True if the values of a data key are never in events."""
    return str(entry.get("external", "")).startswith("STREAM")
