"""What a live picture needs to know of the run that it follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.callbacks.live._live_picture import History, Snapshot
from saxs_bluesky.documents import ReducedFrame, ReducedRunReader, ReducedStream, dimensions_of, is_reduced
from saxs_bluesky.errors import OutputError
from saxs_bluesky.reduction import Curve, IntegralParameters

_PARAMETERS = ("I0", "I1", "I2", "correlation_length")
_FAILED = IntegralParameters(*[float("nan")] * 3)


@dataclass(frozen=True)
class _Point:
    x: float
    integrals: Mapping[str, IntegralParameters]  # by radial curve; none where the frame failed


class LiveData:
    """Keeps the latest curves and the last ``keep`` integral parameters of the run that began last.

    Parameters are those of `LiveCurves`.
    """

    def __init__(
        self,
        curves: Sequence[str] | None,
        parameters: Sequence[str],
        against: str | None,
        detector: str | None,
        keep: int,
    ) -> None:
        unknown = [name for name in parameters if name not in _PARAMETERS]
        if unknown:
            raise OutputError(f"LiveCurves: wanted parameters of {', '.join(_PARAMETERS)}, found {unknown[0]}")
        self._wanted = curves
        self._parameters = tuple(parameters)
        self._against = against
        self._detector = detector
        self._runs = ReducedRunReader()
        self._run = ""
        self._latest: ReducedFrame | None = None
        self._shown: ReducedFrame | None = None  # the latest with curves
        self._curves: tuple[Curve, ...] = ()
        self._points: deque[_Point] = deque(maxlen=keep)
        self._frames = self._failed = 0
        self._problem = ""

    def note_document(self, name: str, doc: Mapping[str, Any]) -> bool:
        """Take a document in; return whether the picture changes."""
        if name == "start" and is_reduced(doc) and self._detector in (None, doc["detector"]):
            self._run = doc["uid"]
        frames = [one for one in self._runs.frames(name, doc) if one.stream.start["uid"] == self._run]
        for frame in frames:
            self._add(frame)
        return bool(frames)

    def _add(self, frame: ReducedFrame) -> None:
        # At the first frame and not at the start: the last run's picture stays until there is another.
        if self._latest is None or self._latest.stream.start is not frame.stream.start:
            self._points.clear()
            self._shown, self._curves = frame, ()
            self._frames = self._failed = 0
        elif frame.stream is not self._latest.stream:
            return
        motor = self._motor(frame.stream)
        point = _Point(
            x=float(frame.coordinates[motor]) if motor else frame.time,
            integrals={curve.name: curve.integral for curve in frame.curves if curve.kind == "radial"},
        )
        self._points.append(point)
        self._latest = frame
        self._frames += 1
        if frame.failure:
            self._failed += 1
            self._problem = f"frame {frame.index}: {frame.failure}"
        else:
            self._shown = frame
            self._curves = tuple(c for c in frame.curves if self._wanted is None or c.name in self._wanted)

    def _motor(self, stream: ReducedStream) -> str:
        """Data key of the coordinate to draw against; empty for the time."""
        numbers = [key for key in stream.coordinates if stream.data_keys[key]["dtype"] in ("number", "integer")]
        if self._against is not None:
            return self._against if self._against in numbers else ""
        return numbers[0] if numbers and len(dimensions_of(stream.start)) == 1 else ""

    def snapshot(self, *, log: bool, log_q: bool) -> Snapshot:
        """What there is to show now; it does not change with further documents."""
        if self._latest is None or self._shown is None:
            return Snapshot()
        start, frame = self._latest.stream.start, self._shown
        scan = f"scan {start['original_scan_id']}" if "original_scan_id" in start else ""
        said = [scan, start.get("sample"), start["detector"], f"frame {frame.index}", Path(frame.path).name]
        problem = (
            f"{self._failed} of {self._frames} frames failed, the latest is {self._problem}" if self._failed else ""
        )
        return Snapshot(
            title=" · ".join(str(part) for part in said if part),
            problem=problem,
            failed=bool(self._latest.failure),
            curves=self._curves,
            history=self._history(frame.stream),
            log=log,
            log_q=log_q,
        )

    def _history(self, stream: ReducedStream) -> History | None:
        names = dict.fromkeys(name for point in self._points for name in point.integrals)
        shown = [name for name in names if self._wanted is None or name in self._wanted]
        if not shown or not self._parameters:
            return None
        motor = self._motor(stream)
        unit = stream.data_keys[motor].get("units") if motor else None
        return History(
            x=np.array([point.x for point in self._points]),
            label=f"{motor} ({unit})" if unit else motor,
            values={
                parameter: {
                    name: np.array([getattr(point.integrals.get(name, _FAILED), parameter) for point in self._points])
                    for name in shown
                }
                for parameter in self._parameters
            },
            units={parameter: stream.data_keys[f"{shown[0]}_{parameter}"]["units"] for parameter in self._parameters},
        )
