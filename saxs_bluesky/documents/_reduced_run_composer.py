"""The documents of a reduced run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from event_model import compose_run

from saxs_bluesky.documents._copied_metadata import copied_metadata
from saxs_bluesky.documents._frame_result import CurveValues, FrameResult, WrittenFiles
from saxs_bluesky.documents._frame_task import FrameTask
from saxs_bluesky.documents._references import page_of
from saxs_bluesky.documents._streamed_values import values_read
from saxs_bluesky.documents._types import Document, NamedDocument
from saxs_bluesky.documents._uids import new_uid
from saxs_bluesky.reduction import Curve, IntegralParameters, Reducer

_SOURCE = "saxs_bluesky.reduction"
_NO_FILES = WrittenFiles()
_INTEGRALS = {
    "I0": "counts/pixel/nm",
    "I1": "counts/pixel/nm^2",
    "I2": "counts/pixel/nm^3",
    "correlation_length": "nm",
}
_COVERAGE = "coverage"  # of the range that they are taken over
_FRAME_KEYS: dict[str, dict[str, Any]] = {
    "image_path": {"dtype": "string", "shape": [], "source": "raw run"},
    "image_page": {"dtype": "integer", "shape": [], "source": "raw run"},
    "image_pages": {"dtype": "integer", "shape": [], "source": "raw run"},
    "frame_index": {"dtype": "integer", "shape": [], "source": "raw run"},
    "image_time": {"dtype": "number", "shape": [], "units": "s", "source": "raw run"},
    "failure": {"dtype": "string", "shape": [], "source": _SOURCE},
}
_FILE_KEY: dict[str, Any] = {"dtype": "string", "shape": [], "source": _SOURCE}


class _CurveKeys:
    """Data keys of a curve, by what they are of its values."""

    def __init__(self, template: Curve) -> None:
        integrals = (*_INTEGRALS, _COVERAGE) if template.kind == "radial" else ()
        self.template = template
        self.arrays = {f"{template.name}_{name}": name for name in _array_names(template)}
        self.integrals = {f"{template.name}_{name}": name for name in integrals}

    def failed(self) -> CurveValues:
        """Values of a frame without curves."""
        nothing = np.full_like(self.template.axis, np.nan)
        return CurveValues(
            nothing, nothing.copy(), nothing.copy(), IntegralParameters(math.nan, math.nan, math.nan, 0.0)
        )


class ReducedRunComposer:
    """Composes the documents of one reduced run: those of one detector in one raw run.

    One event a frame, in a stream that has the raw stream's name. A frame that could not be read or
    reduced has an event too: its curves hold NaN, and ``failure`` says why (it is empty elsewhere).

    Parameters
    ----------
    raw_start
        Start document of the raw run.
    detector
        Name of the detector.
    reducer
        What makes the curves; its calibration goes into the provenance.
    files
        Whether events tell the file of each curve, ``R0_file``, and in ``file_failure`` why one is missing.
    """

    def __init__(self, raw_start: Document, detector: str, reducer: Reducer, *, files: bool = False) -> None:
        self._bundle = compose_run(metadata=_start_metadata(raw_start, detector, reducer))
        self._templates = reducer.template
        self._curve_keys = [_CurveKeys(curve) for curve in self._templates]
        self._file_keys = [*(f"{curve.name}_file" for curve in self._templates), "file_failure"] if files else []
        #: What composes the events of each stream that has its descriptor.
        self.streams: dict[str, Any] = {}
        self._failed = 0
        self._frames = 0
        #: How many frames are not reduced any more.
        self.left_out = 0

    @property
    def start(self) -> NamedDocument:
        """The start document."""
        return "start", dict(self._bundle.start_doc)

    def describe(self, stream: str, coordinates: Mapping[str, Document]) -> Iterator[NamedDocument]:
        """Yield the descriptor of a stream, unless it was described before.

        Parameters
        ----------
        stream
            Name of the raw stream.
        coordinates
            Data keys of the raw stream that go along, such as scanned motors.
        """
        if stream in self.streams:
            return
        now = time.time()
        object_keys = _object_keys(self._templates) | ({"coordinates": list(coordinates)} if coordinates else {})
        if self._file_keys:
            object_keys["files"] = self._file_keys
        bundle = self._bundle.compose_descriptor(
            name=stream,
            data_keys=_data_keys(self._templates)
            | {key: dict(_FILE_KEY) for key in self._file_keys}
            | {key: _copied_key(entry) for key, entry in coordinates.items()},
            object_keys=object_keys,
            configuration={curve.name: _axis_configuration(curve, now) for curve in self._templates},
            # bluesky's callbacks show all of an object that has no hint, arrays too.
            hints={name: {"fields": []} for name in object_keys} | _hints(self._templates),
        )
        self.streams[stream] = bundle
        yield "descriptor", dict(bundle.descriptor_doc)

    def event(
        self,
        task: FrameTask,
        curves: Sequence[Curve] | Sequence[CurveValues] | None,
        failure: str = "",
        files: WrittenFiles = _NO_FILES,
    ) -> NamedDocument:
        """Compose the event of one frame.

        Parameters
        ----------
        task
            Which frame.
        curves
            Values of its curves, in the order of the reducer's template; None where it failed.
        failure
            Why there are no curves.
        files
            What was written of them.
        """
        bundle = self.streams[task.stream]
        page, pages = page_of(task.reference)
        data: dict[str, Any] = {
            "image_path": task.reference.path if task.reference else "",
            "image_page": page,
            "image_pages": pages,
            "frame_index": task.index,
            "image_time": task.time,
            "failure": failure,
        }
        values: Sequence[Curve | CurveValues] = (
            [keys.failed() for keys in self._curve_keys] if curves is None else curves
        )
        for keys, curve in zip(self._curve_keys, values, strict=True):
            for key, name in keys.arrays.items():
                data[key] = getattr(curve, name)
            for key, name in keys.integrals.items():
                data[key] = getattr(curve.integral, name)
        if self._file_keys:
            paths = zip_longest(self._file_keys, files.curves, fillvalue="")
            data |= dict(paths) | {"file_failure": files.failure}
        for key, entry in bundle.descriptor_doc["data_keys"].items():
            if key not in data:
                data[key] = task.coordinates.get(key, _missing(entry))
        self._frames += 1
        self._failed += curves is None
        # Validation takes longer than the reduction; that all events are valid is tested.
        stamps = dict.fromkeys(data, task.time)
        return "event", dict(
            bundle.compose_event(data=data, timestamps=stamps, time=task.time, validate=False, uid=new_uid())
        )

    def stop(self, raw_stop: Document | None) -> NamedDocument:
        """Compose the stop document; ``raw_stop`` is None where the raw run never stopped.

        It ends as the raw run did, but as "fail" if it has no curve.
        """
        reasons = []
        status: Literal["success", "abort", "fail"]
        if self._failed:
            reasons.append(f"{self._failed} of {self._frames} frames failed, each says why")
        if self.left_out:
            reasons.append(
                f"{self.left_out} frames were not reduced: the program ended before; reduce_run does it again"
            )
        if raw_stop is None:
            status = "abort"
            reasons.append("the raw run has no stop document")
        else:
            status = raw_stop.get("exit_status", "abort")
            if raw_stop.get("reason"):
                reasons.append(f"raw run: {raw_stop['reason']}")
            if self.left_out and status == "success":
                status = "abort"
        if self._failed and self._failed == self._frames:
            status = "fail"
        return "stop", dict(self._bundle.compose_stop(exit_status=status, reason="; ".join(reasons)))


class RunReduction:
    """The reduced runs of one raw run, one for each detector; each begins with its first frame.

    Parameters
    ----------
    raw_start
        Start document of the raw run.
    reducer
        What makes the curves of a detector, by its name.
    files
        Whether events tell the files of the curves.
    """

    def __init__(self, raw_start: Document, reducer: Callable[[str], Reducer], *, files: bool = False) -> None:
        self._raw_start = raw_start
        self._reducer = reducer
        self._files = files
        self._runs: dict[str, ReducedRunComposer] = {}

    def frame(self, task: FrameTask, result: FrameResult) -> Iterator[NamedDocument]:
        """Yield the documents of one frame: its event, after those that must come before it.

        Parameters
        ----------
        task
            Which frame.
        result
            What came of it.
        """
        run = self._runs.get(task.detector)
        if run is None:
            run = self._runs[task.detector] = ReducedRunComposer(
                self._raw_start, task.detector, self._reducer(task.detector), files=self._files
            )
            yield run.start
        if task.stream not in run.streams:
            yield from run.describe(task.stream, task.coordinate_keys)
        if result.coordinates:
            task = replace(task, coordinates={**task.coordinates, **values_read(result.coordinates)})
        yield run.event(task, None if result.failure else result.curves, result.failure, result.files)

    def leave_out(self, task: FrameTask) -> None:
        """Count a frame that is not reduced any more; the stop document tells."""
        run = self._runs.get(task.detector)
        if run is not None:
            run.left_out += 1

    def stop(self, raw_stop: Document | None) -> Iterator[NamedDocument]:
        """Yield the stop documents; ``raw_stop`` is None where the raw run never stopped."""
        for run in self._runs.values():
            yield run.stop(raw_stop)


def axis_key(curve: Curve) -> str:
    """Data key of a curve's axis: ``R0_q``, ``P1_phi``, ``S2_q_h``."""
    label = curve.axis_label if curve.axis_label.isidentifier() else "axis"
    return f"{curve.name}_{label}"


def _start_metadata(raw_start: Document, detector: str, reducer: Reducer) -> dict[str, Any]:
    metadata = copied_metadata(raw_start, "reduction")
    metadata["detector"] = detector
    metadata["provenance"] = _provenance(reducer)
    return metadata


def _provenance(reducer: Reducer) -> dict[str, Any]:
    made_of = reducer.provenance
    return {
        "software": made_of.software,
        "version": made_of.version,
        "calibration": dict(reducer.calibration.document),
        "calibration_sha256": made_of.calibration_sha256,
        "mask_sha256": list(made_of.mask_sha256),
        "integrators": [integrator.name for integrator in reducer.integrators],
    }


def _data_keys(curves: Sequence[Curve]) -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {}
    for curve in curves:
        for name in _array_names(curve):
            keys[f"{curve.name}_{name}"] = _array_key(curve, "counts/pixel")
        if curve.kind == "radial":
            number = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": _SOURCE}
            for name, units in _INTEGRALS.items():
                keys[f"{curve.name}_{name}"] = number | {"units": units}
            keys[f"{curve.name}_{_COVERAGE}"] = number
    return keys | {key: dict(entry) for key, entry in _FRAME_KEYS.items()}


def _array_key(curve: Curve, units: str) -> dict[str, Any]:
    """Data key of an array along a curve's axis, or of that axis itself."""
    return {
        "dtype": "array",
        "dtype_numpy": "<f8",
        "shape": [curve.axis.size],
        "dims": [axis_key(curve)],
        "units": units,
        "source": _SOURCE,
    }


def _copied_key(entry: Document) -> dict[str, Any]:
    """Data key of the raw run, without the name of the device: it is set for each descriptor anew."""
    return {name: value for name, value in entry.items() if name != "object_name"}


def _object_keys(curves: Sequence[Curve]) -> dict[str, list[str]]:
    keys = {curve.name: [key for key in _data_keys([curve]) if key not in _FRAME_KEYS] for curve in curves}
    return keys | {"frame": list(_FRAME_KEYS)}


def _hints(curves: Sequence[Curve]) -> dict[str, dict[str, list[str]]]:
    """What bluesky's LiveTable and BestEffortCallback show."""
    return {
        curve.name: {"fields": [f"{curve.name}_{name}" for name in _INTEGRALS]}
        for curve in curves
        if curve.kind == "radial"
    }


def _array_names(curve: Curve) -> list[str]:
    return ["intensity", "sigma", *(["deviation"] if curve.deviation is not None else [])]


def _axis_configuration(curve: Curve, now: float) -> dict[str, Any]:
    key, entry = axis_key(curve), _array_key(curve, curve.axis_unit)
    return {"data": {key: curve.axis.tolist()}, "timestamps": {key: now}, "data_keys": {key: entry}}


def _missing(entry: Document) -> Any:
    return "" if entry["dtype"] == "string" else math.nan
