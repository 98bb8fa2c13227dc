"""A queue: what a client opens with ``new``, and the runs that it becomes."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import PipelineError, SaxsError
from saxs_bluesky.file_pipeline import FileReduction, ReductionOptions, SharedResources, SourceSettings, Statistics
from saxs_bluesky.frame_job import CurveFiles, OutputNames
from saxs_bluesky.leash.protocol import Kind, LeashError
from saxs_bluesky.leash.server._plot_cache import PlotCache
from saxs_bluesky.leash.server._plot_cache_file import PlotCacheFile
from saxs_bluesky.leash.server._state import QueueRecord, QueueState
from saxs_bluesky.reduction import Calibration

_log = logging.getLogger(__name__)

_NO_FILES = Statistics(done=0, failed=0, unwritten=0, skipped=0, queue=0, rate=0.0, lag=0.0)


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """What all queues of a server have in common.

    Parameters
    ----------
    names
        Where curves go.
    watch
        Whether to look for images in the queue's folder.
    feeder
        Addresses of feeders that announce images.
    base
        The server's base directory, which the paths of announcements are relative to.
    use_inotify
        Use file system events to find new files.
    metadata
        For the start documents.
    """

    names: OutputNames
    watch: bool
    feeder: tuple[str, ...]
    base: Path
    use_inotify: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Queue:
    """Reduces the images of one folder with one calibration, as one raw run after the other.

    Its methods that change something are for one thread at a time.

    Parameters
    ----------
    record
        What is known of it already; one that is open works after `begin`, and so does one that is not but whose
        images were being done when the program ended: it does what was left to it.
    calibration
        What to reduce with, masks included.
    directory
        The folder.
    settings
        Of the server.
    resources
        What the queues of a server share.
    on_end
        Called in a thread of the queue when it has come to its end.
    plot_cache_file
        Where it is noted what clients are shown.
    is_resumed
        Whether that is to be shown again.
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
        self._processed_before = record.processed  # in the runs before this one
        self._file_reduction: FileReduction | None = None
        self._thread: threading.Thread | None = None
        #: Why it ended before its time, in one line for clients; empty where it did not.
        self.failure = ""
        if resources.progress is not None:
            resources.progress.adopt(self._identity_before(), self._identity())
        interrupted = resources.progress.interrupted if resources.progress is not None else None
        if interrupted is not None and interrupted.identity == self._identity():
            self._processed_before = 0  # the pipeline finds out

    def start(self) -> None:
        """Work, where there is something to do.

        Raises
        ------
        SaxsError
            As `FileReduction` does; it is the queue's `failure` then, which stays.
        """
        interrupted = self._resources.progress.interrupted if self._resources.progress is not None else None
        record = self._record
        if record.state is QueueState.OPEN or interrupted is not None:
            self._start_or_fail()
        if interrupted is not None and record.state is QueueState.CLOSED:
            self.close()
        elif interrupted is not None and record.state is QueueState.ABORTED:
            self.abort()

    @property
    def state(self) -> QueueState:
        """What it does."""
        return self._record.state

    @property
    def record(self) -> QueueRecord:
        """What a restart needs to know."""
        return replace(self._record, processed=self._processed)

    def _identity(self) -> str:
        masks = [hashlib.sha256(mask.content()).hexdigest() for mask in self._record.attachments]
        asked = [self._calibration.json(), masks, str(self.directory), str(self._settings.names)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _identity_before(self) -> str:
        """What `_identity` was for the first version of the journal."""
        masks = [hashlib.sha256(mask.content()).hexdigest() for mask in self._record.attachments]
        names = self._settings.names
        named = f"OutputNames(relative={names.relative!r}, folder={names.folder!r}, base={names.base!r})"
        asked = [self._calibration.json(), masks, str(self.directory), named]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _start_or_fail(self) -> FileReduction:
        """Begin to work; what goes wrong is told as the end of the queue, too."""
        self.failure = ""
        try:
            return self._start_reduction()
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        found = str(error) if isinstance(error, SaxsError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, PipelineError):  # which says so itself
            found = f"the queue ended before its time: {found}"
        told = f"{self.directory}: {found}; new opens another, readdir tries again"
        self.failure = str(LeashError(Kind.ERROR, told))

    def _start_reduction(self) -> FileReduction:
        settings = self._settings
        source_settings = SourceSettings(
            directory=self.directory,
            watch=settings.watch,
            feeder=settings.feeder,
            base=settings.base,
            use_inotify=settings.use_inotify,
        )
        options = ReductionOptions(
            # Whatever links there are in its folders, a queue writes nowhere else.
            files=CurveFiles(
                replace(settings.names, within=settings.base),
                overwrite=bool(self._calibration.document["OverwriteFiles"]),
            ),
            identity=self._identity(),
            metadata=settings.metadata,
        )
        work = FileReduction(self._calibration, source_settings, options, self._resources, sinks=[self.plot_cache])
        self._thread = threading.Thread(target=self._run, args=(work,), name="saxs-bluesky-queue", daemon=True)
        self._file_reduction = work
        self._thread.start()
        return work

    def _run(self, work: FileReduction) -> None:
        try:
            try:
                work.pipeline.run()
            finally:
                work.reduction.close()
        # The server must live on, and clients and its log tell why this queue did not.
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            _log.exception("%s", self.failure)
        finally:
            for remark in work.remarks():
                _log.warning("%s: %s", self.directory, remark)
            self._on_end()

    @property
    def is_working(self) -> bool:
        """Whether it takes images, or finishes some."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Take no more images; those that were found are done."""
        if self.state is QueueState.OPEN:
            self._record = replace(self._record, state=QueueState.CLOSED)
        if self._file_reduction is not None:
            self._file_reduction.pipeline.stop(drain=True)

    def abort(self) -> None:
        """Take no more images, and do no more than those in hand."""
        self._record = replace(self._record, state=QueueState.ABORTED)
        self._stop()

    def suspend(self) -> None:
        """Do no more than the images in hand, and remember the others for another program."""
        if self._file_reduction is not None and self.state is not QueueState.ABORTED:
            self._file_reduction.pipeline.stop(suspend=True)

    def _stop(self) -> None:
        if self._file_reduction is not None:
            self._file_reduction.pipeline.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end after `close`, `abort` or `suspend`; False at the timeout, in seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.is_working

    def restart(self, timeout: float) -> bool:
        """Put all images in again that are there, whatever was done with them, and go on with those that come.

        Returns
        -------
        Whether that was possible: not where images in hand are not done before the ``timeout``, in seconds.
        """
        self.plot_cache.forget_integrals()
        if self.state is QueueState.OPEN and self._file_reduction is not None and self.is_working and not self.failure:
            self._file_reduction.pipeline.again(self.directory)
            return True
        self._stop()  # a queue that was closed has images to do, which come again
        if not self.wait(timeout):
            return False
        self._processed_before, self._file_reduction = self._processed, None
        was_interrupted = self._resources.progress is not None and self._resources.progress.interrupted is not None
        work = self._start_or_fail()
        if was_interrupted:  # it could not at the start; what it knows of then counts no more
            work.source.again(self.directory)
        self._record = replace(self._record, state=QueueState.OPEN)
        return True

    @property
    def statistics(self) -> Statistics:
        """How the run at work stands."""
        work = self._file_reduction
        return _NO_FILES if work is None else work.pipeline.statistics

    @property
    def _processed(self) -> int:
        # A restart forgets images that were done again; those that clients were shown are known.
        return max(self._processed_before + _done_files(self._file_reduction), self.plot_cache.count)

    def stat(self) -> dict[str, Any]:
        """How it stands, in the words of the protocol."""
        return {
            "queue length": self.statistics.queue,
            "images processed": self._processed,
            "time": time.time(),
            "start time": self._record.began,
        }


def _done_files(work: FileReduction | None) -> int:
    if work is None:
        return 0
    numbers = work.pipeline.statistics
    return work.pipeline.done_before + numbers.done + numbers.failed
