"""What the server does for each command: with its queue, and with the folders below its base directory."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saxs_bluesky.errors import SaxsError, reason_of
from saxs_bluesky.file_pipeline import SharedResources, Statistics
from saxs_bluesky.leash.protocol import COMMANDS, Command, Kind, LeashError, Limits, confined, listing
from saxs_bluesky.leash.server._arguments import check_argument
from saxs_bluesky.leash.server._data_merge import DataMerge
from saxs_bluesky.leash.server._plot_cache_file import PlotCacheFile
from saxs_bluesky.leash.server._queue import Queue
from saxs_bluesky.leash.server._queue_settings import QueueSettings
from saxs_bluesky.leash.server._request_validator import Request
from saxs_bluesky.leash.server._state import QueueRecord, QueueState, StateFolder
from saxs_bluesky.reduction import Calibration, Reducer

if TYPE_CHECKING:
    from saxs_bluesky.merge import MergeResult

_log = logging.getLogger(__name__)

_NO_QUEUE = "no queue"
_STOP_SECONDS = 60.0  # for images in hand; clients wait for 100 s

#: Commands that are answered at once, with JSON that is made once for many clients.
IMMEDIATE_COMMANDS = frozenset({Command.STAT, Command.PLOT, Command.FILESLIST, Command.MERGESTAT})
#: Commands that are done one after the other, in the order in which they came.
ORDERED_COMMANDS = frozenset({Command.NEW, Command.CLOSE, Command.ABORT, Command.READDIR})

Answer = tuple[str, Mapping[str, Any]]
"""``result`` and ``data`` of an answer."""


class CommandHandler:
    """Does what valid requests ask for.

    The commands in `ORDERED_COMMANDS` are for one thread at a time, and so are those in `IMMEDIATE_COMMANDS`.

    Parameters
    ----------
    settings
        Common to all queues.
    resources
        What the queues share.
    state
        Folder in which the last queue is kept over a restart.
    limits
        Limits for requests and answers; None: the defaults.
    """

    def __init__(
        self, settings: QueueSettings, resources: SharedResources, state: StateFolder, limits: Limits | None = None
    ) -> None:
        self._settings = settings
        self._resources = resources
        self._state = state
        self._limits = limits or Limits()
        self._save_lock = threading.Lock()
        self._queue: Queue | None = None
        self._merge = DataMerge(settings.base, self._record_merge)

    def resume(self) -> None:
        """Load the queue from the state folder, and continue it if it was open."""
        record = self._state.load()
        if record is None:
            return
        if record.base != str(self._settings.base):
            _log.warning("the queue of %s is forgotten: the base directory is %s now", record.base, self._settings.base)
            return
        argument = {"calibration": dict(record.document), "data": {}}
        try:
            checked = check_argument(Command.NEW, argument, record.attachments, self._limits, lenient=True)
            assert checked.calibration is not None
            self._open(record, checked.calibration, self._folder(checked.calibration), is_resumed=True)
        # The server starts all the same, so that clients are told why the queue does not.
        except Exception as error:  # noqa: BLE001
            is_unexpected = not isinstance(error, SaxsError)
            _log.warning("the last queue cannot be continued: %s", reason_of(error), exc_info=is_unexpected)

    @property
    def statistics(self) -> Statistics | None:
        """Counters of the queue; None without one."""
        queue = self._queue
        return None if queue is None else queue.statistics

    @property
    def description(self) -> str:
        """The queue's state and folder, in a few words."""
        queue = self._queue
        if queue is None:
            return _NO_QUEUE
        return f"queue failed ({queue.failure})" if queue.failure else f"queue {queue.state} {queue.directory}"

    @property
    def _visible_queue(self) -> Queue | None:
        """The queue that clients are told of: after ``abort`` there is none."""
        queue = self._queue
        return None if queue is None or queue.state is QueueState.ABORTED else queue

    def suspend(self) -> None:
        """Finish the images in hand, end a merge, and save the queue; there must be no command after this."""
        self._merge.cancel()
        if self._queue is not None:
            self._queue.suspend()
            self._queue.wait()
            self._queue.plot_cache.close()
            self._save()

    # Commands that are answered at once

    def immediate_answer(self, command: Command, protocol: int = 1) -> bytes:
        """Answer one of `IMMEDIATE_COMMANDS`.

        Parameters
        ----------
        command
            The command.
        protocol
            The client's: what is told only once, is told to clients of either protocol.

        Returns
        -------
        The answer as JSON: ``{"result": ..., "data": ...}``.
        """
        result = COMMANDS[command].result
        if command is Command.MERGESTAT:  # deployed windows need the key, also without a text
            return _answer_text(result, b'"mergeinfo": ' + json.dumps(self._merge.text(protocol)).encode("ascii"))
        queue = self._visible_queue
        if queue is None:
            return _answer_text("stat", b'"stat": {}') if command is Command.STAT else _answer_text(_NO_QUEUE, b"")
        if queue.failure:
            return _answer_text(Kind.ERROR, json.dumps(_failure_data(queue))[1:-1].encode("ascii"))
        if command is Command.FILESLIST:
            return _answer_text(result, b'"fileslist": ' + queue.plot_cache.files())
        has_curves = command is Command.PLOT and not queue.plot_cache.is_empty
        graphs = queue.plot_cache.plot() if has_curves else b""
        # After the history, whose times are relative to that of `stat`.
        numbers = queue.stat()
        if command is Command.STAT and (merges := self._merge.count(protocol)) is not None:
            numbers["mergecount"] = merges
        stat = b'"stat": ' + json.dumps(numbers).encode("ascii")
        if command is Command.STAT:
            return _answer_text(result, stat)
        return _answer_text(result, stat, b", ", graphs) if has_curves else _answer_text("Empty", stat)

    # Commands that may take longer

    def answer(self, request: Request) -> Answer:
        """Do what any other command asks for.

        Raises
        ------
        SaxsError, OSError
            It cannot be done.
        """
        match request.command:
            case Command.NEW:
                return self._new_queue(request)
            case Command.LISTDIR:
                parts = request.argument["directory"]
                names = listing(self._settings.base, parts, self._limits.listing_entries)
                return COMMANDS[Command.LISTDIR].result, {"dircontent": names, "directory": list(parts)}
            case Command.MERGEDATA:
                return self._start_merge(request)
            case Command.GETMERGEDATA:
                return COMMANDS[Command.GETMERGEDATA].result, self._merge.answer()
            case _:
                return self._queue_answer(request.command)

    def _queue_answer(self, command: Command) -> Answer:
        queue = self._visible_queue
        if queue is None:
            return _NO_QUEUE, {}
        result = COMMANDS[command].result
        if queue.failure and command not in (Command.ABORT, Command.READDIR):
            return Kind.ERROR, _failure_data(queue)
        if command is Command.GET:
            record = queue.record
            masks = [{"filename": mask.filename, "data": mask.data} for mask in record.attachments]
            return result, {"cal": record.document, "attachments": masks}
        if command is Command.CLOSE:
            queue.close()
        elif command is Command.ABORT:
            self._merge.cancel()
            queue.abort()
        elif not queue.restart(_STOP_SECONDS):
            raise _busy_error()
        self._save()
        return result, {"stat": queue.stat()}

    def _new_queue(self, request: Request) -> Answer:
        calibration, document = request.calibration, request.argument["calibration"]
        assert calibration is not None
        # Errors in these two must not end the queue that there is.
        directory = self._folder(calibration)
        reducer = Reducer(calibration)
        old = self._queue
        if old is not None:
            old.abort()
            self._save()
            if not old.wait(_STOP_SECONDS):
                raise _busy_error()
        record = QueueRecord(
            document=document,
            attachments=request.attachments,
            base=str(self._settings.base),
            state=QueueState.OPEN,
            began=time.time(),
        )
        self._open(record, calibration, directory, reducer)
        self._save()
        return COMMANDS[Command.NEW].result, {"cal": document}

    def _start_merge(self, request: Request) -> Answer:
        # Deployed windows take any result but Error and ServerError for a merge that has started.
        queue = self._visible_queue
        if queue is None:
            raise LeashError(Kind.ERROR, "mergedata: there is no queue, whose folder has the images; open one: new.")
        try:
            self._merge.start(
                request.argument["mergeconf"],
                request.attachments,
                queue.directory,
                keep_table=self._resources.writer is not None,
            )
        except SaxsError as error:
            raise LeashError(Kind.ERROR, reason_of(error)) from error
        result = COMMANDS[Command.MERGEDATA].result
        return (f"{result}mergedata" if request.reply_context.protocol == 1 else result), {}

    def _record_merge(self, result: MergeResult) -> None:
        """Hand the merged run to the catalog; in a thread of the merge."""
        from saxs_bluesky.documents import merged_run_of_files  # pandas takes a while, and is there after a merge

        writer = self._resources.writer
        if writer is not None:
            for name, document in merged_run_of_files(result):
                writer(name, document)

    def _folder(self, calibration: Calibration) -> Path:
        return confined(self._settings.base, calibration.document["Directory"])

    def _open(
        self,
        record: QueueRecord,
        calibration: Calibration,
        directory: Path,
        reducer: Reducer | None = None,
        *,
        is_resumed: bool = False,
    ) -> None:
        self._queue = Queue(
            record,
            calibration,
            directory,
            self._settings,
            self._resources,
            self._save,
            reducer=reducer,
            plot_cache_file=PlotCacheFile(self._state.folder, record.began),
            is_resumed=is_resumed,
        )
        self._queue.start()

    def _save(self) -> None:
        """Save the queue in the state folder; a full disk must not end it."""
        with self._save_lock:
            queue = self._queue
            if queue is None:
                return
            try:
                self._state.save(queue.record)
            except SaxsError as error:
                _log.warning("%s; after a restart the queue is not continued", error)


def _answer_text(result: str, *data: bytes) -> bytes:
    return b"".join((b'{"result": "', result.encode("ascii"), b'", "data": {', *data, b"}}"))


def _failure_data(queue: Queue) -> dict[str, Any]:
    """Answer in place of all others for a queue that ended before its time."""
    return {"Error": queue.failure, "stat": queue.stat()}


def _busy_error() -> LeashError:
    return LeashError(Kind.SERVER, f"The images in hand are not done after {_STOP_SECONDS:g} s; ask again later.")
