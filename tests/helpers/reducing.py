"""Reduced runs of tests: what a reduction hands to its sinks, and whether that is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import event_model
import numpy as np

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.reduction import Calibration, Reducer

NamedDocument = tuple[str, dict[str, Any]]
Make = Callable[..., tuple[Reduction, list[NamedDocument]]]


def events_of(found: list[NamedDocument], detector: str | None = None) -> list[dict[str, Any]]:
    """Events of the reduced runs of a detector, or of all; each document is looked at."""
    for name, doc in found:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    runs = {doc["uid"] for name, doc in found if name == "start" and detector in (None, doc["detector"])}
    streams = {doc["uid"] for name, doc in found if name == "descriptor" and doc["run_start"] in runs}
    return [doc for name, doc in found if name == "event" and doc["descriptor"] in streams]


def assert_curves(
    events: list[dict[str, Any]], images: Any, calibration: Calibration, numbers: Sequence[int] | None = None
) -> None:
    """Whether each event has the curve of its image, none is a failure, and their numbers are right: from 0 on."""
    reducer = Reducer(calibration)
    assert [event["data"]["failure"] for event in events] == [""] * len(images)
    assert [event["data"]["frame_index"] for event in events] == list(numbers or range(len(images)))
    for event, image in zip(events, images, strict=True):
        np.testing.assert_array_equal(event["data"]["R0_intensity"], reducer.reduce(image)[0].intensity)
