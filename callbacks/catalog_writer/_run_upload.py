"""One run from its journal file into the catalog: what is missing of it there, and never more."""

from __future__ import annotations

import logging
import time
from typing import Any

from saxs_bluesky.callbacks.catalog_writer._catalog_link import LONGEST_PAUSE
from saxs_bluesky.callbacks.catalog_writer._document_lines import CUT_OFF, Glance, decode
from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal
from saxs_bluesky.callbacks.catalog_writer._write_probe import takes_writes
from saxs_bluesky.catalog import is_away, words
from saxs_bluesky.documents import REFERRED_TO
from saxs_bluesky.errors import CatalogError, system_reason

_log = logging.getLogger(__name__)

_ATTEMPTS = 3  # for errors that may pass, of a catalog that takes other things
_MOST_SKIPPED = 10  # documents of a run; with more of them refused there is no sense in the rest
_READ_AT_ONCE = 500  # documents
_TRIMMED_AT = 64 * 2**20  # bytes of a journal that the catalog has
_KEPT = 1000  # documents
_CONFLICT = 409


class RunUpload:
    """Writes a run file to the catalog, batch by batch.

    After a batch that failed, and after another program's end, nobody knows what of the run is in the catalog. So it
    is asked, and what is missing is written: what can be seen stays, nothing is lost and nothing doubled. Only a run
    that this journal began is added to.

    Parameters
    ----------
    file
        The run's documents.
    journal
        What keeps those that the catalog refuses.
    """

    def __init__(self, file: RunJournal, journal: Journal) -> None:
        self.file = file
        self.retry_at = 0.0
        self.left_out = 0
        self._journal = journal
        self._written = self._position = 0
        self._refused = False
        self._skipped: set[int] = set()
        self._suspects = range(0)
        self._batch = range(0)
        self._culprit: int | None = None
        self._attempts = 0
        self._pause = 0.0
        self._next_trim = _TRIMMED_AT
        self._may_be_there = True
        self._writer: Any = None
        self._sink: Any = None

    @property
    def pending(self) -> int:
        """How many documents still wait."""
        return 0 if self._refused else self.file.lines - self._written

    @property
    def taken(self) -> int:
        """How many documents the run has so far; those that were cut off from its file count, so it never falls."""
        return self.file.cut + self.file.lines

    def is_due(self, count: int) -> bool:
        """True if one of the run's first so many documents waits, and may be tried."""
        return not self._refused and self.file.cut + self._written < count and self.retry_at <= time.monotonic()

    @property
    def is_new(self) -> bool:
        """True if the run is not in the catalog yet and no attempt has failed."""
        return not (self._written or self._attempts or self._pause or self._refused) and self.file.lines > 0

    @property
    def rejected(self) -> int:
        """How many documents the catalog refused."""
        return self.file.lines if self._refused else len(self._skipped)

    @property
    def written(self) -> int:
        """How many documents the catalog has."""
        if self._refused:
            return 0
        return self.file.cut + self._written - sum(number < self._written for number in self._skipped)

    @property
    def finished(self) -> bool:
        """True if the run has stopped and nothing of it waits."""
        return self.file.complete and not self.pending

    @property
    def is_over(self) -> bool:
        """True if nothing more will become of it: it has stopped and is in the catalog, or is refused."""
        return self.finished or self._refused

    def write_batch(self, catalog: Any, count: int, limit: int) -> None:
        """Write up to ``limit`` of the run's first ``count`` documents; after any error, ask what the catalog has."""
        self._culprit = None
        self._batch = range(self._position, self._position)
        try:
            if self._sink is None:
                self._begin_run(catalog)
            while self._position < self._written:  # what is there; events need not even be decoded
                self._hand_over(min(_READ_AT_ONCE, self._written - self._position))
            if self.pending:
                self._batch = self._hand_over(self._batch_size(min(limit, count - self.file.cut - self._written)))
                self._flush()
                self._written = self._position
                if self._written >= self._suspects.stop:
                    self._attempts = 0
        except BaseException:
            self._start_over()
            raise
        self._pause = 0.0
        if self.file.bytes_read >= self._next_trim:
            self._trim()

    def _trim(self) -> None:
        """Cut off what the catalog has of a run that is long open; the last events stay, for who looks back."""
        line = self._written - _KEPT
        if line <= 0 or self._skipped or self._suspects:
            return
        keys = {
            glance.doc["uid"]: glance.doc["data_keys"] for glance in self.file.glances() if glance.name == "descriptor"
        }

        def is_cut(glance: Glance) -> bool:
            told = keys.get(glance.descriptor, {})
            # Files are found by their documents, and the reduction of files asks for its raw run's.
            return bool(told) and not any("external" in entry or key == "file_stamp" for key, entry in told.items())

        try:
            shift = self.file.trim(line, is_cut)
        except OSError as error:
            _log.warning("%s: the journal cannot be shortened now (%s)", self.file.path, system_reason(error))
        else:
            self._written -= shift
            self._position -= shift
        self._next_trim = self.file.bytes_read + _TRIMMED_AT

    def _begin_run(self, catalog: Any) -> None:
        from saxs_bluesky.catalog.run_writer import RunWriter, normalized

        root = _container(catalog, self.file.uid)
        if root is not None and not self.file.begun:
            raise AlreadyThereError(
                f"run {self.file.uid} is in the catalog already, and was not written from this journal"
            )
        if root is None and self.file.cut:
            _log.warning(
                "run %s is no longer in the catalog, which had %d events of it: they are not in the journal any more",
                self.file.uid,
                self.file.cut,
            )
        self._may_be_there = root is not None or self.file.left_over or self.file.cut > 0
        self.file.mark_begun()
        self._writer = RunWriter(catalog, root, self._leave_out)
        self._sink = normalized(self._writer)

    def _leave_out(self, stream: str, key: str, number: int, value: Any, reason: str) -> None:
        self.left_out += self._journal.aside.value(self.file.uid, stream, key, number, value, reason)

    def _batch_size(self, limit: int) -> int:
        """Batch size: one where the culprit is looked for, and not beyond the place where that begins."""
        if self._written in self._suspects:
            return 1
        return min(limit, self._suspects.start - self._written) if self._written < self._suspects.start else limit

    def _hand_over(self, limit: int) -> range:
        """Hand documents to the writer; those that the catalog has are passed over there."""
        batch = self.file.read(limit)
        self._batch = range(self._position, self._position + len(batch))
        for number, line in batch:
            if number not in self._skipped:
                self._culprit = number
                if not self._is_there(line):
                    name, doc = decode(line)
                    if name == "stop":
                        self._flush()  # or it would be blamed for the events that it flushes
                    self._culprit = number
                    self._sink(name, doc)
        self._culprit = None
        self._position = self._batch.stop
        return self._batch

    def _is_there(self, line: bytes) -> bool:
        if not self._may_be_there:
            return False
        glance = Glance(line)
        if glance.name == "event":
            return bool(self._writer.has(glance.descriptor, glance.number))
        return glance.name == CUT_OFF

    def _flush(self) -> None:
        self._culprit = None
        self._writer.flush()

    def _start_over(self) -> None:
        self._writer = self._sink = None
        self._position = 0
        self.file.rewind()

    def failed(self, error: Exception, catalog: Any, pause: float) -> tuple[bool, str]:
        """Decide what becomes of a batch that was not taken.

        A document is to blame only where the catalog takes something else at the same moment.

        Parameters
        ----------
        error
            What was raised.
        catalog
            The catalog.
        pause
            The first pause, in seconds.

        Returns
        -------
        Whether the catalog is away; and what is done, in words.
        """
        if self._is_away(error, catalog):
            self._pause = min(2 * self._pause or pause, LONGEST_PAUSE)
            self.retry_at = time.monotonic() + self._pause
            return True, "its documents wait"
        return False, self._blame(error, pause)

    def _is_away(self, error: Exception, catalog: Any) -> bool:
        if is_away(error):
            return True
        if isinstance(error, AlreadyThereError):
            return False
        try:
            run = _container(catalog, self.file.uid)
        except Exception:  # noqa: BLE001 - it cannot even be asked
            return True
        return not takes_writes(catalog, run)

    def _blame(self, error: Exception, pause: float) -> str:
        self._attempts += 1
        if not _is_final(error) and self._attempts < _ATTEMPTS:
            self.retry_at = time.monotonic() + pause * 2**self._attempts
            if self._batch.start not in self._suspects:
                self._suspects = range(self._batch.stop, self._batch.stop)
            return "it is tried again"
        self._attempts = 0
        reason = words(error)
        if isinstance(error, AlreadyThereError):
            return self._give_up(reason)
        if self._culprit is None and len(self._batch) > 1:
            self._suspects = self._batch
            return "its documents are tried one by one"
        return self._skip(self._batch.start if self._culprit is None else self._culprit, reason)

    def _skip(self, number: int, reason: str) -> str:
        self.file.rewind()
        line = self.file.read(number + 1)[-1][1]
        self.file.rewind()
        try:
            name, _ = decode(line)
        except Exception:  # noqa: BLE001 - damaged on the disk, meanwhile or by an earlier version
            name = "damaged"
        if name in REFERRED_TO or len(self._skipped) >= _MOST_SKIPPED:
            return self._give_up(reason)
        path = self._journal.aside.documents(self.file.uid, [line], reason)
        self._skipped.add(number)
        return f"its {name} document (number {number + 1}) is set aside in {path.parent}"

    def _give_up(self, reason: str) -> str:
        self._journal.aside.note(self.file.uid, self.file.path.name, reason)
        self.file.move(self._journal.rejected)
        self._refused = True
        return f"all of it is set aside in {self.file.path}"

    def close(self) -> None:
        """Let go of the run's file, unless it is kept as refused."""
        self._journal.forget(self.file)
        if not self._refused:
            self.file.remove()


class AlreadyThereError(CatalogError):
    """A run that this journal did not begin is in the catalog."""


def _is_final(error: Exception) -> bool:
    """True if it makes no sense to try the same again."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_client_error and error.response.status_code != _CONFLICT
    return isinstance(error, AlreadyThereError)


def _container(catalog: Any, uid: str) -> Any:
    from saxs_bluesky.catalog.tables import find_child

    found = find_child(catalog, uid)
    return getattr(found, "base", found)
