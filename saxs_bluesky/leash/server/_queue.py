"""A queue: what a client opens with ``new``, and the runs that it becomes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import PipelineError, reason_of
from saxs_bluesky.file_pipeline import FileReduction, ReductionOptions, SharedResources, Statistics
from saxs_bluesky.frame_job import CurveFiles
from saxs_bluesky.leash.protocol import Kind, LeashError
from saxs_bluesky.leash.server._plot_cache import PlotCache
from saxs_bluesky.leash.server._plot_cache_file import PlotCacheFile
from saxs_bluesky.leash.server._queue_identity import queue_identity
from saxs_bluesky.leash.server._queue_settings import QueueSettings
from saxs_bluesky.leash.server._state import QueueRecord, QueueState
from saxs_bluesky.reduction import Calibration, Reducer

_log = logging.getLogger(__name__)

_NO_FILES = Statistics(done=0, failed=0, unwritten=0, skipped=0, queue=0, rate=0.0, lag=0.0)


class Queue:
    """Reduces the images of one folder with one calibration, as one raw run after the other.

    Methods that change something may be called by one thread at a time.

    Parameters
    ----------
    record
        What is known of the queue from before. `start` begins to work if the queue is open, and also if the program
        ended while images of it were in hand: these are finished.
    calibration
        What to reduce with, masks included.
    directory
        Folder of the images.
    settings
        The server's.
    resources
        What the queues of a server share.
    on_end
        Called in a thread of the queue when a run has ended.
    reducer
        The calibration's operators where they are built already; None: they are built at the start.
    plot_cache_file
        Where to keep what clients draw.
    is_resumed
        True to begin with what that file holds.
    """

    def __init__(
        self,
        record: QueueRecord,
        calibration: Calibration,
        directory: Path,
        settings: QueueSettings,
        resources: SharedResources,
        on_end: Callable[[], None] = lambda: None,
        *,
        reducer: Reducer | None = None,
        plot_cache_file: PlotCacheFile | None = None,
        is_resumed: bool = False,
    ) -> None:
        self.directory = directory
        self.plot_cache = PlotCache(calibration, plot_cache_file, keep=is_resumed)
        self._record = record
        self._calibration = calibration
        self._settings = settings
        self._resources = resources
        self._on_end = on_end
        self._reducer = reducer
        self._processed_before = record.processed  # in the runs before this one
        self._file_reduction: FileReduction | None = None
        self._thread: threading.Thread | None = None
        #: Why the queue ended before its time, in one line for clients; empty if it did not.
        self.failure = ""
        self._identity, former = queue_identity(calibration, record.attachments, directory, settings.names)
        if resources.progress is not None:
            resources.progress.adopt(former, self._identity)
        interrupted = self._interrupted
        if interrupted is not None and interrupted.identity == self._identity:
            self._processed_before = 0  # the pipeline counts them

    @property
    def _interrupted(self) -> Any:
        """What the progress journal knows of a run that a program before this one did not finish."""
        return self._resources.progress.interrupted if self._resources.progress is not None else None

    def start(self) -> None:
        """Start to work, if there is something to do.

        Raises
        ------
        SaxsError
            As `FileReduction` does; the error is then also the queue's `failure`.
        """
        is_interrupted = self._interrupted is not None
        state = self._record.state
        if state is QueueState.OPEN or is_interrupted:
            self._start_reduction()
        if is_interrupted and state is QueueState.CLOSED:
            self.close()
        elif is_interrupted and state is QueueState.ABORTED:
            self.abort()

    @property
    def state(self) -> QueueState:
        """State of the queue: open, closed or aborted."""
        return self._record.state

    @property
    def record(self) -> QueueRecord:
        """What is needed after a restart of the program."""
        return replace(self._record, processed=self._processed)

    def _start_reduction(self) -> FileReduction:
        """Start a run; an error is raised, and is also the queue's failure."""
        self.failure = ""
        settings = self._settings
        options = ReductionOptions(
            # Whatever links there are in its folders, a queue writes nowhere else.
            files=CurveFiles(
                replace(settings.names, within=settings.base),
                overwrite=bool(self._calibration.document["OverwriteFiles"]),
            ),
            identity=self._identity,
            metadata=settings.metadata,
        )
        try:
            self._reducer = self._reducer or Reducer(self._calibration)
            work = FileReduction(
                self._calibration,
                replace(settings.source, directory=self.directory),
                options,
                self._resources,
                sinks=[self.plot_cache],
                reducer=self._reducer,
            )
            self._thread = threading.Thread(target=self._run, args=(work,), name="saxs-bluesky-queue", daemon=True)
            self._file_reduction = work
            self._thread.start()
        except Exception as error:
            self._fail(error)
            raise
        return work

    def _run(self, work: FileReduction) -> None:
        try:
            try:
                work.pipeline.run()
            finally:
                work.reduction.close()
        # The server goes on; clients and the log are told why this queue did not.
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            _log.exception("%s", self.failure)
        finally:
            for remark in work.remarks():
                _log.warning("%s: %s", self.directory, remark)
            self._on_end()

    def _fail(self, error: Exception) -> None:
        reason = reason_of(error)
        if not isinstance(error, PipelineError):  # which says so itself
            reason = f"the queue ended before its time: {reason}"
        # A LeashError, since its text is one line for clients.
        text = f"{self.directory}: {reason}; new opens another queue, readdir tries this one again"
        self.failure = str(LeashError(Kind.ERROR, text))

    @property
    def is_working(self) -> bool:
        """True while the queue takes images, or finishes some."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Take no more images, and finish those that were found."""
        if self.state is QueueState.OPEN:
            self._record = replace(self._record, state=QueueState.CLOSED)
        if self._file_reduction is not None:
            self._file_reduction.pipeline.stop(drain=True)

    def abort(self) -> None:
        """Take no more images, and finish only those in hand."""
        self._record = replace(self._record, state=QueueState.ABORTED)
        self._stop()

    def suspend(self) -> None:
        """Finish only the images in hand, and keep the others in the progress journal for the next program."""
        if self._file_reduction is not None and self.state is not QueueState.ABORTED:
            self._file_reduction.pipeline.stop(suspend=True)

    def _stop(self) -> None:
        if self._file_reduction is not None:
            self._file_reduction.pipeline.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end after `close`, `abort` or `suspend`.

        Parameters
        ----------
        timeout
            Seconds; None: no limit.

        Returns
        -------
        False if the queue still works after the timeout.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.is_working

    def restart(self, timeout: float) -> bool:
        """Reduce all images of the folder again, whatever was done with them, and those that come.

        Parameters
        ----------
        timeout
            Seconds that images in hand may take to finish.

        Returns
        -------
        False if they took longer: then nothing is changed.
        """
        self.plot_cache.forget_integrals()
        if self.state is QueueState.OPEN and self._file_reduction is not None and self.is_working and not self.failure:
            self._file_reduction.pipeline.again(self.directory)
            return True
        self._stop()  # a closed queue may have images to do, which come again
        if not self.wait(timeout):
            return False
        self._processed_before, self._file_reduction = self._processed, None
        was_interrupted = self._interrupted is not None
        work = self._start_reduction()
        if was_interrupted:  # the first start failed: what the journal knows of that run does not count
            work.source.again(self.directory)
        self._record = replace(self._record, state=QueueState.OPEN)
        return True

    @property
    def statistics(self) -> Statistics:
        """Counters of the run at work."""
        return _NO_FILES if self._file_reduction is None else self._file_reduction.pipeline.statistics

    @property
    def _processed(self) -> int:
        done = self._processed_before
        if self._file_reduction is not None:
            numbers = self.statistics
            done += self._file_reduction.pipeline.done_before + numbers.done + numbers.failed
        # After a restart, images that were done again are not counted twice; those that clients were shown are known.
        return max(done, self.plot_cache.count)

    def stat(self) -> dict[str, Any]:
        """Data of the answer to ``stat``; ``time`` and ``start time`` in seconds since 1970."""
        return {
            "queue length": self.statistics.queue,
            "images processed": self._processed,
            "time": time.time(),
            "start time": self._record.began,
        }
