"""What clients draw: the latest curves, and how the experiment went."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saxs_bluesky.callbacks import ReducedFrame, ReducedRuns
from saxs_bluesky.leash._messages import encode
from saxs_bluesky.reduction import Calibration, Curve, chi_labels

_HISTORY_SECONDS = 100.0
_AGES = 10.0  # seconds after which a history without news is looked through for what is too old
_LONGEST_HISTORY = 1000
_LONGEST_LIST = 200_000
_LOOK_EVERY = 0.1  # seconds between two pictures
_SHARE = 0.1  # of the time that making pictures may take


@dataclass(frozen=True)
class _Done:
    """One frame in the history: when it was done; and as JSON when it was taken, its file, and I0, I1, I2."""

    done: float
    taken: str
    path: str
    integrals: Mapping[str, tuple[str, str, str]]


class _Kept:
    """A text that is made anew when something has changed, and not too often, however often it is asked for."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._text = b""
        self._state: object = None
        self._next = -math.inf

    def get(self, state: object) -> bytes:
        began = time.monotonic()
        if state != self._state and began >= self._next:
            self._state = state
            self._text = self._make()
            ended = time.monotonic()
            self._next = max(began + _LOOK_EVERY, ended + (ended - began) / _SHARE)
        return self._text


class Picture:
    """A sink for the documents of reduced runs that keeps what clients ask for.

    The history is that of the last 100 s, 1000 frames at most; of written files there are the last 200 000, shared
    out to the kinds of curves. What clients get is JSON that is made once for all of them, ten times a second at most.

    Parameters
    ----------
    calibration
        Of the queue.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._runs = ReducedRuns()
        self._lock = threading.Lock()
        self._latest: ReducedFrame | None = None
        self._history: deque[_Done] = deque(maxlen=_LONGEST_HISTORY)
        self._files: dict[str, dict[str, str]] = {_kind(name): {} for name in calibration.curve_names}
        self._longest = _LONGEST_LIST // max(1, len(self._files))
        self._version = 0
        self._plot = _Kept(self._make_plot)
        self._list = _Kept(self._make_list)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document in."""
        for frame in self._runs.frames(name, doc):
            if not frame.failure:
                self._take(frame)

    def _take(self, frame: ReducedFrame) -> None:
        integrals = {
            f"R{curve.name[1:]}": (
                _number(curve.integral.I0),
                _number(curve.integral.I1),
                _number(curve.integral.I2),
            )
            for curve in frame.curves
            if curve.kind in ("radial", "azimuthal")
        }
        done = _Done(time.time(), _number(frame.time), json.dumps(frame.path), integrals)
        paths = frame.files.curves if frame.files else ()
        written = [(_kind(curve.name), path) for curve, path in zip(frame.curves, paths, strict=False) if path]
        with self._lock:
            self._version += 1
            self._latest = frame
            self._history.append(done)
            for kind, path in written:
                files = self._files.setdefault(kind, {})
                files.pop(path, None)
                files[path] = json.dumps(path)
                if len(files) > self._longest:
                    del files[next(iter(files))]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw yet."""
        return self._latest is None

    def plot(self) -> bytes:
        """What a client draws, as the inside of a JSON object: ``filename, graphs, history, IntegralParameters``.

        For one thread at a time, as is `files`.
        """
        return self._plot.get((self._version, time.time() // _AGES))

    def files(self) -> bytes:
        """Written files by their kind (``Radial0``, ``Slice1``; ``JSON`` is the protocol's, and empty), as JSON."""
        return self._list.get(self._version)

    def _make_plot(self) -> bytes:
        with self._lock:
            frame, history = self._latest, list(self._history)
        since = time.time() - _HISTORY_SECONDS
        recent = [one for one in history if one.done > since]
        names = sorted({name for one in recent for name in one.integrals})
        integrals = ", ".join(f'"{name}": {_columns(name, recent)}' for name in names)
        graphs = [self._graph(curve) for curve in frame.curves] if frame else []
        drawn = encode({"filename": frame.path if frame else "", "graphs": graphs})[1:-1].decode()
        times = _list(one.taken for one in recent)
        return f'{drawn}, "history": {times}, "IntegralParameters": {{{integrals}}}'.encode("ascii")

    def _make_list(self) -> bytes:
        with self._lock:
            lists = {kind: list(files.values()) for kind, files in self._files.items()}
        kinds = [f'"{kind}": {_list(files)}' for kind, files in lists.items()]
        return ("{" + ", ".join([*kinds, '"JSON": []']) + "}").encode("ascii")

    def _graph(self, curve: Curve) -> dict[str, Any]:
        index = int(curve.name[1:])
        document = self._calibration.document
        masks = len(self._calibration.masks)
        is_slice = curve.kind == "slice"
        return {
            "kind": "Slice" if is_slice else "Radial",
            "conf": dict(document["Slices"][index - masks] if is_slice else document["Masks"][index]),
            "columnLabels": chi_labels(curve),
            "array": [curve.axis, curve.intensity, curve.sigma],
        }


def _columns(name: str, recent: Iterable[_Done]) -> str:
    rows = [(one.taken, one.path, *one.integrals[name]) for one in recent if name in one.integrals]
    columns = zip(("time", "file", "I0", "I1", "I2"), zip(*rows, strict=True), strict=True)
    return "{" + ", ".join(f'"{key}": {_list(column)}' for key, column in columns) + "}"


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(texts) + "]"


def _number(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else "NaN"


def _kind(curve: str) -> str:
    """Kind of a curve as clients know it: those of masks go by one name, whatever they run over."""
    return f"Slice{curve[1:]}" if curve.startswith("S") else f"Radial{curve[1:]}"
