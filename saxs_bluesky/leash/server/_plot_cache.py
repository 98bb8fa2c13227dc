"""What clients draw: the latest curves, and how the experiment went."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from saxs_bluesky.callbacks import ReducedFrame, ReducedRunReader
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.protocol import encode
from saxs_bluesky.leash.server._cached_text import CachedText, json_list
from saxs_bluesky.leash.server._integral_history import IntegralHistory, Row
from saxs_bluesky.leash.server._plot_cache_entries import Entry, batched, checked_files, frame_entry, frame_identity
from saxs_bluesky.leash.server._plot_cache_file import PlotCacheFile
from saxs_bluesky.reduction import Calibration, Curve, chi_labels, read_chi

_log = logging.getLogger(__name__)

_HISTORY_SECONDS = 100.0
_EXPIRY_SECONDS = 10.0  # after which old times leave the history although there are no new ones
_LONGEST_HISTORY = 20_000
_CLOCK_STEP = 1e-6  # seconds between two times at least: deployed windows divide by the difference
_LONGEST_LIST = 200_000
_REPEATED_FRAMES = 1000  # frames before a crash that may be done again after it


class PlotCache:
    """A sink for the documents of reduced runs, which keeps what clients ask for.

    The history is that of the last 100 s, at most 20 000 frames. The last 200 000 files are listed, in equal shares for
    the kinds of curves. For integral parameters see `IntegralHistory`. Clients get JSON that is made once for all of
    them, at most ten times a second.

    Parameters
    ----------
    calibration
        Of the queue.
    file
        Where to keep all this over a restart; None: nowhere.
    keep
        True to begin with what the file holds.
    """

    def __init__(self, calibration: Calibration, file: PlotCacheFile | None = None, *, keep: bool = False) -> None:
        self._calibration = calibration
        self._file = file
        self._runs = ReducedRunReader()
        self._lock = threading.Lock()
        self._latest: tuple[str, Sequence[Curve]] | None = None
        self._latest_files: list[tuple[str, str]] = []
        self._history: deque[tuple[float, str]] = deque(maxlen=_LONGEST_HISTORY)
        self._integrals = IntegralHistory(sum(not name.startswith("S") for name in calibration.curve_names))
        self._files: dict[str, dict[str, str]] = {_kind(name): {} for name in calibration.curve_names}
        self._most_files = _LONGEST_LIST // max(1, len(self._files))
        self._version = 0
        self._plot_text = CachedText(self._make_plot)
        self._files_text = CachedText(self._make_list)
        #: Frames that were processed, failed ones too.
        self.count = 0
        self._repeated: Counter[str] = Counter()
        if file is not None and keep:
            self._restore(file)
        elif file is not None:
            file.rewrite(())

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document of a reduced run."""
        for frame in self._runs.frames(name, doc):
            self._add_frame(frame)

    def _add_frame(self, frame: ReducedFrame) -> None:
        entry = frame_entry(frame, math.nan if frame.failure else self._now())
        is_new = not self._is_repeated(entry)
        with self._lock:
            self._version += 1
            if is_new:
                self._add_entry(entry)
            if frame.curves:
                self._latest = frame.path, frame.curves
        if self._file is not None and is_new:
            self._file.append(entry)
            if self._file.is_long:
                self._file.rewrite(self._entries())

    def _now(self) -> float:
        """The server's clock, never twice the same; if it was set back, the history begins anew."""
        now, last = time.time(), self._history[-1][0] if self._history else -math.inf
        if now > last:
            return now
        if last - now > 1:
            with self._lock:
                self._history.clear()
            return now
        return last + _CLOCK_STEP

    def _add_entry(self, entry: Entry) -> None:  # noqa: C901 - a table
        """Add an entry of a frame, or a line of the file."""
        match entry:
            case ["failed", str()]:
                self.count += 1
            case ["frame", float(done), float(taken), str(path), list(files), dict(integrals)]:
                row, named = Row.from_values(taken, integrals), checked_files(files)
                self.count += 1
                self._latest, self._latest_files = (path, ()), named
                self._history.append((done, repr(done)))
                if integrals:
                    self._integrals.add(row)
                for name, file in named:
                    self._add_file(_kind(name), file)
            case ["count", int(count)]:
                self.count += count
            case ["row", float(taken), dict(integrals)]:
                self._integrals.add(Row.from_values(taken, integrals))
            case ["files", str(kind), list(files)]:
                for _, file in checked_files([kind, file] for file in files):
                    self._add_file(kind, file)
            case ["done", list(times)]:
                self._history.extend([(float(done), repr(float(done))) for done in times])
            case ["latest", str(path), list(files)]:
                named = checked_files(files)
                self._latest, self._latest_files = (path, ()), named
            case _:
                raise ValueError("no entry of the plot cache")

    def _add_file(self, kind: str, path: str) -> None:
        files = self._files.setdefault(kind, {})
        files.pop(path, None)
        files[path] = json.dumps(path)
        if len(files) > self._most_files:
            del files[next(iter(files))]

    # Over a restart

    def _restore(self, file: PlotCacheFile) -> None:
        last: deque[str] = deque(maxlen=_REPEATED_FRAMES)

        def add(entry: Entry) -> None:
            self._add_entry(entry)
            if entry[0] in ("frame", "failed"):
                last.append(frame_identity(entry))

        file.load(add)
        self._repeated = Counter(last)
        if self._latest is not None:
            self._latest = self._latest[0], list(self._read_curves())
        file.rewrite(self._entries())

    def _read_curves(self) -> Iterator[Curve]:
        """Curves of the latest frame from their files; a curve whose file is gone is not drawn."""
        for name, path in self._latest_files:
            try:
                curve = read_chi(path).curve
            except SaxsError as error:
                _log.info("a curve is not shown after the restart: %s", error)
                continue
            if name in self._calibration.curve_names:
                yield replace(curve, name=name, kind="slice" if name.startswith("S") else curve.kind)

    def _is_repeated(self, entry: Entry) -> bool:
        """True if a frame was done before a crash and is done again after it."""
        if not self._repeated:
            return False
        identity = frame_identity(entry)
        self._repeated[identity] -= 1
        return self._repeated[identity] >= 0

    def _entries(self) -> Iterator[Entry]:
        """All that is kept, in fewer lines."""
        with self._lock:
            files = {kind: list(paths) for kind, paths in self._files.items()}
            history, latest, latest_files, count = list(self._history), self._latest, self._latest_files, self.count
        yield ["count", count]
        for kind, paths in files.items():
            yield from (["files", kind, some] for some in batched(paths))
        for row in self._integrals:
            yield ["row", *row.to_json()]
        for times in batched(history):
            yield ["done", [done for done, _ in times]]
        if latest is not None:
            yield ["latest", latest[0], latest_files]

    def forget_integrals(self) -> None:
        """Forget the integral parameters, since all images come again."""
        self._integrals.clear()
        self._repeated.clear()
        with self._lock:
            self._version += 1
        if self._file is not None:
            self._file.rewrite(self._entries())

    def close(self) -> None:
        """Close the file; it is opened again if there is more to write."""
        if self._file is not None:
            self._file.close()

    # What clients get

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to draw yet."""
        return self._latest is None

    def plot(self) -> bytes:
        """What a client draws, for one thread at a time.

        Returns
        -------
        The inside of a JSON object: ``filename, graphs, history, IntegralParameters``.
        """
        return self._plot_text.get((self._version, time.time() // _EXPIRY_SECONDS))

    def files(self) -> bytes:
        """Files that were written, for one thread at a time.

        Returns
        -------
        A JSON object with a list for each kind of curve (``Radial0``, ``Slice1``); the protocol's ``JSON`` is empty.
        """
        return self._files_text.get(self._version)

    def _make_plot(self) -> bytes:
        with self._lock:
            latest, history = self._latest, list(self._history)
        since = time.time() - _HISTORY_SECONDS
        path, curves = latest or ("", ())
        graphs = encode({"filename": path, "graphs": [self._graph(curve) for curve in curves]})[1:-1].decode()
        times = json_list(text for done, text in history if done > since)
        return f'{graphs}, "history": {times}, "IntegralParameters": {self._integrals.text()}'.encode("ascii")

    def _make_list(self) -> bytes:
        with self._lock:
            lists = {kind: list(files.values()) for kind, files in self._files.items()}
        kinds = [f'"{kind}": {json_list(files)}' for kind, files in lists.items()]
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


def _kind(curve: str) -> str:
    """Kind of a curve as clients know it: ``Radial`` for those of masks, also in phi mode, ``Slice`` for slices."""
    return f"Slice{curve[1:]}" if curve.startswith("S") else f"Radial{curve[1:]}"
