"""What was lost on the way from a RunEngine in another process, found out and told."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from event_model import EventPage, unpack_event_page

from saxs_bluesky.callbacks.network._run_tally import RunTally
from saxs_bluesky.callbacks.network._unseen_runs import UnseenRuns
from saxs_bluesky.documents import Document, RunLookup
from saxs_bluesky.support.latest import keep_latest

_log = logging.getLogger(__name__)

_OPEN_RUNS = 100
_IDLE_SECONDS = 86400.0  # a plan that is paused overnight goes on in the morning
_FINISHED_RUNS = 1000
_TOLD = 100
_RESOURCES = 10_000


@dataclass(frozen=True)
class GuardReport:
    """What a `LossDetector` saw.

    ``passed`` documents were handed on. ``lost`` events and frames of stream_datum never came, as far as is known
    now. ``passed_over`` documents came without the one that they refer to, such as those of runs whose start was not
    seen; ``duplicates`` came before; ``senseless`` are no documents. ``forgotten`` runs never stopped.
    ``told`` are the last 100 lines of what was found; as a text the report is these lines.
    """

    passed: int = 0
    lost: int = 0
    passed_over: int = 0
    duplicates: int = 0
    senseless: int = 0
    forgotten: int = 0
    told: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.told)


class LossDetector:
    """Stands between a network that may lose documents and their consumer.

    Gaps in ``seq_num`` are found as they happen, and at the stop document what came is compared with ``num_events``.
    What came is handed on, whatever is missing around it; the stop document of a run that has losses is handed on
    with them in its ``reason``, so that the reduced run tells them. Duplicates are left out (a point that the
    RunEngine took again is none: it has another uid). So are documents of runs whose start was not seen.
    Event pages are handed on as events.

    A run that never stops is forgotten after ``idle_seconds`` without a document, or when there are more than
    ``open_runs``; the consumer gets a stop document that says so.

    One thread may call it, which raises only what the consumer does; any may ask for the report.

    Parameters
    ----------
    consumer
        What gets the documents: ``(name, document)``.
    open_runs
        How many runs to follow at a time.
    idle_seconds
        After how long to forget a run.
    """

    def __init__(
        self,
        consumer: Callable[[str, Document], Any],
        *,
        open_runs: int = _OPEN_RUNS,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._consumer = consumer
        self._open_runs = open_runs
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._runs: RunLookup[RunTally] = RunLookup()
        # Data keys by the uids of resources: those of a run that has stopped, or of none, are of use to others too.
        self._resources: dict[str, str] = {}
        self._unseen_runs = UnseenRuns()
        self._finished: deque[str] = deque(maxlen=_FINISHED_RUNS)
        self._told: deque[str] = deque(maxlen=_TOLD)
        self._passed = self._lost = self._duplicates = self._senseless = self._forgotten = 0

    def __call__(self, name: str, doc: Document) -> None:
        """Take a document in; hand on what is good."""
        with self._lock:
            good = list(self._checked(name, doc))
            self._passed += len(good)
        for document in good:
            self._consumer(*document)

    @property
    def report(self) -> GuardReport:
        """What was seen so far."""
        with self._lock:
            return GuardReport(
                passed=self._passed,
                lost=self._lost + sum(run.lost for run in self._runs.runs()),
                passed_over=self._unseen_runs.total,
                duplicates=self._duplicates,
                senseless=self._senseless,
                forgotten=self._forgotten,
                told=tuple(self._told),
            )

    def _tell_finding(self, text: str) -> None:
        if text:
            self._told.append(text)
            _log.warning("%s", text)

    def _checked(self, name: str, doc: Document) -> Iterator[tuple[str, Document]]:
        try:
            if name == "start":
                yield from self._start(doc)
            elif name == "event_page":
                for event in unpack_event_page(cast(EventPage, doc)):
                    yield from self._checked("event", event)
            else:
                yield from self._of_a_run(name, doc)
        # A document that is no document must not stop the others.
        except Exception as error:  # noqa: BLE001
            self._senseless += 1
            self._tell_finding(f"{name} document that makes no sense: {type(error).__name__}: {error}")

    def _start(self, doc: Document) -> Iterator[tuple[str, Document]]:
        if self._runs.get(doc["uid"]) is not None:
            self._duplicates += 1
            return
        run = RunTally(doc["uid"])
        yield from self._ended_runs()
        self._runs.note(doc["uid"], run)
        yield "start", doc

    def _of_a_run(self, name: str, doc: Document) -> Iterator[tuple[str, Document]]:
        run = self._run_of(name, doc)
        if run is None:
            if self._is_of_any_run(name, doc):
                yield name, doc
            elif name == "stop" and doc["run_start"] in self._finished:
                self._duplicates += 1
            else:
                self._tell_finding(self._unseen_runs.count_document(name, doc, alone=not self._runs.runs()))
        elif not run.is_new(doc):
            self._duplicates += 1
        else:
            yield name, self._stop(run, doc) if name == "stop" else self._noted(run, name, doc)

    def _run_of(self, name: str, doc: Document) -> RunTally | None:
        if name in ("resource", "stream_resource") and "run_start" not in doc:
            return None
        return self._runs.run_of(name, doc)

    def _is_of_any_run(self, name: str, doc: Document) -> bool:
        """True if a document is of use though its run has stopped, or it names none.

        A detector that is staged once for two runs tells of its resource in the first and of its datums in both.
        """
        if name in ("resource", "stream_resource"):
            if "run_start" in doc and doc["run_start"] not in self._finished:
                return False
            self._note_resource(name, doc)
            return True
        return name in ("datum", "datum_page") and doc["resource"] in self._resources

    def _note_resource(self, name: str, doc: Document) -> None:
        if "uri" not in doc and "resource_path" not in doc:
            raise ValueError("wanted a uri or a resource_path, found none")
        data_key = str(doc["data_key"]) if name == "stream_resource" else ""
        keep_latest(self._resources, doc["uid"], data_key, _RESOURCES)

    def _noted(self, run: RunTally, name: str, doc: Document) -> Document:
        if name == "descriptor":
            run.describe(doc)
            self._runs.note(doc["uid"], run)
        elif name in ("resource", "stream_resource"):
            self._note_resource(name, doc)
            self._runs.note(doc["uid"], run)
        elif name == "event":
            self._tell_of(run, run.note_arrival(doc["descriptor"], doc["seq_num"], doc["seq_num"] + 1))
        elif name == "stream_datum":
            self._stream_datum(run, doc)
        return doc

    def _stream_datum(self, run: RunTally, doc: Document) -> None:
        resource = doc["stream_resource"]
        if resource not in self._resources:
            self._tell_of(run, f"stream_datum without its stream_resource {resource}: its frames are lost")
            return
        numbers, source = doc["seq_nums"], self._resources[resource]
        self._tell_of(run, run.note_arrival(doc["descriptor"], numbers["start"], numbers["stop"], source))

    def _tell_of(self, run: RunTally, text: str) -> None:
        self._tell_finding(text and f"run {run.uid}: {text}")

    def _stop(self, run: RunTally, doc: Document) -> Document:
        losses = list(run.losses(doc.get("num_events")))
        self._close(run, sum(number for number, _ in losses))
        if not losses:
            return doc
        text = f"lost on the way: {'; '.join(loss for _, loss in losses)}"
        self._tell_of(run, text)
        return {**doc, "reason": "; ".join(filter(None, [str(doc.get("reason") or ""), text]))}

    def _close(self, run: RunTally, lost: int) -> None:
        self._lost += lost
        self._runs.forget(run)
        self._finished.append(run.uid)

    def _ended_runs(self) -> Iterator[tuple[str, Document]]:
        """End the runs that seem never to stop."""
        now = time.monotonic()
        by_age = sorted(self._runs.runs(), key=lambda run: run.touched)
        too_many = len(by_age) + 1 - self._open_runs
        for position, run in enumerate(by_age):
            idle = now - run.touched
            if position < too_many or idle > self._idle_seconds:
                self._forgotten += 1
                self._close(run, run.lost)
                text = f"no stop document came; forgotten after {idle:.0f} s without a document"
                self._tell_of(run, text)
                stop = {"uid": str(uuid4()), "run_start": run.uid, "time": time.time()}
                yield "stop", stop | {"exit_status": "abort", "reason": text, "num_events": {}}
