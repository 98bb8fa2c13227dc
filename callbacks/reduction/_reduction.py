"""The reduction as a Bluesky callback: documents of raw runs in, documents of reduced runs out."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

from saxs_bluesky.callbacks.catalog_writer import CatalogCounters
from saxs_bluesky.callbacks.reduction._file_contents import Contents
from saxs_bluesky.callbacks.reduction._frame_extractor import FINISH, FrameExtractor, RunState, WorkItem
from saxs_bluesky.callbacks.reduction._inline_images import InlineImages
from saxs_bluesky.callbacks.reduction._open_files import OpenFiles
from saxs_bluesky.documents import FrameTask, Handler, HandlerFrame, Hdf5Frame, check_handlers, known, page_of, travels
from saxs_bluesky.errors import CalibrationError, OutputError, SaxsError, reason_of
from saxs_bluesky.frame_job import CurveFiles, FrameJob, FrameName, FrameResult, OutputNameRegistry, home_folder, warn
from saxs_bluesky.reduction import Calibration, Integrator, Reducer
from saxs_bluesky.support.log_throttle import is_logged
from saxs_bluesky.support.program_end import Turn, at_program_end, forget, handle_signals

_log = logging.getLogger(__name__)
# Of its own, for programs that name the frames that fail in their own words.
_frames_log = logging.getLogger(f"{__name__}.frames")

Sink = Callable[[str, dict[str, Any]], Any]
_CLOSE = object()
_END = object()  # of the steps: frames that waited for their file come after `_CLOSE`
_LOOK = object()
_LEFT_OUT = FrameResult("not reduced: the program ended before")
_LOOK_EVERY = 1.0  # seconds between looks at a frame that keeps the thread it is reduced in
_LOOK_AT_FUTURE = 0.2  # seconds between looks whether there is still time for a frame of the executor's
_SECONDS_STUCK = 4.0  # at the program's end: without a frame that gets done there is no sense in waiting
_SECONDS_TO_LEAVE_OUT = 0.7  # for the frames that are not reduced any more
_SECONDS_TO_TELL = 10.0  # until that is told


@dataclass(frozen=True)
class Status:
    """Where a reduction stands.

    ``waiting`` counts documents that are accepted and not yet done with, ``reduced`` and ``failed``
    frames, ``sink_errors`` documents that a sink refused; ``lag`` is how long ago the oldest waiting
    document was accepted, in seconds; ``unwritten`` counts frames of which a file could not be written.
    ``superseded`` counts frames whose files were overwritten before they were reduced, which are not among ``failed``;
    ``outdated`` files have newer content that is not reduced yet. ``ended`` says why nothing more will be reduced,
    where a thread has ended of an unexpected error; empty as long as all is well. ``set_aside`` counts documents and
    values that a sink's catalog will not have (see `CatalogCounters`).
    """

    waiting: int
    reduced: int
    failed: int
    sink_errors: int
    lag: float
    unwritten: int = 0
    superseded: int = 0
    outdated: int = 0
    ended: str = ""
    set_aside: int = 0


def _set_aside(sink: object) -> int:
    """How much a sink that is a catalog's writer has set aside."""
    counters = getattr(sink, "counters", None)
    return counters.rejected + counters.left_out + counters.lost if isinstance(counters, CatalogCounters) else 0


@dataclass(frozen=True, eq=False)
class PendingFrame:
    """A step, and what is being made of its frame."""

    step: WorkItem
    outcome: Future[FrameResult] | None = None
    image: Path | None = None
    left_out: bool = False


class Reduction:
    """Reduces every image of the runs it sees, and hands reduced runs to its sinks.

    Subscribe it to a RunEngine, or call it with documents. It returns at once and never raises: the documents wait in
    a queue, a thread follows them to their frames, another has them reduced, and a third delivers what was made of
    them, in the order in which they came. What waits is where frames are, which is small. Images that events bring
    along inline wait in memory up to ``inline_megabytes``, beyond that in files of a temporary folder. So nothing is
    dropped and the RunEngine never waits, however far the reduction lags behind.

    A run that has ``original_run_uid`` is itself the result of an analysis and is passed over.

    Parameters
    ----------
    calibration
        For the images of any detector; or a calibration for each detector (or data key) by name, and
        other images are passed over.
    sinks
        What gets the documents of reduced runs: callables ``(name, document)``, called in one
        thread, in order.
    recipes
        Further integrators beside those of the calibration.
    executor
        Where frames are read, reduced and written: a `WorkerPool`, a ``ProcessPoolExecutor``, or that of a Dask client;
        None: in this object's own thread.
    files
        Where the curves are written, by whoever reduces the frame; the events of the reduced run then tell the file of
        each curve. None: nothing is written (a sink such as `ChiFiles` may).
    window
        How many frames may be in hand at a time, reduced and not yet delivered.
    patience
        For how long after its document a file that is absent or half written is looked for, seconds. An HDF5 file that
        cannot be read before it is closed is looked for until that long after the end of its run.
    deviation
        Whether curves carry the standard deviation of the pixels too.
    inline_megabytes
        Limit for images that wait in memory.
    task_seconds
        For how long a frame that is reduced in this object's own thread may keep it, beyond the patience; then it has
        failed, and another thread goes on. 0: no limit. An executor has limits of its own.
    handlers
        What reads files by the ``spec`` of their resource: databroker's handler classes, called with the path and
        ``resource_kwargs``, and what they give with ``datum_kwargs``. They come before what is known here and the
        handlers of installed packages. One that was defined in the session itself, which no other process can import,
        reads in this object's own thread.

    Raises
    ------
    CalibrationError, MaskError
        As `Reducer` does.
    PluginError
        A handler is none.
    """

    def __init__(
        self,
        calibration: Calibration | Mapping[str, Calibration],
        sinks: Sequence[Sink] = (),
        *,
        recipes: Sequence[Integrator] = (),
        executor: Executor | None = None,
        files: CurveFiles | None = None,
        window: int = 64,
        patience: float = 10.0,
        deviation: bool = False,
        inline_megabytes: float = 256.0,
        task_seconds: float = 60.0,
        handlers: Mapping[str, Handler] = MappingProxyType({}),
    ) -> None:
        by_name = calibration if isinstance(calibration, Mapping) else {"": calibration}
        self._reducers = {
            name: Reducer(one, extra_integrators=recipes, deviation=deviation) for name, one in by_name.items()
        }
        for reducer in self._reducers.values():
            _check_recipes(reducer)
            warn(reducer.remarks)
        self._remarked: set[tuple[str, str]] = set()
        self._work = {
            name: FrameJob(
                one,
                tuple(recipes),
                deviation,
                files,
                mask_sha256=self._reducers[name].mask_sha256,
                reducer=self._reducers[name],
            )
            for name, one in by_name.items()
        }
        self._detectors = None if isinstance(calibration, Calibration) else frozenset(by_name)
        self.sinks: list[Sink] = list(sinks)
        self._executor = executor
        self._files = files
        self._claims = OutputNameRegistry(files.names, keep=not files.overwrite) if files else None
        self._home = home_folder()  # a program may change its directory while it runs
        self._patience = patience
        self._limit = task_seconds + patience if task_seconds else inf

        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        handlers = check_handlers(handlers)
        self._specs_here = frozenset(spec for spec, handler in handlers.items() if not travels(handler))
        self._intake = FrameExtractor(
            self._steps.put,
            self._detectors,
            int(inline_megabytes * 1e6),
            files=files is not None,
            handlers=handlers,
        )
        self._inline = InlineImages(self._detectors)
        self._in_hand: queue.Queue[Any] = queue.Queue(window)
        self._open_files = OpenFiles(self._steps.put, patience)
        self._writing: dict[Path, Future[FrameResult]] = {}
        self._contents: Contents | None = None

        self._changed = threading.Condition()
        self._accepted = self._finished = self._reduced = self._failed = self._sink_errors = self._unwritten = 0
        self._waiting_since: deque[float] = deque()
        self._threads: list[threading.Thread] = []
        self._closed = self._abandoned = self._told_broken = False
        self._is_closing = False  # all steps have come but those of frames that wait for their file
        self._ended = ""
        self._refused = 0
        self._failing: set[int] = set()
        self._at_work: WorkItem | None = None  # what the thread is about that has frames reduced
        self._giving_up = threading.Lock()
        self._hurry = threading.Event()  # the program ends: frames that are not begun are left out
        self._left_out = 0
        handle_signals()

    # The RunEngine's thread

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Accept a document of a raw run."""
        doc = self._inline.taken(name, doc)
        with self._changed:
            if self._closed or self._ended:
                self._refuse(name)
                return
            if not self._threads:
                self._start()
            now = time.time()
            self._accepted += 1
            self._waiting_since.append(now)
            self._inbox.put((now, name, doc))  # or it might come behind the end that another thread asks for

    def _start(self) -> None:
        for target in (self._follow, self._reduce, self._deliver):
            self._start_thread(target)
        # Daemons, since a thread that waits for documents would keep the interpreter from ending; what
        # is accepted by then is done all the same.
        at_program_end(self.leave, Turn.REDUCTIONS)

    def reducer(self, detector: str = "") -> Reducer:
        """What reduces the images of a detector; without a name, those of any."""
        return self._reducers[detector if self._detectors is not None else ""]

    def _start_thread(self, target: Callable[[], None]) -> None:
        name = f"saxs-bluesky{target.__name__}"
        thread = threading.Thread(target=self._live, args=(target,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _live(self, target: Callable[[], None]) -> None:
        """Be a thread, and tell those who wait where it ends before its time."""
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - told instead, since nobody sees a thread end
            _log.exception("a thread of the reduction ended before its time")
            with self._changed:
                self._ended = (
                    self._ended or f"unexpected {type(error).__name__} in its thread {target.__name__[1:]}: {error}"
                )
                self._changed.notify_all()
            self._inbox.put(_CLOSE)
            self._steps.put(_END)
            self._put_in_hand(_CLOSE)

    def _refuse(self, name: str) -> None:
        self._refused += 1
        if is_logged(self._refused, first=1):
            text = "a document (%s) is not reduced, nor are those after it: the reduction has ended (%s)"
            _log.log(logging.ERROR if self._ended else logging.WARNING, text, name, self._ended or "it was closed")

    @property
    def ended(self) -> str:
        """Why nothing more will be reduced; empty as long as all is well."""
        return self._ended

    @property
    def status(self) -> Status:
        """Where the reduction stands; may be asked for at any time, from any thread."""
        aside = sum(_set_aside(sink) for sink in self.sinks)
        with self._changed:
            waiting = self.waiting
            since = min(self._waiting_since[0] if self._waiting_since else time.time(), self._open_files.oldest)
            lag = max(0.0, time.time() - since) if waiting else 0.0
            contents = self._contents
            newer = (0, 0) if contents is None else (contents.superseded, contents.outdated)
            numbers = waiting, self._reduced, self._failed, self._sink_errors, lag, self._unwritten
            return Status(*numbers, *newer, self._ended, aside)

    @property
    def waiting(self) -> int:
        """How many documents are accepted and not yet done with; cheaper to ask for than `status`."""
        return self._accepted - self._finished + self._open_files.more

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything accepted is reduced and delivered, also by sinks that can be waited for.

        Returns
        -------
        Whether it is; False when ``timeout`` seconds were not enough, or the reduction has ended before its time.
        """
        end = None if timeout is None else time.monotonic() + timeout
        if not self.wait_for_frames(timeout):
            return False
        for sink in self.sinks:
            wait = getattr(sink, "wait", None)
            if wait is not None:
                left = None if end is None else max(0.0, end - time.monotonic())
                if wait(left) is False:
                    return False
        return True

    def wait_for_frames(self, timeout: float | None = None) -> bool:
        """Wait until everything accepted is reduced and handed to the sinks; False where that is not to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self.waiting or self._ended or self._abandoned, timeout)
            return not self.waiting

    def clean_up(self, image: str | Path) -> None:
        """Remove what a program left that was killed while it wrote the files of an image, before that is reduced."""
        if self._files is not None:
            names = {curve.name: None for reducer in self._reducers.values() for curve in reducer.template}
            self._files.clean_up(self._home / image, names)

    def follow_contents(self, look_again: Callable[..., None]) -> None:
        """Reduce files only as long as they hold what their events describe; to be called before the first document.

        A frame whose file was overwritten before it was reduced has no curves, and its event says so.

        Parameters
        ----------
        look_again
            Told the path of each such file, before its frame is done, so that its newer content becomes an event too.
        """
        self._contents = Contents(look_again)
        self._intake.live = True

    def finish(self, run_uid: str) -> None:
        """End the reduced runs of a raw run that gets no more documents, as if it had been aborted.

        For a reduction that is unsubscribed in the middle of a run: the reduced run would stay open until `close`.
        Frames that wait for an event, such as one with motor positions, are reduced without. Returns at once; of a
        run that has stopped, or is not known, nothing becomes of it.

        Parameters
        ----------
        run_uid
            Uid of the raw run's start document.
        """
        self(FINISH, {"run_start": run_uid})

    def flush(self) -> None:
        """Wait without limit: the end of a session."""
        self.wait()

    def close(self, timeout: float | None = None) -> bool:
        """Finish what is accepted, close reduced runs whose raw run never stopped, and end the threads."""
        with self._changed:
            self._closed = True
            threads = list(self._threads)
        if not threads:
            return True
        forget(self.leave)
        self._inbox.put(_CLOSE)
        for thread in threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in threads) and self.wait(timeout)

    def leave(self, until: float, at_most: float) -> None:
        """Do what `close` does until the later of two moments, by ``time.monotonic``, and leave out what is left then.

        For the end of a program. The stop document of a reduced run with frames that are left out says "abort", and
        how many they are.
        """
        with self._changed:
            self._closed = True
        self._inbox.put(_CLOSE)
        if not self._finished_until(max(until, at_most)):
            self._hurry.set()
            with suppress(queue.Full):
                self._in_hand.put_nowait(_LOOK)
        for thread in list(self._threads):
            if thread.name.endswith(self._deliver.__name__):
                thread.join(_SECONDS_TO_LEAVE_OUT)
        if (self._left_out or self.waiting) and not self._ended:  # which has been told
            _log.warning(
                "the program ends, and %d frames and %d documents are not reduced any more; reduce_run reduces a run "
                "again",
                self._left_out,
                self.waiting,
            )

    def _finished_until(self, until: float) -> bool:
        """Wait until all is done, as long as something gets done."""
        before = -1
        with self._changed:
            while self.waiting and not self._ended and before != self._finished and time.monotonic() < until:
                before = self._finished
                seconds = min(_SECONDS_STUCK, until - time.monotonic())
                self._changed.wait_for(lambda: not self.waiting, seconds)
            return not self.waiting

    def abandon(self) -> None:
        """Deliver nothing more, and end the threads without waiting for them: what is in hand is lost.

        For a program that fails, before it closes what the sinks write to. A reduction that was closed is left alone;
        who waits for one that is abandoned is told that it is not done.
        """
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        self.close(0)

    # The intake thread: from documents to frames

    def _follow(self) -> None:
        while (item := self._inbox.get()) is not _CLOSE:
            self._intake.follow(*item)
        self._intake.close()
        self._steps.put(_CLOSE)

    # The thread that has frames reduced: here, or by the executor

    def _reduce(self) -> None:
        while (step := self._steps.get()) is not _END:
            if step is _CLOSE:
                self._put_in_hand(_CLOSE)
                continue
            self._at_work = step
            item = self._begun(step)
            with self._giving_up:
                if self._at_work is not step:
                    return  # it took too long, and another thread goes on
                self._at_work = None
            self._put_in_hand(item)

    def _put_in_hand(self, item: Any) -> None:
        while not self._ended:
            try:
                self._in_hand.put(item, timeout=_LOOK_EVERY)
            except queue.Full:
                continue
            return
        with suppress(queue.Full):
            self._in_hand.put_nowait(item)

    def _begun(self, step: WorkItem) -> PendingFrame:
        if self._hurry.is_set() and step.task is not None:
            return PendingFrame(step, left_out=True)
        try:
            return self._begin(step)
        # A fault here costs its frame, and must not end the thread; SystemExit is one that a user's recipe may raise.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            return PendingFrame(step, _done(FrameResult(reason_of(error))))

    def _begin(self, step: WorkItem) -> PendingFrame:
        if step.task is None or step.run is None:
            return PendingFrame(step)
        if isinstance(step.task.reference, Hdf5Frame) and self._open_files.must_wait(step):
            return PendingFrame(step)
        try:
            image = self._image(step.run, step.task)
        except (OutputError, ValueError) as error:  # ValueError: a path that can be none
            return PendingFrame(step, _done(FrameResult(str(error))))
        if image is not None and image in self._writing:
            # Or the curves of an image that was overwritten might be replaced by those of what it was before.
            wait([self._writing[image]])
        work = self._work[self._name(step.task)]
        uid = step.run.raw.start_document["uid"]
        task = step.task if self._contents is None else self._contents.asked(step.task)
        outcome = self._submit(work, task, image, step.accepted + self._patience, uid)
        if image is not None:
            self._writing[image] = outcome
        return PendingFrame(step, outcome, image)

    def _submit(
        self, work: FrameJob, task: FrameTask, image: Path | None, deadline: float, uid: str
    ) -> Future[FrameResult]:
        if self._executor is not None and task.reference is not None and not task.failure and not self._is_here(task):
            try:
                return self._executor.submit(work, task, image, deadline, uid)
            except RuntimeError as error:  # an executor that is broken or shut down: the frame is done here
                self._tell_broken(error)
        return _done(work(task, image, deadline, uid))

    def _is_here(self, task: FrameTask) -> bool:
        """Whether the frame is read by a handler that other processes cannot have."""
        return isinstance(task.reference, HandlerFrame) and task.reference.spec in self._specs_here

    def _image(self, run: RunState, task: FrameTask) -> Path | None:
        """After which the files of a frame are named; None where none are written.

        Raises
        ------
        OutputError
            Another image has these names.
        """
        if self._files is None or self._claims is None or task.failure:
            return None
        start = run.raw.start_document
        path = task.reference.path if task.reference else ""
        pages = page_of(task.reference)
        name = FrameName(path, task.index, task.stream, task.detector, start["uid"], start.get("scan_id"), *pages)
        image = name.image(self._home, one_folder=self._files.names.folder is not None)
        self._claims.claim(image, None if name.number is None else name.file(self._home))
        return image

    # The thread that delivers, in order

    def _deliver(self) -> None:
        while not self._is_closing or self._open_files:
            if (item := self._next()) is not _CLOSE:
                self._end(item)
                continue
            self._is_closing = True
            if self._ended or self._abandoned:
                break
        self._steps.put(_END)
        self._intake.clean_up()

    def _next(self) -> Any:
        """What comes next; a frame that keeps the thread before this one for too long comes as failed."""
        seen: WorkItem | None = None
        waited = 0.0
        while True:
            self._open_files.look()
            pause = min(_LOOK_EVERY, self._open_files.pause())
            try:
                item = self._in_hand.get(timeout=pause)
            except queue.Empty:
                if self._is_closing and self._abandoned:
                    return _CLOSE
            else:
                if item is not _LOOK:
                    return item
            # Looks are counted, and not time, since a program that was stopped meanwhile has not waited.
            now, before = self._at_work, waited
            seen, waited = now, waited + pause if now is seen else pause
            if seen is None or seen.task is None:
                continue
            if self._hurry.is_set() and self._give_up(seen):
                return PendingFrame(seen, left_out=True)
            path = self._work[self._name(seen.task)].describe(seen.task)
            if before < _SECONDS_TO_TELL <= waited:
                _log.warning("this process has been busy with %s for %.0f s", path, _SECONDS_TO_TELL)
            if waited >= self._limit and self._give_up(seen):
                return PendingFrame(seen, _done(self._hung(path)))

    def _give_up(self, step: WorkItem) -> bool:
        with self._giving_up:
            if self._at_work is not step:
                return False
            self._at_work = None
        self._threads = [thread for thread in self._threads if not thread.name.endswith(self._reduce.__name__)]
        self._start_thread(self._reduce)
        return True

    def _hung(self, path: str) -> FrameResult:
        _log.warning("%s is given up after %.0f s, with the thread that hangs in it", path, self._limit)
        text = f"{path}: wanted an image that is done in {self._limit:g} s, found it hanging: is its file system away?"
        return FrameResult(text)

    def _aside(self, work: Callable[[], FrameResult], path: str) -> FrameResult:
        """Do in this process what another should have done, in a thread that may hang."""
        outcome: Future[FrameResult] = Future()

        def do() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                outcome.set_exception(error)

        threading.Thread(target=do, name="saxs-bluesky-aside", daemon=True).start()
        try:
            return outcome.result(None if self._limit == inf else self._limit)
        except TimeoutError:
            return outcome.result() if outcome.done() else self._hung(path)

    def _tell_broken(self, error: Exception) -> None:
        if not self._told_broken:
            self._told_broken = True
            _log.warning("the workers do no more (%s): this process reduces the frames itself", error)

    def _end(self, item: PendingFrame) -> None:
        if self._abandoned:
            return
        step, outcome = item.step, self._known(item)
        if not self._open_files and not (outcome is not None and outcome.waits):
            self._finish(step, outcome)
            return
        for one, found in self._open_files.in_turn(step, outcome):
            self._finish(one, found)
        with self._changed:
            self._changed.notify_all()

    def _known(self, item: PendingFrame) -> FrameResult | None:
        """What became of a frame; None where there is none, or it was not tried."""
        if item.step.task is None or item.outcome is None:
            return _LEFT_OUT if item.left_out else None
        try:
            if not self._is_awaited(item.outcome):
                return _LEFT_OUT
            return self._outcome(item, item.step.task, item.outcome)
        except Exception as error:  # noqa: BLE001
            _log.exception("the outcome of a frame cannot be known")
            return FrameResult(reason_of(error))

    def _is_awaited(self, future: Future[FrameResult]) -> bool:
        """Wait until a frame is done; False where the program ends before."""
        while not (future.done() or self._hurry.is_set()):
            wait([future], _LOOK_AT_FUTURE)
        return future.done()

    def _finish(self, step: WorkItem, outcome: FrameResult | None) -> None:
        try:
            if step.task is not None and step.run is not None and outcome is _LEFT_OUT:
                self._intake.release(step.task)
                step.run.reduced.leave_out(step.task)
                self._left_out += 1
            elif step.task is not None and step.run is not None and outcome is not None:
                self._deliver_frame(step.run, step.task, outcome)
            if step.closing and step.run is not None:
                for name, doc in step.run.reduced.stop(step.stop):
                    self._hand_out(name, doc)
        # A fault here must not end the thread: the frames behind this one would be lost.
        except Exception:  # noqa: BLE001
            _log.exception("a step of the reduction failed")
            with self._changed:
                self._failed += step.task is not None
        if step.done:
            with self._changed:
                if self._waiting_since[0] == step.accepted:
                    self._waiting_since.popleft()
                else:  # those before it wait for their file
                    self._waiting_since.remove(step.accepted)
                self._finished += 1
                self._changed.notify_all()

    def _outcome(self, item: PendingFrame, task: FrameTask, future: Future[FrameResult]) -> FrameResult:
        uid = item.step.run.raw.start_document["uid"] if item.step.run is not None else ""
        work = self._work[self._name(task)]

        def here() -> FrameResult:
            again = partial(work, task, item.image, item.step.accepted + self._patience, uid)
            return self._aside(again, work.describe(task))

        try:
            outcome = future.result()
        except BrokenExecutor as error:
            self._tell_broken(error)
            outcome = here()
        except Exception as error:  # noqa: BLE001 - a worker that dies of a frame, each time, or a cluster's errors
            outcome = FrameResult(reason_of(error))
        if self._contents is not None:
            outcome = self._contents.judged(task, outcome, here)
        if item.image is not None and self._writing.get(item.image) is future:
            del self._writing[item.image]
        self._intake.release(task)
        return outcome

    def _deliver_frame(self, run: RunState, task: FrameTask, outcome: FrameResult) -> None:
        uid = run.raw.start_document["uid"]
        for what in filter(None, (outcome.failure, outcome.files.failure)):
            level = logging.INFO if outcome.superseded else logging.WARNING
            _frames_log.log(level, "frame %s of run %s failed: %s", task.index, uid, what)
        if (
            outcome.remark and (uid, task.detector) not in self._remarked
        ):  # each worker finds it in a run's first images
            self._remarked.add((uid, task.detector))
            warn([outcome.remark])
        if outcome.coordinates:
            self._tell_unknown(uid, outcome.coordinates)
            task = replace(task, coordinates={**task.coordinates, **known(outcome.coordinates)})
        reducer = self._reducers[self._name(task)]
        for name, doc in run.reduced.frame(task, outcome.result(reducer.template), reducer, outcome.files):
            self._hand_out(name, doc)
        if self._contents is not None:
            self._contents.delivered(task, outcome)
        with self._changed:
            self._failed += bool(outcome.failure) and not outcome.superseded
            self._reduced += not outcome.failure
            self._unwritten += bool(outcome.files.failure)

    def _tell_unknown(self, uid: str, coordinates: Mapping[str, float | str]) -> None:
        """Tell once a run which axis cannot be read from its file."""
        for key, value in coordinates.items():
            if isinstance(value, str) and (uid, key) not in self._remarked:
                self._remarked.add((uid, key))
                _log.warning("run %s: frames are reduced without %s: %s", uid, key, value)

    def _hand_out(self, name: str, doc: dict[str, Any]) -> None:
        for sink in self.sinks:
            try:
                sink(name, doc)
            # One sink's fault must neither reach the others nor stop the reduction.
            except (Exception, SystemExit):  # noqa: BLE001
                self._tell_sink(sink, name)
                with self._changed:
                    self._sink_errors += 1

    def _tell_sink(self, sink: Sink, name: str) -> None:
        """Tell the first failure of a sink, which may fail for every frame of a day; the others are counted."""
        level = logging.DEBUG if id(sink) in self._failing else logging.WARNING
        self._failing.add(id(sink))
        _log.log(level, "sink %r failed on a %s document", sink, name, exc_info=True)

    def _name(self, task: FrameTask) -> str:
        return "" if self._detectors is None else task.detector


def _done(outcome: FrameResult) -> Future[FrameResult]:
    future: Future[FrameResult] = Future()
    future.set_result(outcome)
    return future


def _check_recipes(reducer: Reducer) -> None:
    """Find out now, and not at the first frame, whether every recipe can do an image at all."""
    try:
        reducer.template  # noqa: B018 - made here, used by each reduced run
    except SaxsError:
        raise
    except Exception as error:
        raise CalibrationError(
            f"wanted recipes that can integrate an empty image, found {type(error).__name__}: {error}"
        ) from error
