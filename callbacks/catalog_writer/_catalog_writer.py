"""A sink that writes documents to a catalog, with a journal on disk in between."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saxs_bluesky.callbacks.catalog_writer._catalog_link import CatalogLink
from saxs_bluesky.callbacks.catalog_writer._counters import CatalogCounters, JournaledRun
from saxs_bluesky.callbacks.catalog_writer._document_buffer import Batch, DocumentBuffer
from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from saxs_bluesky.callbacks.catalog_writer._run_upload import RunUpload
from saxs_bluesky.callbacks.catalog_writer._stop_documents import aborted
from saxs_bluesky.catalog import words
from saxs_bluesky.support.log_throttle import is_logged
from saxs_bluesky.support.program_end import Turn, at_program_end, end_at_once_after, forget

_log = logging.getLogger(__name__)

_JOIN_TIMEOUT = 5.0  # seconds; Tiled's client may go on trying for longer, in a daemon thread
_SECONDS_TO_HANG = 10.0  # for a request of an embedded catalog, before the program ends without it
_SECONDS_TO_LEAVE = 0.7  # at the program's end: for the disk, and for the batch that is being written


class CatalogWriter:
    """Writes the documents of raw and reduced runs to a catalog; a sink, and a callback for a RunEngine.

    A call puts the document into a queue and returns. One thread appends it to the journal, another writes from
    there to the catalog, in batches; so a catalog that is slow or away costs disk space, not memory, and the journal
    is gone through in order when it is back. Away is one that does not answer, whose disk is full or read-only, that
    is locked, or in whatever trouble of its own: it is tried again without limit. Of a run that was half written then,
    what is missing is written. A value that no column can hold costs itself and not its event.

    Documents must not be changed after the call, as Bluesky asks of everyone; arrays in events are copied.

    Parameters
    ----------
    catalog
        An open catalog; or a folder, a URI or a function without arguments, opened by the writer's own thread.
    batch_seconds
        How long documents may wait for others before they are written together, in seconds.
    batch_events
        At how many waiting documents not to wait longer, and how many to write together at most.
    journal
        Folder of the journal, one for each writer. What an earlier writer could not deliver from it is delivered
        first. None: a temporary folder, removed when all is delivered; to survive a restart, name one.
    memory
        How many bytes of documents may wait for a disk that does not keep up.

    Raises
    ------
    OutputError
        The journal's folder cannot be written, or another writer is at work in it.
    """

    def __init__(
        self,
        catalog: Any,
        *,
        batch_seconds: float = 0.5,
        batch_events: int = 500,
        journal: str | Path | None = None,
        memory: int = 256 * 2**20,
    ) -> None:
        self._ended = threading.Event()
        self._link = CatalogLink(catalog, self._ended, batch_seconds)
        self._batch_seconds = batch_seconds
        self._batch_events = batch_events
        self._temporary = journal is None
        self._journal = Journal(Path(tempfile.mkdtemp(prefix="saxs-bluesky-journal-") if journal is None else journal))
        self._uploads = [RunUpload(file, self._journal) for file in self._journal.left_over()]
        self._accepted = sum(upload.file.lines for upload in self._uploads)
        self._written = self._rejected = self._left_out = self._lost = self._not_taken = self._failures = (
            self._hurry
        ) = 0
        self._last_error = ""
        self._is_away = False
        self._changed = threading.Condition()
        self._buffer = DocumentBuffer(self._append_to_journal, self._changed, memory, self._count_lost)
        self._thread = threading.Thread(target=self._run, name="catalog writer", daemon=True)
        self._thread.start()
        at_program_end(self.leave, Turn.WRITERS)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Accept a document."""
        taken = self._buffer.put(name, doc)
        with self._changed:
            self._accepted += taken
            self._lost += not taken
            self._not_taken += not taken
            tell = not taken and is_logged(self._not_taken, first=1)
        if tell:
            why = (
                "the writer is closed" if self._ended.is_set() else "the disk does not keep up, or the writer is closed"
            )
            _log.error("a document (%s) is lost: %s; those after it are counted", name, why)

    @property
    def counters(self) -> CatalogCounters:
        """How it stands now."""
        with self._changed:
            return CatalogCounters(
                accepted=self._accepted,
                written=self._written + sum(upload.written for upload in self._uploads),
                journaled=self._buffer.waiting + sum(upload.pending for upload in self._uploads),
                rejected=self._rejected + sum(upload.rejected for upload in self._uploads),
                left_out=self._left_out + sum(upload.left_out for upload in self._uploads),
                lost=self._lost,
                failures=self._failures,
                last_error=self._last_error,
            )

    @property
    def journal(self) -> Path:
        """Folder where documents wait, and where those are that the catalog refused."""
        return self._journal.folder

    @property
    def is_away(self) -> bool:
        """True if the catalog took nothing at the last attempt."""
        return self._is_away

    @property
    def has_room(self) -> bool:
        """True if the disk keeps up: half the memory for documents that wait for it is free."""
        return self._buffer.has_room

    def runs(self) -> list[JournaledRun]:
        """Runs in the journal: those without a stop document, and those that the catalog does not have yet.

        Their documents go to the catalog as they are; further ones may be added to those without a stop document as
        long as the writer is open.
        """
        with self._changed:
            files = [upload.file for upload in self._uploads]
        return [JournaledRun(file.uid, file.left_over, file.complete, file) for file in files]

    @property
    def mark(self) -> int:
        """Stands for what was accepted so far: see `is_journaled`."""
        return self._buffer.put_so_far

    def is_journaled(self, mark: int) -> bool:
        """True if all that was accepted before a `mark` is on disk."""
        return self._buffer.handled_so_far >= mark and not self._lost

    def wait_for_journal(self, timeout: float | None = None) -> bool:
        """Wait until all that was accepted so far is on disk; False at the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._buffer.waiting, timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing waits any more; whether the catalog has everything that was accepted so far.

        False at the timeout, and where documents were refused for good or lost: `counters` tell which, and the
        journal's folder ``rejected`` holds them.
        """
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                settled = self._changed.wait_for(self._settled, timeout)
            finally:
                self._hurry -= 1
        counters = self.counters
        return settled and not (counters.rejected or counters.lost)

    def end_left_over(self, reason: str = "the program ended before its time") -> None:
        """End the runs that an earlier program left without a stop document, as aborted.

        To be called by who does not go on with them.

        Parameters
        ----------
        reason
            What their stop documents tell.
        """
        self._end_runs(reason, left_over=True)

    def _end_runs(self, reason: str, *, left_over: bool = False) -> bool:
        """End runs without a stop document; whether there were any."""
        with self._changed:
            files = [upload.file for upload in self._uploads]
        ended = [file for file in files if not file.complete and (file.left_over or not left_over)]
        for file in ended:
            try:
                stop = aborted(file, reason)
            except (OSError, ValueError, KeyError) as error:
                _log.warning(
                    "%s: the run gets no stop document, since its journal cannot be read (%s)", file.path, error
                )
            else:
                self(*stop)
        return bool(ended)

    def close(self, timeout: float = 10.0) -> bool:
        """Deliver what waits, as far as the timeout in seconds allows, and end; what is left stays in the journal.

        Runs that have not stopped are aborted, if all of them is in the catalog; else the journal keeps them open.
        Returns whether the catalog has everything, as `wait`.
        """
        again, end = self._ended.is_set(), time.monotonic() + timeout
        settled = self.wait(timeout)
        if settled and not again and self._end_runs("the catalog's writer was closed before the run's stop document"):
            settled = self.wait(max(0.0, end - time.monotonic()))
        self._end_threads(_JOIN_TIMEOUT)
        return settled

    def leave(self, until: float, at_most: float) -> None:
        """Deliver until a moment, by ``time.monotonic``, and leave the rest in the journal; the end of a program.

        A temporary journal is found by no other writer: what is in it is delivered up to the later moment ``at_most``.
        """
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            end = max(until, at_most) if self._temporary else until
            self._changed.wait_for(self._is_in_safety, max(0.0, end - time.monotonic()))
        self._end_threads(_SECONDS_TO_LEAVE)
        if not self.has_ended:
            end_at_once_after(_SECONDS_TO_HANG)  # a request to a catalog that never answers would keep the program

    def _is_in_safety(self) -> bool:
        """True if the catalog has everything; or the journal has, and the catalog is not to be had."""
        return self._settled() or (not self._buffer.waiting and (self._is_away or self._link.catalog is None))

    def _end_threads(self, seconds: float) -> None:
        forget(self.leave)
        again = self._ended.is_set()
        self._journal.abandoned.set()
        self._buffer.close(0 if again else seconds)
        with self._changed:
            self._ended.set()
            self._changed.notify_all()
        self._thread.join(0 if again else seconds)
        if not (self.has_ended or again):
            _log.warning(
                "the catalog %s, and is left without waiting any longer: documents that it does not have are in %s",
                "is not open yet" if self._link.catalog is None else "does not answer",
                self._journal.folder,
            )

    @property
    def has_ended(self) -> bool:
        """True if its threads are through: until then the catalog must not be closed, since one may be asking it."""
        return self._buffer.has_ended and not self._thread.is_alive()

    def __enter__(self) -> CatalogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append_to_journal(self, batch: Batch) -> None:
        new, stray, lost = self._journal.append(batch)
        with self._changed:
            self._uploads += [RunUpload(file, self._journal) for file in new]
            self._rejected += stray
            self._lost += lost

    def _count_lost(self, batch: Batch, error: Exception) -> None:
        _log.error("%d documents are lost: the journal could not take them (%s)", len(batch), words(error))
        with self._changed:
            self._lost += len(batch)
            self._last_error = words(error)

    def _settled(self) -> bool:
        return not (self._buffer.waiting or any(upload.pending for upload in self._uploads))

    def _ready(self) -> list[RunUpload]:
        return [] if self._link.pause else [run for run in self._uploads if run.is_due(run.taken)]

    def _is_due(self) -> bool:
        ready = self._ready()
        waiting = sum(upload.pending for upload in ready)
        hurry = bool(self._hurry) or any(upload.is_new for upload in ready)
        return self._ended.is_set() or waiting >= self._batch_events or (waiting > 0 and hurry)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._turn()
            # What waits would wait for ever without this thread.
            except Exception as error:  # noqa: BLE001
                _log.exception("the catalog's writer failed, and goes on")
                self._pause_away(error)
        self._let_go()

    def _turn(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended.is_set() or self._ready(), self._link.pause or self._batch_seconds
            )
            # From the first document that waits, since the first batch settles the size of the arrays' chunks:
            # one of a single event would make all later ones slow.
            self._changed.wait_for(self._is_due, 0 if self._link.pause else self._batch_seconds)
            # A new run is told at once, so that its first events find it; what comes meanwhile waits.
            due = [(run, 1 if run.is_new else run.taken) for run in self._uploads]
        while (due := [(run, count) for run, count in due if run.is_due(count)]) and self._reach():
            # A batch of each, so that a long run that is written again does not hold up the others.
            for upload, count in due:
                if not (self._link.pause or self._ended.is_set()):
                    self._upload_batch(upload, count)

    def _reach(self) -> bool:
        if self._ended.is_set():
            return False
        try:
            self._link.reach()
        # A catalog can be away in as many ways as there are networks.
        except Exception as error:  # noqa: BLE001
            self._pause_away(error)
            return False
        return True

    def _pause_away(self, error: Exception) -> None:
        self._note_away(error)
        with self._changed:
            self._link.pause_longer()

    def _note_away(self, error: Exception) -> None:
        if not self._is_away:
            _log.warning("the catalog is away (%s): documents wait in %s", words(error), self._journal.folder)
        self._is_away = True
        self._note_failure(error)

    def _note_failure(self, error: Exception) -> None:
        with self._changed:
            self._failures += 1
            self._last_error = words(error)

    def _upload_batch(self, upload: RunUpload, count: int) -> None:
        try:
            upload.write_batch(self._link.catalog, count, self._batch_events)
        # What the client, the normalizer or the server raise; the journal has the documents.
        except Exception as error:  # noqa: BLE001
            if self._ended.is_set():
                return  # what an embedded catalog says while the program ends is no answer
            self._decide(upload, error)
        else:
            if self._is_away:
                _log.info("the catalog takes documents again")
            self._is_away = False
        with self._changed:
            if upload.finished:
                self._retire(upload)
            self._changed.notify_all()

    def _decide(self, upload: RunUpload, error: Exception) -> None:
        try:
            away, outcome = upload.failed(error, self._link.catalog, self._batch_seconds)
        except OSError as full:  # what the catalog refuses cannot be set aside
            self._pause_away(full)
        else:
            if away:
                self._note_away(error)
            else:
                _log.warning("run %s was not taken by the catalog (%s): %s", upload.file.uid, words(error), outcome)
                self._note_failure(error)

    def _retire(self, upload: RunUpload) -> None:
        self._uploads.remove(upload)
        self._written += upload.written
        self._rejected += upload.rejected
        self._left_out += upload.left_out
        upload.close()

    def _let_go(self) -> None:
        if not self._buffer.has_ended:
            return  # the journal is still being written to
        with self._changed:
            # One that is open stays in the journal: the next writer ends it.
            for upload in [upload for upload in self._uploads if upload.is_over]:
                self._retire(upload)
        self._journal.close()
        self._link.close()
        if self._temporary and not (self._uploads or self._rejected or self._left_out):
            shutil.rmtree(self._journal.folder, ignore_errors=True)
        elif self._temporary:
            text = "documents that the catalog does not have are in %s (saxs-bluesky journal retry %s --catalog WHERE)"
            _log.warning(text, self._journal.folder, self._journal.folder)
        elif self._uploads:
            _log.warning("documents that the catalog does not have are in %s", self._journal.folder)
