"""A journal on disk: the documents of each run in a file of its own, until the catalog has them all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from saxs_bluesky.callbacks.catalog_writer._document_lines import encode
from saxs_bluesky.callbacks.catalog_writer._refused_documents import RefusedDocuments
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal
from saxs_bluesky.callbacks.catalog_writer._run_recovery import recovered
from saxs_bluesky.documents import REFERRED_TO, Document, RunLookup
from saxs_bluesky.errors import OutputError
from saxs_bluesky.support.locks import locked, pids_of

_log = logging.getLogger(__name__)
_DISK_PAUSE = 1.0  # seconds between tries at a full disk


class Journal:
    """A folder of run files, of which one process at a time is the owner.

    Parameters
    ----------
    folder
        Made where it is missing.

    Raises
    ------
    OutputError
        The folder cannot be written, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aside = RefusedDocuments(folder)
        self.abandoned = threading.Event()
        self._runs: RunLookup[RunJournal] = RunLookup()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = locked(folder / "lock")
        except BlockingIOError as error:
            raise OutputError(
                f"{folder}: the journal folder is used by another process{pids_of(folder / 'lock')}; "
                "give another folder, or end that process"
            ) from error
        except OSError as error:
            raise OutputError(f"{folder}: the journal folder cannot be written ({error.strerror})") from error

    @property
    def rejected(self) -> Path:
        """Folder of what no catalog takes."""
        return self.aside.folder

    def left_over(self) -> list[RunJournal]:
        """Run files that an earlier owner left, in the order in which their runs began."""
        beside = {
            path.with_suffix(".jsonl") for suffix in ("opening", "begun") for path in self.folder.glob(f"*.{suffix}")
        }
        paths = sorted({*self.folder.glob("*.jsonl"), *beside})
        return [run for path in paths if (run := recovered(path, self.rejected, self._runs)) is not None]

    def append(self, batch: Sequence[tuple[str, Document]]) -> tuple[list[RunJournal], int, int]:
        """Add documents to the files of their runs; while the disk is full, wait until `abandoned` is set.

        Returns
        -------
        Runs that began in the batch, and how many documents belong to none and how many were lost.
        """
        lines: dict[RunJournal, list[bytes]] = {}
        openings: dict[RunJournal, list[bytes]] = {}
        stray, complete, new = [], set(), []
        for name, doc in batch:
            try:
                run = self._run_of(name, doc)
                line = encode(name, doc)
            # A document that is no document must not stop the others.
            except Exception:  # noqa: BLE001
                run, line = None, repr((name, doc)).encode() + b"\n"
            if run is None:
                stray.append(line)
                continue
            lines.setdefault(run, []).append(line)
            if name in ("start", "descriptor"):
                openings.setdefault(run, []).append(line)
            if name == "start":
                new.append(run)
            if name == "stop":
                complete.add(run)
        lost = 0
        for run, own in lines.items():
            opening = openings.get(run, [])
            if not self._keep_trying(run.path, partial(run.append, own, complete=run in complete, opening=opening)):
                lost += len(own)
        if stray:
            lost += self._set_aside(stray)
        return [run for run in new if run.lines], len(stray), lost

    def _set_aside(self, stray: list[bytes]) -> int:
        """Keep documents of no known run; return how many are lost."""
        _log.warning("%d documents of no known run are set aside in %s", len(stray), self.rejected)
        reason = "they refer to no run that has begun, or are no documents"
        return (
            0 if self._keep_trying(self.rejected, lambda: self.aside.documents("no-run", stray, reason)) else len(stray)
        )

    def _keep_trying(self, path: Path, keep: Callable[[], object]) -> bool:
        """Write to the disk, again and again while it is full; False where that was given up."""
        told = False
        while True:
            try:
                keep()
            except OSError as error:
                if not told:
                    _log.warning(
                        "%s: the journal cannot be written (%s); it is tried again until it can", path, error.strerror
                    )
                told = True
                if self.abandoned.wait(_DISK_PAUSE):
                    return False
            else:
                return True

    def _run_of(self, name: str, doc: Document) -> RunJournal | None:
        if name == "start":
            name_of_file = f"{time.time_ns():020d}-{Path(doc['uid']).name}.jsonl"
            run: RunJournal | None = RunJournal(self.folder / name_of_file, doc["uid"])
        else:
            try:
                run = self._runs.run_of(name, doc)
            except KeyError:
                run = None
            if run is None and name in ("resource", "stream_resource"):
                run = self._latest()
        if run is not None and name in REFERRED_TO:
            self._runs.note(doc["uid"], run)
        return run

    def _latest(self) -> RunJournal | None:
        """The run that began last: some writers of files do not say whose they are."""
        return next((run for run in reversed(self._runs.runs()) if not run.complete), None)

    def forget(self, run: RunJournal) -> None:
        """Let go of a run that will get no more documents."""
        self._runs.forget(run)
        self.aside.forget(run.uid)

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()
