"""The merge as a Bluesky callback: documents of raw and reduced runs in, documents of merged runs out."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from event_model import unpack_event_page

from saxs_bluesky.callbacks.merge._logger_entries import LoggerEntries
from saxs_bluesky.callbacks.merge._raw_images import RawImages
from saxs_bluesky.callbacks.merge._run_merge import RunMerge, reduced_keys
from saxs_bluesky.documents import Document, NamedDocument, RunLookup, is_merged, is_reduced
from saxs_bluesky.errors import OutputError
from saxs_bluesky.merge import Method
from saxs_bluesky.support.program_end import Turn, at_program_end, forget

_log = logging.getLogger(__name__)

Sink: TypeAlias = Callable[[str, dict[str, Any]], Any]

_CLOSE = object()
_MOST_DOCUMENTS = 200_000  # that wait, without arrays
_AT_ONCE = 1000  # documents that are taken in before rows are merged
_TOGETHER = 0.1  # seconds in which documents are collected
_LOOK = 0.05  # seconds between looks at images that wait
_STOPPED_RUNS = 20  # of which nothing was reduced, and something may still be


class _Reduced:
    """A reduced run: its merged runs by the names of streams."""

    def __init__(self, start: Document, raw: RawImages) -> None:
        self.start = start
        self.raw = raw
        self.streams: dict[str, str] = {}  # names by the uids of descriptors
        self.merges: dict[str, RunMerge] = {}


class LiveMerge:
    """Merges each image of a run with what was logged during its exposure, while the run goes on.

    Subscribe it to a RunEngine, and give it to a `Reduction` as a sink: it takes the loggers and the exposures from the
    raw run and the integral parameters from the reduced one, and hands merged runs to its own sinks, row by row. It
    returns at once and never raises; rows are made in a thread of its own. An image waits until the loggers have passed
    the end of its exposure, no longer than ``patience``, and no longer than to the end of the run. Columns are those of
    the streams that there are when the first image is merged.

    Parameters
    ----------
    sinks
        What gets the documents of merged runs: callables ``(name, document)``, called in one thread, in order.
    loggers
        Names of the streams to merge; None: all streams without images.
    method
        How values at images are found, for all loggers or by the names of their streams: one of `Method`. None: the
        mean over the exposure of what monitored signals hold, and ``auto`` for others.
    tolerance
        Seconds beyond which an entry does not count, for all loggers or by their names. None: without limit.
    offsets
        Clock of a logger minus that of the images, seconds, by the logger's name; subtracted from its times.
    reduced
        Whether rows are made of reduced images; False: of the raw run's images, without a reduction.
    patience
        For how long an image waits for entries of loggers, seconds.

    Attributes
    ----------
    merged
        How many images are merged.
    failed
        How many documents could not be understood.
    sink_errors
        How many documents a sink did not take.

    Raises
    ------
    OutputError
        A method is none.
    """

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        loggers: Sequence[str] | None = None,
        method: str | Mapping[str, str] | None = None,
        tolerance: float | Mapping[str, float] | None = None,
        offsets: Mapping[str, float] | None = None,
        reduced: bool = True,
        patience: float = 5.0,
    ) -> None:
        self.sinks: list[Sink] = list(sinks)
        self._wanted = None if loggers is None else frozenset(loggers)
        self._method = method
        for one in method.values() if isinstance(method, Mapping) else [method]:
            _method(one)
        self._tolerance = tolerance
        self._offsets = dict(offsets or {})
        self._of_reduced = reduced
        self._patience = patience
        self._raw: RunLookup[RawImages] = RunLookup()
        self._reduced: RunLookup[_Reduced] = RunLookup()
        self._of_raw: dict[str, dict[tuple[str, str], RunMerge]] = {}  # without a reduction
        self._told: set[object] = set()
        self._documents: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._accepted = self._taken = self._refused = self._waiting = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self.merged = self.failed = self.sink_errors = 0

    # Any thread

    def __call__(self, name: str, doc: Document) -> None:
        """Accept a document of a raw or of a reduced run."""
        try:
            if name == "event_page":
                for event in unpack_event_page(doc):  # type: ignore[arg-type]
                    self("event", event)
                return
            kept = _without_arrays(doc) if name == "event" else doc
        # A document that is none must not stop the scan.
        except Exception:  # noqa: BLE001
            self._note_failure(name)
            return
        with self._changed:
            if self._closed or self._accepted - self._taken >= _MOST_DOCUMENTS:
                self._refuse()
                return
            if self._thread is None:
                self._start()
            self._accepted += 1
            self._documents.put((name, kept))

    def _start(self) -> None:
        # A daemon, since a thread that waits for documents would keep the interpreter from ending.
        self._thread = threading.Thread(target=self._work, name="saxs-bluesky-merge", daemon=True)
        self._thread.start()
        at_program_end(self.leave, Turn.MERGES)

    def _refuse(self) -> None:
        self._refused += 1
        if self._refused == 1:
            reason = "it was closed" if self._closed else f"{_MOST_DOCUMENTS} documents wait already"
            _log.warning("LiveMerge: a document is not merged, nor are those after it (%s)", reason)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything accepted is merged and handed to the sinks.

        Returns
        -------
        Whether it is; False when ``timeout`` seconds were not enough.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_done, timeout)
            return self._is_done

    @property
    def _is_done(self) -> bool:
        return self._accepted == self._taken and not self._waiting

    def close(self, timeout: float | None = None) -> bool:
        """Merge what waits, end the merged runs that are open, and end the thread."""
        with self._changed:
            self._closed = True
            thread = self._thread
        if thread is None:
            return True
        forget(self.leave)
        self._documents.put(_CLOSE)
        thread.join(timeout)
        return not thread.is_alive()

    def leave(self, until: float, at_most: float) -> None:
        """Do what `close` does until the later of two moments, by ``time.monotonic``; for the end of a program."""
        if not self.close(max(0.0, max(until, at_most) - time.monotonic())):
            _log.warning("the program ends, and %d documents are not merged any more", self._accepted - self._taken)

    # The thread that merges

    def _work(self) -> None:
        closing = False
        while not closing:
            closing, count = self._take_some()
            self._advance()
            if closing:
                for merge in self._merges():
                    self._hand_out(merge.stop("abort", "the merge was closed before the end of the run"))
            waiting = sum(merge.waiting for merge in self._merges())
            with self._changed:
                self._taken += count
                self._waiting = waiting
                self._changed.notify_all()

    def _take_some(self) -> tuple[bool, int]:
        """Take documents in that have come; whether it is the end, and how many."""
        count = 0
        timeout = _LOOK if self._waiting else None
        until = math.inf
        with suppress(queue.Empty):
            while count < _AT_ONCE:
                item = self._documents.get(timeout=timeout)
                if item is _CLOSE:
                    return True, count
                count += 1
                self._take(*item)
                # Rows that are merged together take hardly longer than one.
                until = min(until, time.monotonic() + _TOGETHER)
                timeout = max(0.0, until - time.monotonic())
        return False, count

    def _take(self, name: str, doc: Document) -> None:
        try:
            self._follow(name, doc)
        # One document costs itself.
        except Exception:  # noqa: BLE001
            self._note_failure(name)

    def _note_failure(self, name: str) -> None:
        self.failed += 1
        level = logging.DEBUG if "document" in self._told else logging.WARNING
        self._told.add("document")
        _log.log(level, "LiveMerge: a %s document could not be understood", name, exc_info=True)

    def _follow(self, name: str, doc: Document) -> None:
        if name == "start":
            self._begin(doc)
            return
        raw = self._raw.run_of(name, doc)
        if raw is not None:
            self._follow_raw(raw, name, doc)
            return
        reduced = self._reduced.run_of(name, doc)
        if reduced is not None:
            self._follow_reduced(reduced, name, doc)

    def _begin(self, start: Document) -> None:
        if is_merged(start):
            return
        if not is_reduced(start):
            if "original_run_uid" not in start:
                self._raw.note(start["uid"], RawImages(start, self._is_wanted, self._entries))
                self._forget_old()
            return
        if not self._of_reduced:
            return
        raw = self._raw.get(start["original_run_uid"])
        if raw is None:
            _log.warning(
                "LiveMerge: the raw run %s is not known, so its reduced run is not merged: subscribe LiveMerge to the "
                "RunEngine too",
                start["original_run_uid"],
            )
            return
        self._reduced.note(start["uid"], _Reduced(start, raw))

    def _follow_raw(self, raw: RawImages, name: str, doc: Document) -> None:
        if name == "descriptor":
            raw.describe(doc)
            self._raw.note(doc["uid"], raw)
        elif name == "event":
            for stream, detector, index, times in raw.event(doc):
                if not self._of_reduced:
                    self._merge_of_raw(raw, stream, detector).add(index, times.end, {})
        elif name == "stop":
            raw.has_stopped = True
            for merge in self._of_raw.pop(raw.start["uid"], {}).values():
                self._end(merge, doc)
            if not self._of_reduced:
                self._raw.forget(raw)

    def _merge_of_raw(self, raw: RawImages, stream: str, detector: str) -> RunMerge:
        merges = self._of_raw.setdefault(raw.start["uid"], {})
        if (stream, detector) not in merges:
            merges[stream, detector] = RunMerge(raw, stream, detector, patience=self._patience)
        return merges[stream, detector]

    def _follow_reduced(self, run: _Reduced, name: str, doc: Document) -> None:
        if name == "descriptor":
            self._reduced.note(doc["uid"], run)
            run.streams[doc["uid"]] = doc["name"]
            if doc["name"] not in run.merges:
                run.merges[doc["name"]] = RunMerge(
                    run.raw,
                    doc["name"],
                    run.start["detector"],
                    reduced=run.start["uid"],
                    keys=reduced_keys(doc),
                    patience=self._patience,
                )
        elif name == "event":
            data = doc["data"]
            run.merges[run.streams[doc["descriptor"]]].add(data["frame_index"], data["image_time"], data)
        elif name == "stop":
            for merge in run.merges.values():
                self._end(merge, doc)
            self._reduced.forget(run)
            if run.raw.has_stopped and not any(one.raw is run.raw for one in self._reduced.runs()):
                self._raw.forget(run.raw)

    def _end(self, merge: RunMerge, stop: Document) -> None:
        """End a merged run as the run ended that it is made of."""
        self._hand_out(merge.stop(stop.get("exit_status", "abort"), stop.get("reason") or ""))

    def _forget_old(self) -> None:
        """Give up raw runs that stopped long ago and of which nothing was reduced."""
        in_use = {run.raw.start["uid"] for run in self._reduced.runs()}
        old = [raw for raw in self._raw.runs() if raw.has_stopped and raw.start["uid"] not in in_use]
        for raw in old[:-_STOPPED_RUNS]:
            self._raw.forget(raw)

    def _is_wanted(self, stream: str) -> bool:
        return self._wanted is None or stream in self._wanted

    def _entries(self, descriptor: Document, run_uid: str) -> LoggerEntries:
        name = descriptor["name"]
        method = self._method.get(name) if isinstance(self._method, Mapping) else self._method
        tolerance = self._tolerance.get(name) if isinstance(self._tolerance, Mapping) else self._tolerance
        return LoggerEntries(
            descriptor,
            run_uid,
            method=_method(method),
            tolerance=tolerance,
            offset=self._offsets.get(name, 0.0),
        )

    def _merges(self) -> list[RunMerge]:
        of_raw = [merge for merges in self._of_raw.values() for merge in merges.values()]
        return [*of_raw, *(merge for run in self._reduced.runs() for merge in run.merges.values())]

    def _advance(self) -> None:
        for merge in self._merges():
            self._hand_out(merge.documents())

    def _hand_out(self, documents: Iterable[NamedDocument]) -> None:
        try:
            for document in documents:
                self.merged += document[0] == "event"
                for sink in self.sinks:
                    self._give(sink, document)
        # A fault in one run must not stop the merge of the others.
        except Exception:  # noqa: BLE001
            self._note_failure("merged")

    def _give(self, sink: Sink, document: NamedDocument) -> None:
        try:
            sink(*document)
        # One sink's fault must neither reach the others nor stop the merge.
        except (Exception, SystemExit):  # noqa: BLE001
            # It may fail for every row of a day: the first time is told, the others are counted.
            level = logging.DEBUG if id(sink) in self._told else logging.WARNING
            self._told.add(id(sink))
            _log.log(level, "LiveMerge: sink %r failed on a %s document", sink, document[0], exc_info=True)
            self.sink_errors += 1


def _method(name: str | None) -> Method | None:
    try:
        return None if name is None else Method(name)
    except ValueError as error:
        raise OutputError(f"LiveMerge: wanted a method of {', '.join(Method)}, found {name!r}") from error


def _without_arrays(event: Document) -> Document:
    """An event without images and curves, which are not needed and would fill the memory while they wait."""
    data = {key: value for key, value in event["data"].items() if not isinstance(value, list | tuple | np.ndarray)}
    return {**event, "data": data}
