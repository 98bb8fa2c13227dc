"""The reduction as a Bluesky callback: documents of raw runs in, documents of reduced runs out."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

from saxs_bluesky.callbacks.reduction._content_check import ContentCheck
from saxs_bluesky.callbacks.reduction._delivery import Delivery, Sink
from saxs_bluesky.callbacks.reduction._frame_extractor import FINISH, FrameExtractor
from saxs_bluesky.callbacks.reduction._frame_runner import FrameRunner
from saxs_bluesky.callbacks.reduction._inline_images import InlineImages
from saxs_bluesky.callbacks.reduction._open_files import OpenFiles
from saxs_bluesky.callbacks.reduction._reducing_thread import CLOSE, END, ReducingThread
from saxs_bluesky.callbacks.reduction._status import Status, set_aside_by
from saxs_bluesky.callbacks.reduction._work_item import LEFT_OUT, WorkItem
from saxs_bluesky.documents import Document, FrameResult, Handler, RunReduction, check_handlers, travels
from saxs_bluesky.errors import CalibrationError, SaxsError, reason_of
from saxs_bluesky.frame_job import CurveFiles, FrameJob, home_folder, warn
from saxs_bluesky.reduction import Calibration, Integrator, Reducer
from saxs_bluesky.support.former_names import former_argument
from saxs_bluesky.support.log_throttle import is_logged
from saxs_bluesky.support.program_end import Turn, at_program_end, forget, handle_signals

_log = logging.getLogger(__name__)

_SECONDS_STUCK = 4.0  # at the program's end: without a frame that gets done there is no sense in waiting
_SECONDS_TO_LEAVE_OUT = 0.7  # for the frames that are not reduced any more


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
        other images are passed over; or a `Reducer` whose operators are built already, with the same further
        integrators and deviation.
    sinks
        What gets the documents of reduced runs: callables ``(name, document)``, called in one
        thread, in order.
    extra_integrators
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

    @former_argument("recipes", "extra_integrators")
    def __init__(
        self,
        calibration: Calibration | Reducer | Mapping[str, Calibration],
        sinks: Sequence[Sink] = (),
        *,
        extra_integrators: Sequence[Integrator] = (),
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
        self._reducers = {name: _reducer(one, extra_integrators, deviation=deviation) for name, one in by_name.items()}
        jobs = {
            name: FrameJob(
                one.calibration, tuple(extra_integrators), deviation, files, mask_sha256=one.mask_sha256, reducer=one
            )
            for name, one in self._reducers.items()
        }
        self._detectors = frozenset(by_name) if isinstance(calibration, Mapping) else None
        self.sinks: list[Sink] = list(sinks)
        self._files = files
        limit = task_seconds + patience if task_seconds else inf
        handlers = check_handlers(handlers)
        self._program_ends = threading.Event()  # frames that are not begun are left out

        # The parts, in the order in which a document passes them.
        self._inline_images = InlineImages(self._detectors)
        self._documents: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._extractor = FrameExtractor(
            self._items.put,
            self._detectors,
            int(inline_megabytes * 1e6),
            partial(RunReduction, reducer=self.reducer, files=files is not None),
            handlers=handlers,
        )
        self._runner = FrameRunner(
            jobs,
            executor,
            files,
            patience=patience,
            limit=limit,
            specs_here=frozenset(spec for spec, handler in handlers.items() if not travels(handler)),
            hurry=self._program_ends,
        )
        self._open_files = OpenFiles(self._items.put, patience)
        self._reducing = ReducingThread(
            self._items,
            self._runner,
            self._open_files,
            window=window,
            replace=self._replace_reducing,
        )
        self._delivery = Delivery(self.sinks)

        self._changed = threading.Condition()
        self._accepted = self._finished = self._refused = 0
        self._waiting_since: deque[float] = deque()
        self._threads: list[threading.Thread] = []
        self._closed = self._abandoned = False
        self._is_closing = False  # all items have come but those of frames that wait for their file
        self._ended = ""
        handle_signals()

    # The RunEngine's thread

    def __call__(self, name: str, doc: Document) -> None:
        """Accept a document of a raw run."""
        doc = self._inline_images.taken(name, doc)
        with self._changed:
            if self._closed or self._ended:
                self._refuse(name)
                return
            if not self._threads:
                self._start()
            now = time.time()
            self._accepted += 1
            self._waiting_since.append(now)
            self._documents.put((now, name, doc))  # or it might come behind the end that another thread asks for

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
            self._documents.put(CLOSE)
            self._reducing.is_abandoned = True
            self._items.put(END)
            self._reducing.hand_on(CLOSE)

    def _replace_reducing(self) -> None:
        self._threads = [thread for thread in self._threads if not thread.name.endswith(self._reduce.__name__)]
        self._start_thread(self._reduce)

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
        aside = sum(set_aside_by(sink) for sink in self.sinks)
        with self._changed:
            waiting = self.waiting
            since = min(self._waiting_since[0] if self._waiting_since else time.time(), self._open_files.oldest)
            lag = max(0.0, time.time() - since) if waiting else 0.0
            check, delivery = self._runner.content_check, self._delivery
            return Status(
                waiting,
                delivery.reduced,
                delivery.failed,
                delivery.sink_errors,
                lag,
                delivery.unwritten,
                superseded=0 if check is None else check.superseded,
                outdated=0 if check is None else check.outdated,
                ended=self._ended,
                set_aside=aside,
            )

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
            self._files.clean_up(home_folder() / image, names)

    def follow_contents(self, look_again: Callable[..., None]) -> None:
        """Reduce files only as long as they hold what their events describe; to be called before the first document.

        A frame whose file was overwritten before it was reduced has no curves, and its event says so.

        Parameters
        ----------
        look_again
            Told the path of each such file, before its frame is done, so that its newer content becomes an event too.
        """
        self._runner.content_check = ContentCheck(look_again)
        self._extractor.live = True

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
        self._documents.put(CLOSE)
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
        self._documents.put(CLOSE)
        if not self._finished_until(max(until, at_most)):
            self._program_ends.set()
            self._reducing.look_now()
        for thread in list(self._threads):
            if thread.name.endswith(self._deliver.__name__):
                thread.join(_SECONDS_TO_LEAVE_OUT)
        if (self._delivery.left_out or self.waiting) and not self._ended:  # which has been told
            _log.warning(
                "the program ends, and %d frames and %d documents are not reduced any more; reduce_run reduces a run "
                "again",
                self._delivery.left_out,
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

    # The thread that follows documents to their frames

    def _follow(self) -> None:
        while (accepted := self._documents.get()) is not CLOSE:
            self._extractor.follow(*accepted)
        self._extractor.close()
        self._items.put(CLOSE)

    # The thread that has frames reduced: here, or by the executor

    def _reduce(self) -> None:
        self._reducing.run()

    # The thread that delivers, in order

    def _deliver(self) -> None:
        while not self._is_closing or self._open_files:
            if (item := self._reducing.next_item(lambda: self._is_closing and self._abandoned)) is not CLOSE:
                self._settle(item)
                continue
            self._is_closing = True
            if self._ended or self._abandoned:
                break
        self._items.put(END)
        self._extractor.clean_up()

    def _settle(self, item: WorkItem) -> None:
        """Deliver an item, and those that waited for it; or keep it where its frame waits for a file."""
        if self._abandoned:
            return
        try:
            result = self._runner.result(item)
        except Exception as error:  # noqa: BLE001
            _log.exception("the result of a frame cannot be known")
            result = FrameResult(reason_of(error))
        if not self._open_files and not (result is not None and result.waits):
            self._finish(item, result)
            return
        for one, found in self._open_files.in_turn(item, result):
            self._finish(one, found)
        with self._changed:
            self._changed.notify_all()

    def _finish(self, item: WorkItem, result: FrameResult | None) -> None:
        try:
            if item.run is not None and item.task is not None and result is not None:
                self._extractor.release(item.task)
                if result is LEFT_OUT:
                    self._delivery.leave_out(item.run, item.task)
                else:
                    self._delivery.deliver_frame(item.run, item.task, result)
                    if self._runner.content_check is not None:
                        self._runner.content_check.delivered(item.task, result)
            if item.closing and item.run is not None:
                self._delivery.hand_out(item.run.reduced.stop(item.stop))
        # A fault here must not end the thread: the frames behind this one would be lost.
        except Exception:  # noqa: BLE001
            _log.exception("a step of the reduction failed")
            self._delivery.failed += item.task is not None
        if item.done:
            with self._changed:
                if self._waiting_since[0] == item.accepted:
                    self._waiting_since.popleft()
                else:  # those before it wait for their file
                    self._waiting_since.remove(item.accepted)
                self._finished += 1
                self._changed.notify_all()


def _reducer(one: Calibration | Reducer, extra_integrators: Sequence[Integrator], *, deviation: bool) -> Reducer:
    """What reduces the images of a detector; that every integrator can do an image at all is found out now."""
    reducer = (
        one if isinstance(one, Reducer) else Reducer(one, extra_integrators=extra_integrators, deviation=deviation)
    )
    try:
        reducer.template  # noqa: B018 - made here, used by each reduced run
    except SaxsError:
        raise
    except Exception as error:
        raise CalibrationError(
            f"wanted extra integrators that can integrate an empty image, found {type(error).__name__}: {error}"
        ) from error
    warn(reducer.remarks)
    return reducer
