"""Reduced and merged runs on their way into a catalog, without a journal: their documents can be made again."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from saxs_bluesky.catalog._errors import words
from saxs_bluesky.documents import RunLookup, new_uid

_log = logging.getLogger(__name__)

_SECONDS = 1.0  # between two batches
_EVENTS = 500  # of one batch at most
_MANY_EVENTS = 5000  # without arrays


@dataclass
class _Open:
    """A run that has not stopped."""

    writer: Any
    sink: Any
    streams: dict[str, str] = field(default_factory=dict)  # names by the uids of their descriptors
    events: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    flushed: float = field(default_factory=time.monotonic)


class ReducedWriting:
    """Writes the documents of several runs in batches; a run that is left open by an error gets a stop document.

    Parameters
    ----------
    catalog
        Where they go.
    of_scalars
        Whether no event has an array: such runs are written in larger batches, and their documents, all composed here,
        need no check, which would take three quarters of the time.
    """

    def __init__(self, catalog: Any, *, of_scalars: bool = False) -> None:
        self._catalog = catalog
        self._of_scalars = of_scalars
        self._most = _MANY_EVENTS if of_scalars else _EVENTS
        self._runs: RunLookup[_Open] = RunLookup()
        self.uids: list[str] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Write a document, or keep it for the next batch."""
        run = self._open_run(doc) if name == "start" else self._runs.run_of(name, doc)
        assert run is not None
        if name == "descriptor":
            self._runs.note(doc["uid"], run)
            run.streams[doc["uid"]] = doc["name"]
            run.events.setdefault(doc["name"], 0)
        run.sink(name, doc)
        if name == "event":
            run.events[run.streams[doc["descriptor"]]] += 1
            run.waiting += 1
        if name == "stop":
            self._runs.forget(run)
        elif run.waiting >= self._most or (run.waiting and time.monotonic() - run.flushed >= _SECONDS):
            run.writer.flush()
            run.waiting, run.flushed = 0, time.monotonic()

    def _open_run(self, start: dict[str, Any]) -> _Open:
        from saxs_bluesky.catalog.run_writer import RunWriter, normalized

        writer = RunWriter(self._catalog)
        run = _Open(writer, writer if self._of_scalars else normalized(writer))
        self._runs.note(start["uid"], run)
        self.uids.append(start["uid"])
        return run

    def __enter__(self) -> ReducedWriting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "fail" if isinstance(error, Exception) else "abort"
        reason = "its documents ended" if error is None else f"not reduced to its end: {words(error)}"
        for uid in self.uids:
            if (run := self._runs.get(uid)) is not None:
                self._end_run(uid, run, status, reason)

    def _end_run(self, uid: str, run: _Open, status: str, reason: str) -> None:
        stop = {
            "uid": new_uid(),
            "run_start": uid,
            "time": time.time(),
            "exit_status": status,
            "reason": reason,
            "num_events": run.events,
        }
        try:
            try:
                self("stop", stop)
            except Exception:  # noqa: BLE001 - of what was to be written before it
                self._catalog[uid].update_metadata(metadata={"stop": stop}, drop_revision=True)
        # The error that is on its way tells more.
        except Exception as error:  # noqa: BLE001
            _log.warning("run %s stays open, since the catalog does not take its end: %s", uid, words(error))
