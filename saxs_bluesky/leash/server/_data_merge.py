"""The data merge of a server: one at a time, beside the reduction."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.protocol import Attachment, Kind, LeashError, checked_parts, confined

if TYPE_CHECKING:  # pandas takes a while: only a server that merges loads it
    from saxs_bluesky.merge import LogSource, MergeProcess, MergeResult, MergeSettings

_log = logging.getLogger(__name__)

_LOGS_SECONDS = 30.0  # for the logs to be read before the answer; clients wait for 100 s
_MOST_TEXT = 1_000_000  # characters that are kept for a reader who does not come
_MOST_POINTS = 20_000  # of a picture that a client draws


class DataMerge:
    """Merges the images of a queue's folder with logs, when a client asks.

    Its methods may be called by any thread.

    Parameters
    ----------
    base
        The server's base directory: paths from the network stay below it.
    on_result
        Called in a thread of the merge with each result.
    """

    def __init__(self, base: Path, on_result: Callable[[MergeResult], None] = lambda _: None) -> None:
        self._base = base
        self._on_result = on_result
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._process: MergeProcess | None = None
        self._result: MergeResult | None = None
        self._texts: dict[int, str] = {1: "", 2: ""}  # what clients of either protocol have not been told yet
        self._count = 0
        self._is_announced = True  # to clients of protocol 1

    def start(
        self, document: Mapping[str, Any], attachments: Sequence[Attachment], directory: Path, *, keep_table: bool
    ) -> None:
        """Begin a merge; return when its logs are read.

        Parameters
        ----------
        document
            The merge configuration.
        attachments
            The logs that came with it, in the order of the configuration.
        directory
            Folder of the images.
        keep_table
            True if the result must have the merged table.

        Raises
        ------
        LeashError
            Another merge is at work, or this one cannot begin.
        SaxsError
            A log cannot be read.
        """
        from saxs_bluesky.merge import MergeJob, MergeProcess, MergeSettings, output_place

        if not self._starting.acquire(blocking=False):
            raise _busy_error()
        try:
            if self._process is not None and self._process.is_running:
                raise _busy_error()
            settings = MergeSettings.from_dict(document, "mergeconf")
            folder, name = output_place(directory, settings.output_name)
            scratch = tempfile.TemporaryDirectory(prefix="saxs-merge-")  # of this user, and of nobody else
            try:
                job = MergeJob(
                    document=document,
                    settings=settings,
                    images=directory,
                    logs=self._log_files(settings, attachments, Path(scratch.name)),
                    folder=folder,
                    name=name,
                    within=self._base,
                    keep_table=keep_table,
                )
                with self._lock:
                    self._texts = dict.fromkeys(self._texts, "")
                    self._is_announced = True
                self._process = MergeProcess(job, self._note, lambda outcome: self._end(outcome, scratch))
            except BaseException:
                scratch.cleanup()
                raise
            failure = self._process.wait_for_logs(_LOGS_SECONDS)
        finally:
            self._starting.release()
        if failure is not None:
            raise LeashError(Kind.ERROR, str(failure))

    def text(self, protocol: int) -> str:
        """What has been said since the last call by a client of this protocol."""
        with self._lock:
            text, self._texts[protocol] = self._texts[protocol], ""
        return text

    def count(self, protocol: int) -> int | None:
        """Number of merges that were made; None if there is nothing to say.

        Deployed windows ask for the result whenever they are told the number, so clients of protocol 1 are told it
        once after each merge.
        """
        with self._lock:
            if protocol == 1:
                is_announced, self._is_announced = self._is_announced, True
                return None if is_announced else self._count
            return self._count or None

    def answer(self) -> Mapping[str, Any]:
        """Data of the answer to ``getmergedata``.

        Raises
        ------
        LeashError
            There is no result.
        """
        with self._lock:
            result, is_running = self._result, self._process is not None and self._process.is_running
        if result is None:
            state = (
                "the merge is not done yet; ask again later." if is_running else "no merge has been made: mergedata."
            )
            raise LeashError(Kind.ERROR, f"getmergedata: {state}")
        return {
            "syncplot": {
                "Images": _thinned(result.exposures),
                "Shutter": _thinned(result.openings),
                "CalculatedTimeshift": result.shift_text,
            },
            "fileslist": {kind: [str(path) for path in paths] for kind, paths in result.curves.items()},
        }

    def cancel(self) -> None:
        """End a merge that is at work; what is written by then stays."""
        process = self._process
        if process is not None and process.is_running:
            process.cancel()

    def _log_files(
        self, settings: MergeSettings, attachments: Sequence[Attachment], scratch: Path
    ) -> tuple[tuple[LogSource, ...], ...]:
        """Find the files of each table: below the base directory, or among the attachments."""
        from saxs_bluesky.merge import LogSource

        remaining = list(attachments)
        tables = []
        for i, table in enumerate(settings.tables):
            files = []
            for j, file in enumerate(table.files):
                where = f"mergeconf: LogDataTables[{i}].Files[{j}]"
                if file.local and remaining:
                    attachment = remaining.pop(0)
                    path = scratch / f"{i}_{j}.log"
                    path.write_text(attachment.data, encoding="utf-8", newline="")
                    files.append(LogSource(path, attachment.filename))
                elif file.remote:
                    path = confined(self._base, checked_parts(file.remote, f"{where}.RemotePath"))
                    files.append(LogSource(path, str(path)))
                else:
                    raise LeashError(
                        Kind.ERROR,
                        f"{where}: wanted the file {file.local} as an attachment, found none; "
                        "or name a RemotePath, a file on the server",
                    )
            tables.append(tuple(files))
        return tuple(tables)

    # The thread of the merge

    def _note(self, text: str) -> None:
        with self._lock:
            for protocol, before in self._texts.items():
                self._texts[protocol] = (before + text + "\n")[-_MOST_TEXT:]

    def _end(self, outcome: MergeResult | SaxsError, scratch: tempfile.TemporaryDirectory[str]) -> None:
        scratch.cleanup()
        if isinstance(outcome, SaxsError):
            # Deployed windows look for this line, and enable their buttons again.
            rule = "-" * 12
            self._note(f"{rule}ERROR{rule}\n{outcome}\n{'-' * 29}\nThe datamerger was stopped!")
            _log.warning("the merge of data failed: %s", outcome)
            return
        with self._lock:
            self._result = outcome
            self._count += 1
            self._is_announced = False
        try:
            self._on_result(outcome)
        except Exception:  # noqa: BLE001 - the files are written, and the server goes on
            _log.warning("the merged run is not in the catalog", exc_info=True)


def _busy_error() -> LeashError:
    return LeashError(Kind.ERROR, "Merge already started please wait")


def _thinned(points: Mapping[str, Any]) -> dict[str, Any]:
    """At most so many points as a picture needs, evenly."""
    step = -(-len(points) // _MOST_POINTS) or 1
    return dict(list(points.items())[::step])
