"""Reduced runs read back from their documents: frames and their curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from event_model import EventPage, unpack_event_page

from saxs_bluesky.documents._frame_result import WrittenFiles
from saxs_bluesky.documents._run_lookup import RunLookup
from saxs_bluesky.documents._types import Document
from saxs_bluesky.reduction import Curve, CurveKind, IntegralParameters
from saxs_bluesky.reduction.arrays import FloatArray

_OF_REDUCED_RUNS = frozenset({"descriptor", "event", "event_page", "stop"})  # beside their start documents
_KINDS: dict[str, CurveKind] = {"phi": "azimuthal", "q_h": "slice", "q_v": "slice"}


def is_reduced(start: Document) -> bool:
    """True if a start document is that of a reduced run."""
    return start.get("analysis_stage") == "reduction" and "original_run_uid" in start


@dataclass(frozen=True, eq=False)
class ReducedFrame:
    """What an event of a reduced run says of one frame.

    Parameters
    ----------
    stream
        What all frames of the stream have in common.
    index
        Number of the frame among those of its detector in the stream, from 0.
    time
        When it was taken, seconds since 1970.
    path
        Its file; empty where it has none.
    failure
        Why there are no curves; empty where there are.
    coordinates
        Values of the scanned motors, by data key.
    curves
        Its curves in the reducer's order, exactly as the reducer made them; none where it failed.
    files
        What was written of it by whoever reduced it; None where nobody was asked to.
    page, pages
        Which image it is in its TIFF file, from 0, and how many there are.
    """

    stream: ReducedStream
    index: int
    time: float
    path: str
    failure: str
    coordinates: Document
    curves: tuple[Curve, ...]
    files: WrittenFiles | None = None
    page: int = 0
    pages: int = 1


class ReducedStream:
    """Reads the events of one stream of a reduced run.

    Parameters
    ----------
    start, descriptor
        Documents of the reduced run. Lists do in place of arrays, as JSON brings them.
    """

    def __init__(self, start: Document, descriptor: Document) -> None:
        self.start = start
        self.name: str = descriptor["name"]
        self.data_keys: Document = descriptor["data_keys"]
        self.coordinates: tuple[str, ...] = tuple((descriptor.get("object_keys") or {}).get("coordinates", ()))
        templates = {curve.name: curve for curve in _templates(descriptor)}
        # Stores that sort the keys of a document lose the order of the curves; the provenance keeps it.
        in_order = start.get("provenance", {}).get("integrators", ())
        self._templates = [templates.pop(name) for name in in_order if name in templates] + list(templates.values())

    def frame(self, event: Document) -> ReducedFrame:
        """Read an event."""
        data = event["data"]
        failure = data["failure"]
        return ReducedFrame(
            stream=self,
            index=int(data["frame_index"]),
            time=float(data["image_time"]),
            path=data["image_path"],
            failure=failure,
            coordinates={key: data[key] for key in self.coordinates},
            curves=() if failure else tuple(self._curve(template, data) for template in self._templates),
            files=self._files(data),
            page=int(data.get("image_page", 0)),
            pages=int(data.get("image_pages", 1)),
        )

    def _files(self, data: Document) -> WrittenFiles | None:
        if "file_failure" not in self.data_keys:
            return None
        paths = tuple(data[f"{template.name}_file"] for template in self._templates)
        return WrittenFiles(paths, data["file_failure"])

    def _curve(self, template: Curve, data: Document) -> Curve:
        name = template.name
        integral = template.integral
        if f"{name}_I0" in self.data_keys:
            # Runs of earlier versions do not tell the coverage.
            told = [key for key in ("I0", "I1", "I2", "coverage") if f"{name}_{key}" in self.data_keys]
            integral = IntegralParameters(**{key: float(data[f"{name}_{key}"]) for key in told})
        deviation = f"{name}_deviation"
        return replace(
            template,
            intensity=_array(data[f"{name}_intensity"]),
            sigma=_array(data[f"{name}_sigma"]),
            deviation=_array(data[deviation]) if deviation in self.data_keys else None,
            integral=integral,
        )


@dataclass(eq=False)
class _OpenRun:
    start: Document
    streams: dict[str, ReducedStream] = field(default_factory=dict)  # by the uids of descriptors


class ReducedRunReader:
    """Follows the documents of any number of runs and yields the frames of the reduced ones.

    Runs that are not reduced runs, and those whose start was missed, are passed over.
    """

    def __init__(self) -> None:
        self._runs: RunLookup[_OpenRun] = RunLookup()

    def frames(self, name: str, doc: Document) -> list[ReducedFrame]:
        """Take a document in; return the frames that it brings."""
        if name == "start":
            if is_reduced(doc):
                self._runs.note(doc["uid"], _OpenRun(doc))
            return []
        run = self._runs.run_of(name, doc) if name in _OF_REDUCED_RUNS else None
        if run is None:
            return []
        if name == "descriptor":
            run.streams[doc["uid"]] = ReducedStream(run.start, doc)
            self._runs.note(doc["uid"], run)
        elif name == "stop":
            self._runs.forget(run)
        else:
            events = [doc] if name == "event" else unpack_event_page(cast("EventPage", doc))
            return [run.streams[doc["descriptor"]].frame(event) for event in events]
        return []


def _templates(descriptor: Document) -> Iterator[Curve]:
    """Curves as far as the descriptor knows them: all but their numbers."""
    keys = descriptor["data_keys"]
    for name, configuration in descriptor["configuration"].items():
        if f"{name}_intensity" not in keys:
            continue
        ((key, axis),) = configuration["data"].items()
        label = key.removeprefix(f"{name}_")
        unknown = np.full(len(axis), np.nan)
        yield Curve(
            name=name,
            # Only radial curves have integral parameters, whatever label an extra integrator gave its axis.
            kind="radial" if f"{name}_I0" in keys else _KINDS.get(label, "recipe"),
            axis=_array(axis),
            axis_label=label,
            axis_unit=configuration["data_keys"][key].get("units") or "",
            intensity=unknown,
            sigma=unknown,
        )


def _array(values: Any) -> FloatArray:
    return np.asarray(values, dtype=np.float64)
