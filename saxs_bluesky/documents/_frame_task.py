"""One frame to reduce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saxs_bluesky.documents._references import FrameReference
from saxs_bluesky.documents._streamed_values import StreamedValue
from saxs_bluesky.documents._types import Document


@dataclass(frozen=True, eq=False)
class FrameTask:
    """One frame to reduce.

    Parameters
    ----------
    detector
        Name of the detector.
    stream
        Name of the raw stream that it belongs to.
    index
        Number of the frame in the stream, from 0; it follows from the event's ``seq_num``, so that a lost
        document does not shift the others.
    time
        When it was taken, as far as the documents tell, in seconds since 1970.
    reference
        Where it is; None where the documents do not lead to it.
    failure
        Why there is no reference, or why nobody need try to read what it refers to.
    coordinates
        Values of the scanned motors and other independent variables, by data key.
    coordinate_keys
        What the raw descriptor says of them, by data key; also of those without a value.
    streamed
        Where those are that are streamed into a file, by data key; or why they cannot be read.
    """

    detector: str
    stream: str
    index: int
    time: float
    reference: FrameReference | None
    failure: str = ""
    coordinates: Mapping[str, Any] = field(default_factory=dict)
    coordinate_keys: Mapping[str, Document] = field(default_factory=dict)
    streamed: Mapping[str, StreamedValue | str] = field(default_factory=dict)
