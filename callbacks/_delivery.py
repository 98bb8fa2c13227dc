"""One run from its journal file into the catalog, again from the start where that failed in the middle."""

from __future__ import annotations

import time
from typing import Any

from saxs_bluesky.callbacks._journal import Journal
from saxs_bluesky.callbacks._run_file import RunFile, decode
from saxs_bluesky.errors import CatalogError

_ATTEMPTS = 3  # for errors that may pass, such as a locked database
_MOST_SKIPPED = 10  # documents of a run; with more of them refused there is no sense in the rest
_UNAUTHORIZED, _CONFLICT, _TOO_MANY = 401, 409, 429
_NEEDED = ("start", "descriptor", "resource", "stream_resource")


class Delivery:
    """Writes a run file to the catalog, batch by batch.

    A batch that fails leaves the run in a state that nobody knows, since a batch is several requests. So the run
    is emptied in the catalog and written again from its first document: it keeps its place and its uid, nothing is
    lost and nothing doubled. Only a run that this journal began is ever emptied.

    Parameters
    ----------
    file
        The run's documents.
    journal
        What keeps those that the catalog refuses.
    """

    def __init__(self, file: RunFile, journal: Journal) -> None:
        self.file = file
        self.retry_at = 0.0
        self._journal = journal
        self._done = 0
        self._refused = False
        self._skipped: set[int] = set()
        self._suspects = range(0)
        self._batch = range(0)
        self._culprit: int | None = None
        self._attempts = 0
        self._floats: set[str] = set()
        self._writer: Any = None
        self._sink: Any = None

    @property
    def pending(self) -> int:
        """How many documents still wait."""
        return 0 if self._refused else self.file.lines - self._done

    def is_due(self, line: int) -> bool:
        """Whether a document before this line waits, and may be tried."""
        return not self._refused and self._done < line and self.retry_at <= time.monotonic()

    @property
    def is_new(self) -> bool:
        """Whether the catalog does not know the run yet, and nothing speaks against telling it."""
        return not (self._done or self._attempts or self._refused) and self.file.lines > 0

    @property
    def rejected(self) -> int:
        """How many documents the catalog refused."""
        return self.file.lines if self._refused else len(self._skipped)

    @property
    def written(self) -> int:
        """How many documents the catalog has; it falls when a run is written again."""
        return 0 if self._refused else self._done - sum(number < self._done for number in self._skipped)

    @property
    def finished(self) -> bool:
        """Whether the run has stopped and nothing of it waits."""
        return self.file.complete and not self.pending

    def deliver(self, catalog: Any, line: int, limit: int) -> None:
        """Write up to ``limit`` documents before a line; any error means that the run must be written again."""
        from saxs_bluesky.catalog._run_writer import ColumnTypeError

        self._culprit = None
        self._batch = range(self._done, self._done)
        try:
            if self._sink is None:
                self._begin(catalog)
            self._write(self._careful(min(limit, line - self._done)))
        except ColumnTypeError as error:
            self._floats.add(error.key)
            self._start_again()
        except BaseException:
            self._start_again()
            raise

    def _begin(self, catalog: Any) -> None:
        from saxs_bluesky.catalog._run_writer import RunWriter, normalized

        root = _container(catalog, self.file.uid)
        if root is not None and not self.file.begun:
            raise AlreadyThereError(f"run {self.file.uid}: wanted to write it, found it in the catalog already")
        if root is not None and "stop" in root.metadata:
            self._done = self.file.lines  # the answer to the last request was lost, or this journal's last owner
            return
        if root is not None:
            root.delete_contents(recursive=True, external_only=False)
        self.file.mark_begun()
        self._writer = RunWriter(catalog, frozenset(self._floats), root)
        self._sink = normalized(self._writer)

    def _careful(self, limit: int) -> int:
        """Batch size: one where the culprit is looked for, and not beyond the place where that begins."""
        if self._done in self._suspects:
            return 1
        return min(limit, self._suspects.start - self._done) if self._done < self._suspects.start else limit

    def _write(self, limit: int) -> None:
        if not self.pending:
            return
        batch = self.file.read(limit)
        self._batch = range(self._done, self._done + len(batch))
        for number, line in batch:
            if number not in self._skipped:
                self._culprit = number
                name, doc = decode(line)
                if name == "stop":
                    self._flush()  # or it would be blamed for the events that it flushes
                self._culprit = number
                self._sink(name, doc)
        self._flush()
        self._done = self._batch.stop
        if self._done >= self._suspects.stop:
            self._attempts = 0

    def _flush(self) -> None:
        self._culprit = None
        self._writer.flush()

    def _start_again(self) -> None:
        self._writer = self._sink = None
        self._done = 0
        self.file.rewind()

    def refuse(self, error: Exception, pause: float) -> str:
        """Decide what becomes of a batch that a catalog which answers did not take; return it in words."""
        self._attempts += 1
        if not _is_final(error) and self._attempts < _ATTEMPTS:
            self.retry_at = time.monotonic() + pause * 2**self._attempts
            if self._batch.start not in self._suspects:
                self._suspects = range(self._batch.stop, self._batch.stop)
            return "it is tried again"
        self._attempts = 0
        if isinstance(error, AlreadyThereError):
            return self._give_up()
        if self._culprit is None and len(self._batch) > 1:
            self._suspects = self._batch
            return "its documents are tried one by one"
        return self._skip(self._batch.start if self._culprit is None else self._culprit)

    def _skip(self, number: int) -> str:
        self.file.rewind()
        line = self.file.read(number + 1)[-1][1]
        self.file.rewind()
        try:
            name, _ = decode(line)
        except Exception:  # noqa: BLE001 - damaged on the disk, meanwhile or by an earlier version
            name = "damaged"
        if name in _NEEDED or len(self._skipped) >= _MOST_SKIPPED:
            return self._give_up()
        self._skipped.add(number)
        self._journal.reject(self.file.uid, [line])
        return f"its {name} document (number {number + 1}) is set aside in {self._journal.rejected}"

    def _give_up(self) -> str:
        self._refused = True
        self.file.move(self._journal.rejected)
        return f"all of it is set aside in {self.file.path}"

    def close(self) -> None:
        """Let go of the run's file, unless it is kept as refused."""
        self._journal.forget(self.file)
        if not self._refused:
            self.file.remove()


class AlreadyThereError(CatalogError):
    """A run that this journal did not begin is in the catalog."""


def is_away(error: Exception) -> bool:
    """Whether an error says that the catalog cannot be reached now, by anybody."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status in (_UNAUTHORIZED, _TOO_MANY) or status > httpx.codes.INTERNAL_SERVER_ERROR
    return isinstance(error, httpx.TransportError)


def _is_final(error: Exception) -> bool:
    """Whether it makes no sense to try the same again."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_client_error and error.response.status_code != _CONFLICT
    return isinstance(error, AlreadyThereError)


def _container(catalog: Any, uid: str) -> Any:
    from tiled.client.container import Container

    try:
        return Container.__getitem__(catalog, uid).base
    except KeyError:
        return None
