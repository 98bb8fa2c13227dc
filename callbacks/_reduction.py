"""The reduction as a Bluesky callback: documents of raw runs in, documents of reduced runs out."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from typing import Any

from saxs_bluesky.callbacks._intake import Intake, RunState, Step
from saxs_bluesky.callbacks._work import RemoteWork
from saxs_bluesky.documents import FrameTask, Result, reduce_task
from saxs_bluesky.errors import CalibrationError, SaxsError
from saxs_bluesky.reduction import Calibration, Integrator, Reducer

_log = logging.getLogger(__name__)

Sink = Callable[[str, dict[str, Any]], Any]
_CLOSE = object()
_SECONDS_AT_EXIT = 60.0


@dataclass(frozen=True)
class Status:
    """Where a reduction stands.

    ``waiting`` counts documents that are accepted and not yet done with, ``reduced`` and ``failed``
    frames, ``sink_errors`` documents that a sink refused; ``lag`` is how long ago the oldest waiting
    document was accepted, in seconds.
    """

    waiting: int
    reduced: int
    failed: int
    sink_errors: int
    lag: float


class Reduction:
    """Reduces every image of the runs it sees, and hands reduced runs to its sinks.

    Subscribe it to a RunEngine, or call it with documents. It returns at once and never raises: the
    documents wait in a queue, a thread follows them to their frames, and another reduces. What
    waits is where frames are, which is small. Images that events bring along inline wait in memory up
    to ``inline_megabytes``, beyond that in files of a temporary folder. So nothing is dropped and
    the RunEngine never waits, however far the reduction lags behind.

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
        Where frames are read and reduced, such as a ``ProcessPoolExecutor``; None: in this object's
        own thread.
    window
        How many frames an executor has in hand at a time.
    patience
        For how long after its document a file that is absent or half written is looked for, seconds.
    deviation
        Whether curves carry the standard deviation of the pixels too.
    inline_megabytes
        Limit for images that wait in memory.

    Raises
    ------
    CalibrationError, MaskError
        As `Reducer` does.
    """

    def __init__(
        self,
        calibration: Calibration | Mapping[str, Calibration],
        sinks: Sequence[Sink] = (),
        *,
        recipes: Sequence[Integrator] = (),
        executor: Executor | None = None,
        window: int = 4,
        patience: float = 10.0,
        deviation: bool = False,
        inline_megabytes: float = 256.0,
    ) -> None:
        by_name = calibration if isinstance(calibration, Mapping) else {"": calibration}
        self._reducers = {name: Reducer(one, recipes=recipes, deviation=deviation) for name, one in by_name.items()}
        for reducer in self._reducers.values():
            _check_recipes(reducer)
        self._remote = {name: RemoteWork(one, tuple(recipes), deviation) for name, one in by_name.items()}
        self._detectors = None if isinstance(calibration, Calibration) else frozenset(by_name)
        self.sinks: list[Sink] = list(sinks)
        self._executor = executor
        self._window = window
        self._patience = patience

        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._intake = Intake(self._steps.put, self._detectors, int(inline_megabytes * 1e6))

        self._changed = threading.Condition()
        self._accepted = self._finished = self._reduced = self._failed = self._sink_errors = 0
        self._waiting_since: deque[float] = deque()
        self._threads: list[threading.Thread] = []
        self._closed = False

    # The RunEngine's thread

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Accept a document of a raw run."""
        with self._changed:
            if self._closed:
                _log.warning("a %s document came after the reduction was closed and is not reduced", name)
                return
            if not self._threads:
                self._start()
            now = time.time()
            self._accepted += 1
            self._waiting_since.append(now)
        self._inbox.put((now, name, doc))

    def _start(self) -> None:
        for target in (self._follow, self._reduce):
            thread = threading.Thread(target=target, name=f"saxs-bluesky{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()
        # Daemons, since a thread that waits for documents would keep the interpreter from ending; what
        # is accepted by then is done all the same.
        atexit.register(self.close, _SECONDS_AT_EXIT)

    @property
    def status(self) -> Status:
        """Where the reduction stands; may be asked for at any time, from any thread."""
        with self._changed:
            waiting = self._accepted - self._finished
            since = self._waiting_since[0] if self._waiting_since else time.time()
            lag = max(0.0, time.time() - since) if waiting else 0.0
            return Status(waiting, self._reduced, self._failed, self._sink_errors, lag)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything accepted is reduced and delivered, also by sinks that can be waited for.

        Returns
        -------
        Whether it is; False when ``timeout`` seconds were not enough.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if not self._changed.wait_for(lambda: self._finished == self._accepted, timeout):
                return False
        for sink in self.sinks:
            wait = getattr(sink, "wait", None)
            if wait is not None:
                left = None if end is None else max(0.0, end - time.monotonic())
                if wait(left) is False:
                    return False
        return True

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
        atexit.unregister(self.close)
        self._inbox.put(_CLOSE)
        for thread in threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in threads) and self.wait(timeout)

    # The intake thread: from documents to frames

    def _follow(self) -> None:
        while (item := self._inbox.get()) is not _CLOSE:
            self._intake.follow(*item)
        self._intake.close()
        self._steps.put(_CLOSE)

    # The reducing thread

    def _reduce(self) -> None:
        in_hand: deque[tuple[Step, Future[Result] | None]] = deque()
        step = None
        while step is not _CLOSE:
            step = self._steps.get()
            if step is not _CLOSE:
                in_hand.append((step, self._begin(step)))
            while in_hand and (step is _CLOSE or len(in_hand) > self._window or self._steps.empty()):
                self._end(*in_hand.popleft())
        self._intake.clean_up()

    def _begin(self, step: Step) -> Future[Result] | None:
        if self._executor is None or step.task is None or step.task.reference is None:
            return None
        try:
            return self._executor.submit(self._remote[self._name(step.task)], step.task, self._deadline(step))
        except RuntimeError:
            return None  # an executor that is broken or shut down: the frame is done here

    def _end(self, step: Step, future: Future[Result] | None) -> None:
        try:
            if step.task is not None and step.run is not None:
                self._deliver_frame(step.run, step.task, self._result(step, step.task, future))
            if step.closing and step.run is not None:
                for name, doc in step.run.reduced.stop(step.stop):
                    self._deliver(name, doc)
        # A fault here must not end the thread: the frames behind this one would be lost.
        except Exception:  # noqa: BLE001
            _log.exception("a step of the reduction failed")
        if step.done:
            with self._changed:
                self._waiting_since.popleft()
                self._finished += 1
                self._changed.notify_all()

    def _result(self, step: Step, task: FrameTask, future: Future[Result] | None) -> Result:
        result: Result
        if future is None:
            result = self._reduce_here(step, task)
        else:
            try:
                result = future.result()
            except BrokenExecutor:
                _log.warning("a worker died; frame %s is reduced without it", task.index)
                result = self._reduce_here(step, task)
            except Exception as error:  # noqa: BLE001
                result = f"unexpected {type(error).__name__}: {error}"
        self._intake.release(task)
        return result

    def _deliver_frame(self, run: RunState, task: FrameTask, result: Result) -> None:
        if isinstance(result, str):
            _log.warning("frame %s of run %s failed: %s", task.index, run.raw.start_document["uid"], result)
        for name, doc in run.reduced.frame(task, result, self._reducers[self._name(task)]):
            self._deliver(name, doc)
        with self._changed:
            self._failed += isinstance(result, str)
            self._reduced += not isinstance(result, str)

    def _deliver(self, name: str, doc: dict[str, Any]) -> None:
        for sink in self.sinks:
            try:
                sink(name, doc)
            # One sink's fault must neither reach the others nor stop the reduction.
            except Exception:  # noqa: BLE001
                _log.warning("sink %r failed on a %s document", sink, name, exc_info=True)
                with self._changed:
                    self._sink_errors += 1

    def _reduce_here(self, step: Step, task: FrameTask) -> Result:
        return reduce_task(self._reducers[self._name(task)], task, self._deadline(step))

    def _name(self, task: FrameTask) -> str:
        return "" if self._detectors is None else task.detector

    def _deadline(self, step: Step) -> float:
        return step.accepted + self._patience


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
