"""What a server does about each command: the queue that it has, and the folders below its base directory."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.file_pipeline import SharedResources, Statistics
from saxs_bluesky.leash.protocol import COMMANDS, Command, Kind, LeashError, Limits, confined, listing
from saxs_bluesky.leash.server._arguments import check_argument
from saxs_bluesky.leash.server._plot_cache_file import PlotCacheFile
from saxs_bluesky.leash.server._queue import Queue, QueueSettings
from saxs_bluesky.leash.server._request_validator import Request
from saxs_bluesky.leash.server._state import QueueRecord, QueueState, StateFolder
from saxs_bluesky.reduction import Calibration, Reducer

_log = logging.getLogger(__name__)

_NO_QUEUE = "no queue"
_STOP_SECONDS = 60.0  # for images in hand; clients wait for 100 s

#: Commands that are answered at once, with a text that may be kept for many clients.
IMMEDIATE_COMMANDS = frozenset({Command.STAT, Command.PLOT, Command.FILESLIST, Command.MERGESTAT})
#: Commands that wait for those before them to be done.
ORDERED_COMMANDS = frozenset({Command.NEW, Command.CLOSE, Command.ABORT, Command.READDIR})

Answer = tuple[str, Mapping[str, Any]]


class CommandHandler:
    """Does what requests ask for that are authentic and within bounds.

    Commands of `ORDERED_COMMANDS` are for one thread at a time, and so are those of `IMMEDIATE_COMMANDS`.

    Parameters
    ----------
    settings
        Of all queues.
    resources
        What the queues share.
    state
        Where the last queue is remembered.
    limits
        Bounds of what is taken in and sent.
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

    def resume(self) -> None:
        """Go on with the queue that the folder for the state remembers, if it was open; else just remember it."""
        record = self._state.load()
        if record is None:
            return
        if record.base != str(self._settings.base):
            _log.warning("the queue of %s is forgotten: the base directory is %s now", record.base, self._settings.base)
            return
        try:
            checked = check_argument(
                Command.NEW,
                {"calibration": dict(record.document), "data": {}},
                record.attachments,
                self._limits,
                lenient=True,
            )
            assert checked.calibration is not None
            self._open(record, checked.calibration, self._directory(checked.calibration), is_resumed=True)
        # The server must live on, so that clients get to know why the queue does not.
        except Exception as error:  # noqa: BLE001
            told = error if isinstance(error, SaxsError) else f"{type(error).__name__}: {error}"
            _log.warning("the queue of the last time cannot go on: %s", told, exc_info=not isinstance(error, SaxsError))

    @property
    def statistics(self) -> Statistics | None:
        """How the queue stands; None where there is none."""
        queue = self._queue
        return None if queue is None else queue.statistics

    @property
    def description(self) -> str:
        """The queue in a few words."""
        queue = self._queue
        if queue is None:
            return _NO_QUEUE
        return f"queue failed ({queue.failure})" if queue.failure else f"queue {queue.state} {queue.directory}"

    @property
    def _visible_queue(self) -> Queue | None:
        """The queue that clients know of: after ``abort`` there is none."""
        queue = self._queue
        return None if queue is None or queue.state is QueueState.ABORTED else queue

    def suspend(self) -> None:
        """Finish the images in hand, and remember the queue; there will be no more commands."""
        if self._queue is not None:
            self._queue.suspend()
            self._queue.wait()
            self._queue.plot_cache.close()
            self._save()

    # Commands that are answered at once

    def immediate_answer(self, command: Command) -> bytes:
        """Answer to one of `IMMEDIATE_COMMANDS`, as JSON."""
        result = COMMANDS[command].result
        if command is Command.MERGESTAT:  # deployed windows want the text, whether there is any or not
            return _answer_text(result, b'"mergeinfo": ""')
        queue = self._visible_queue
        if queue is None:
            return _answer_text("stat", b'"stat": {}') if command is Command.STAT else _answer_text(_NO_QUEUE, b"")
        if queue.failure:
            return _answer_text(Kind.ERROR, json.dumps(_failure_data(queue))[1:-1].encode("ascii"))
        if command is Command.FILESLIST:
            return _answer_text(result, b'"fileslist": ' + queue.plot_cache.files())
        has_curves = command is Command.PLOT and not queue.plot_cache.is_empty
        graphs = queue.plot_cache.plot() if has_curves else b""
        # After the history, which is relative to it.
        stat = b'"stat": ' + json.dumps(queue.stat()).encode("ascii")
        if command is Command.STAT:
            return _answer_text(result, stat)
        return _answer_text(result, stat, b", ", graphs) if has_curves else _answer_text("Empty", stat)

    # Commands that may take their time

    def answer(self, request: Request) -> Answer:
        """Do what any other command asks for.

        Raises
        ------
        SaxsError, OSError
            It cannot be done.
        """
        match request.command:
            case Command.NEW:
                return self._new(request)
            case Command.LISTDIR:
                parts = request.argument["directory"]
                names = listing(self._settings.base, parts, self._limits.listing_entries)
                return COMMANDS[Command.LISTDIR].result, {"dircontent": names, "directory": list(parts)}
            case Command.MERGEDATA | Command.GETMERGEDATA:
                # To deployed windows, a merge with another result than this has begun.
                raise LeashError(Kind.ERROR, f"{request.command}: this server does not join curves and logs yet.")
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
            queue.abort()
        elif not queue.restart(_STOP_SECONDS):
            raise _busy_error()
        self._save()
        return result, {"stat": queue.stat()}

    def _new(self, request: Request) -> Answer:
        calibration, document = request.calibration, request.argument["calibration"]
        assert calibration is not None
        # What cannot be done must not cost the queue that is there.
        directory = self._directory(calibration)
        Reducer(calibration)
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
        self._open(record, calibration, directory)
        self._save()
        return COMMANDS[Command.NEW].result, {"cal": document}

    def _directory(self, calibration: Calibration) -> Path:
        return confined(self._settings.base, calibration.document["Directory"])

    def _open(
        self, record: QueueRecord, calibration: Calibration, directory: Path, *, is_resumed: bool = False
    ) -> None:
        self._queue = Queue(
            record,
            calibration,
            directory,
            self._settings,
            self._resources,
            self._save,
            plot_cache_file=PlotCacheFile(self._state.folder, record.began),
            is_resumed=is_resumed,
        )
        self._queue.start()

    def _save(self) -> None:
        """Remember the queue; a disk that is full must not end it."""
        with self._save_lock:
            queue = self._queue
            if queue is None:
                return
            try:
                self._state.save(queue.record)
            except SaxsError as error:
                _log.warning("%s; a restart is not survived", error)


def _answer_text(result: str, *data: bytes) -> bytes:
    return b"".join((b'{"result": "', result.encode("ascii"), b'", "data": {', *data, b"}}"))


def _failure_data(queue: Queue) -> dict[str, Any]:
    """What is told of a queue that ended before its time, in place of all else."""
    return {"Error": queue.failure, "stat": queue.stat()}


def _busy_error() -> LeashError:
    return LeashError(Kind.SERVER, f"The images in hand are not done after {_STOP_SECONDS:g} s; ask again later.")
