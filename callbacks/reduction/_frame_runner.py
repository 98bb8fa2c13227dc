"""Frames on their way to where they are reduced: this process, or an executor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from functools import partial
from math import inf
from pathlib import Path

from saxs_bluesky.callbacks.reduction._content_check import ContentCheck
from saxs_bluesky.callbacks.reduction._work_item import LEFT_OUT, Pending, RunState, WorkItem
from saxs_bluesky.documents import FrameResult, FrameTask, HandlerFrame, page_of
from saxs_bluesky.errors import OutputError, reason_of
from saxs_bluesky.frame_job import CurveFiles, FrameJob, FrameName, OutputNameRegistry, home_folder

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2  # between looks whether there is still time for a frame of the executor's


class FrameRunner:
    """Has frames reduced, here or by an executor, and knows what came of them.

    Parameters
    ----------
    jobs
        The work on a frame, by the names of detectors; under an empty name, that on the frames of any.
    executor
        Where frames are reduced; None: in the thread that calls.
    files
        What is written of each frame; None: nothing.
    patience
        For how long after its document a file that is not whole is waited for, in seconds.
    limit
        For how long a frame may keep a thread of this process, in seconds; ``inf``: no limit.
    specs_here
        Specs of the handlers that other processes cannot have.
    hurry
        Set when the program ends: no frame is begun or waited for any more.
    """

    def __init__(
        self,
        jobs: Mapping[str, FrameJob],
        executor: Executor | None,
        files: CurveFiles | None,
        *,
        patience: float,
        limit: float,
        specs_here: frozenset[str],
        hurry: threading.Event,
    ) -> None:
        self._jobs = jobs
        self._executor = executor
        self._names = files.names if files else None
        self._registry = OutputNameRegistry(files.names, keep=not files.overwrite) if files else None
        self._home = home_folder()  # a program may change its directory while it runs
        self._patience = patience
        self.limit = limit
        self._specs_here = specs_here
        self.hurry = hurry
        #: Compares the content of files with what their events describe, where that is asked for.
        self.content_check: ContentCheck | None = None
        self._writing: dict[Path, Future[FrameResult]] = {}  # by what the files are named after
        self._told_broken = False

    def job(self, task: FrameTask) -> FrameJob:
        """The work on a frame."""
        return self._jobs.get(task.detector) or self._jobs[""]

    # In the thread that has frames reduced

    def begin_frame(self, item: WorkItem, run: RunState, task: FrameTask) -> Pending:
        """Have a frame reduced; in this process that is done when this returns."""
        try:
            item.named_after = self._named_after(run, task)
        except (OutputError, ValueError) as error:  # ValueError: a path that can be none
            return FrameResult(str(error))
        if self.content_check is not None:
            task = self.content_check.asked(task)
        earlier = self._writing.get(item.named_after) if item.named_after is not None else None
        if earlier is not None:
            # Or the curves of an image that was overwritten might be replaced by those of what it was before.
            wait([earlier])
        arguments = task, item.named_after, item.accepted + self._patience, run.uid
        if self._executor is not None and task.reference is not None and not task.failure and self._may_travel(task):
            try:
                future = self._executor.submit(self.job(task), *arguments)
            except RuntimeError as error:  # an executor that is broken or shut down: the frame is done here
                self._tell_broken(error)
            else:
                if item.named_after is not None:
                    self._writing[item.named_after] = future
                return future
        return self.job(task)(*arguments)

    def _may_travel(self, task: FrameTask) -> bool:
        """True if the frame is read by what other processes can have too."""
        return not (isinstance(task.reference, HandlerFrame) and task.reference.spec in self._specs_here)

    def _named_after(self, run: RunState, task: FrameTask) -> Path | None:
        """Path that the files of a frame are named after; None where none are written.

        Raises
        ------
        OutputError
            Another image has these names.
        """
        if self._names is None or self._registry is None or task.failure:
            return None
        start = run.raw.start_document
        path = task.reference.path if task.reference else ""
        pages = page_of(task.reference)
        name = FrameName(path, task.index, task.stream, task.detector, start["uid"], start.get("scan_id"), *pages)
        named_after = name.named_after(self._home, one_folder=self._names.folder is not None)
        self._registry.claim(named_after, None if name.number is None else name.file(self._home))
        return named_after

    # In the thread that delivers

    def result(self, item: WorkItem) -> FrameResult | None:
        """What came of a frame; waits for it, as long as the program does not end.

        None where there is no frame, or nobody tried to read it.
        """
        run, task, pending = item.run, item.task, item.pending
        if run is None or task is None or pending is None:
            return None

        def here() -> FrameResult:
            again = partial(self.job(task), task, item.named_after, item.accepted + self._patience, run.uid)
            return self._result_aside(again, self.job(task).describe(task))

        if isinstance(pending, FrameResult):
            result = pending
        else:
            while not (pending.done() or self.hurry.is_set()):
                wait([pending], _POLL_SECONDS)
            if not pending.done():
                return LEFT_OUT
            try:
                result = pending.result()
            except BrokenExecutor as error:
                self._tell_broken(error)
                result = here()
            except Exception as error:  # noqa: BLE001 - a worker that dies of a frame, each time, or a cluster's errors
                result = FrameResult(reason_of(error))
        if self.content_check is not None:
            result = self.content_check.judged(task, result, here)
        if item.named_after is not None and self._writing.get(item.named_after) is pending:
            del self._writing[item.named_after]
        return result

    def hung(self, path: str) -> FrameResult:
        """What comes of a frame that is given up."""
        _log.warning("%s is given up after %.0f s, with the thread that hangs in it", path, self.limit)
        text = f"{path}: not reduced within {self.limit:g} s and given up: its file system may not answer"
        return FrameResult(text)

    def _result_aside(self, work: Callable[[], FrameResult], path: str) -> FrameResult:
        """Do in this process what another should have done, in a thread that may hang."""
        result: Future[FrameResult] = Future()

        def do() -> None:
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                result.set_exception(error)

        threading.Thread(target=do, name="saxs-bluesky-aside", daemon=True).start()
        try:
            return result.result(None if self.limit == inf else self.limit)
        except TimeoutError:
            return result.result() if result.done() else self.hung(path)

    def _tell_broken(self, error: Exception) -> None:
        if not self._told_broken:
            self._told_broken = True
            _log.warning("the workers do no more (%s): this process reduces the frames itself", error)
