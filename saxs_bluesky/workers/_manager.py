"""The thread that hands tasks to workers, takes their results, and replaces workers that died."""

from __future__ import annotations

import atexit
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from functools import partial
from math import inf
from weakref import WeakSet

from saxs_bluesky.errors import WorkerDiedError, WorkerHungError
from saxs_bluesky.workers._task import Task, loaded
from saxs_bluesky.workers._wire import Message
from saxs_bluesky.workers._worker import Worker, start_worker

_log = logging.getLogger(__name__)

# Tasks go out in messages that take about so long. One that takes longer goes alone, with none waiting behind
# it, since another worker may be free for that one sooner.
_SECONDS_OF_A_MESSAGE = 0.05
# How fast the mean time of a task follows that of the last message.
_WEIGHT_OF_A_MESSAGE = 0.2
# Workers that may die one after the other, with nothing done in between, before the next one has to wait.
_DEATHS_WITHOUT_WAITING = 3
_SECONDS_TO_WAIT = 0.1  # doubled with each
_MOST_DOUBLINGS = 6
# Starts that may fail, beyond the first of each worker.
_FAILED_STARTS = 4
# Between two checks of workers that have something to do, in seconds.
_POLL_SECONDS = 0.5
# For how long a worker may be silent before a warning, in seconds; or for half the limit where that is less.
_SECONDS_TO_WARN = 10.0
# For a worker to get ready: an interpreter starts, and loads numerical libraries from a busy file server.
_SECONDS_TO_START = 120.0
# After SIGKILL, until a worker is left to itself and others do its work.
_SECONDS_TO_DIE = 1.0
# How many workers a task may keep until it fails: one may be stopped by chance, two hang for the same reason.
_HANGS = 2
# Processes that hang and cannot be killed, for each worker, before no more are started: each keeps its memory.
_UNDEAD_FOR_A_WORKER = 4
# For all workers to end together, when the pool does.
_SECONDS_TO_END = 5.0
# Of a worker that has something to do, when the program ends at once: one that goes on ends by itself.
_SECONDS_OF_SILENCE = 1.0

_managers: WeakSet[Manager] = WeakSet()


def kill_hanging_workers() -> None:
    """Kill the workers of this process that seem to hang, which would be left behind; never waits.

    For a program that ends without looking back, also from a signal's handler. Other workers end by themselves.
    """
    for manager in list(_managers):
        manager.kill_hanging()


class Manager:
    """The work of a pool. The pool itself is only what the user holds, so that it can be collected as garbage.

    All public methods may be called from any thread.
    """

    def __init__(
        self, workers: int, initializer: Callable[[], object] | None, attempts: int, chunk: int, task_seconds: float
    ) -> None:
        self.restarts = 0
        self._task_seconds = task_seconds
        self._count = workers
        self._initializer = initializer
        self._attempts = attempts
        self._chunk = chunk

        self._lock = threading.Lock()
        self._pending: deque[Task] = deque()
        self._closing = False
        self._broken = ""
        self._has_room = self._woken = False

        self._suspects: deque[Task] = deque()  # of these one may have killed a worker: each goes alone
        self._workers: dict[int, Worker] = {}
        self._due: dict[int, float] = {}  # when to start which worker
        self._undead: list[Worker] = []  # killed, and still there
        self._watch = 0.0  # seconds that this thread was there to see what happens: not those when it was stopped too
        self._checked_at = time.monotonic()
        self._mean_seconds = _SECONDS_OF_A_MESSAGE
        self._fruitless_deaths = self._failed_starts = 0

        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._alarm, selectors.EVENT_READ, self._on_bell)
        try:
            for number in range(1, workers + 1):
                self._start(number)
        except BaseException:
            self._end()
            raise
        self._process = os.getpid()
        self.thread = threading.Thread(target=self._run, name="saxs-bluesky workers", daemon=True)
        _managers.add(self)
        # Before that of multiprocessing, which waits for workers that do not know that they are to end.
        atexit.register(self._at_exit)
        self.thread.start()

    # Any thread

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in list(self._workers.values()))

    def check_open(self) -> None:
        """Raise RuntimeError where no more tasks are taken."""
        if self._broken:
            raise BrokenExecutor(self._broken)
        if self._closing:
            raise RuntimeError("the pool was shut down: it takes no more tasks")

    def add(self, task: Task) -> None:
        """Accept a task, or raise RuntimeError."""
        with self._lock:
            self.check_open()
            self._pending.append(task)
            if self._has_room and not self._woken:
                self._ring()
                self._woken = True  # last: what interrupts this line only rings once too often

    def cancel(self) -> None:
        """Cancel the tasks that no worker has."""
        with self._lock:
            tasks = list(self._pending)
        for task in tasks:
            task.future.cancel()

    def close(self) -> None:
        """Take no more tasks, and end when all are done.

        Without the lock: a pool may be collected as garbage in any line, also in one that holds the lock.
        """
        self._closing = True
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # it rings already, or the thread has ended
            self._bell.send(b"!")

    def kill_hanging(self) -> None:
        """Kill workers that do nothing, or have been silent about what they do; from any line of any thread."""
        for worker in list(self._workers.values()):
            silent = bool(worker.in_hand) and self._watch - worker.heard >= _SECONDS_OF_SILENCE
            if silent or worker.is_stopped:
                worker.kill()

    def _at_exit(self) -> None:
        if os.getpid() != self._process:  # a fork has neither the thread nor the workers
            return
        self.close()
        try:
            self.thread.join()
        finally:  # interrupted: what is not done is not wanted
            for worker in list(self._workers.values()):
                worker.kill()

    # The manager's thread

    def _run(self) -> None:
        try:
            while not self._is_done():
                for key, events in self._selector.select(self._seconds_to_wait()):
                    key.data(events)
                self._start_due_workers()
                self._check_workers()
                self._hand_out()
        # A fault here must not leave anybody waiting for a result.
        except Exception as error:  # noqa: BLE001
            _log.exception("the thread of a pool of workers failed")
            self._break(f"the pool failed of {error!r}")
        finally:
            self._end()
            atexit.unregister(self._at_exit)

    def _is_done(self) -> bool:
        if self._broken:
            return True
        if not self._closing or self._suspects or any(worker.in_hand for worker in self._workers.values()):
            return False
        with self._lock:
            return not self._pending

    def _on_bell(self, _: int) -> None:
        self._alarm.recv(64)
        with self._lock:
            self._woken = False

    def _end(self) -> None:
        for worker in self._workers.values():
            worker.link.close()
        end = time.monotonic() + _SECONDS_TO_END
        for worker in self._workers.values():
            worker.end(max(0.0, end - time.monotonic()))
        self._workers.clear()
        self._selector.close()
        self._alarm.close()
        self._bell.close()

    # Tasks

    def _hand_out(self) -> None:
        with self._lock:
            self._has_room = True
        # Free workers first, then a message more for each, so that none waits for this thread in between.
        for depth in (0, 1):
            for worker in self._workers.values():
                if len(worker.in_hand) == depth and (tasks := self._next_tasks(self._room(worker))):
                    if not depth:
                        worker.heard, worker.told = self._watch, False
                    worker.give(tasks)
                    self._send(worker)
        with self._lock:
            self._has_room = any(self._room(worker) for worker in self._workers.values())

    def _room(self, worker: Worker) -> int:
        """How many tasks a worker may be given now."""
        if not worker.ready or worker.deaf or worker.hung or len(worker.in_hand) > 1:
            return 0
        share = min(self._chunk, max(1, len(self._pending) // (2 * self._count)))
        fitting = min(share, int(_SECONDS_OF_A_MESSAGE / max(self._mean_seconds, 1e-6)))
        if not worker.in_hand:
            return max(1, fitting)
        # Behind a suspect there is none, and as long as there are suspects workers must become free for them.
        return 0 if self._suspects or worker.in_hand[0][0].is_suspect else fitting

    def _next_tasks(self, count: int) -> list[Task]:
        if not count:
            return []
        if self._suspects:
            return [self._suspects.popleft()]
        tasks: list[Task] = []
        while self._pending and len(tasks) < count:
            task = self._pending.popleft()
            if task.is_wanted():
                tasks.append(task)
        return tasks

    def _send(self, worker: Worker) -> None:
        events = worker.send()
        key = self._selector.get_key(worker.link)
        if events != key.events:
            self._selector.modify(worker.link, events, key.data)

    def _on_link(self, worker: Worker, events: int) -> None:
        if worker.deaf:
            return  # its death was among the same events
        if events & selectors.EVENT_WRITE:
            self._send(worker)
        if events & selectors.EVENT_READ:
            try:
                for message in worker.received():
                    self._on_message(worker, message)
            except EOFError:
                self._forget_link(worker)  # its sentinel will tell the rest

    def _forget_link(self, worker: Worker) -> None:
        worker.deaf = True
        self._selector.unregister(worker.link)

    def _on_message(self, worker: Worker, message: Message) -> None:
        seconds, successes = message.head
        worker.heard, worker.told = self._watch, False
        if worker.ready:
            worker.learning = False
            self._fruitless_deaths = 0
            self._mean_seconds += _WEIGHT_OF_A_MESSAGE * (seconds / len(successes) - self._mean_seconds)
            for succeeded, payload in zip(successes, message.payloads, strict=True):
                worker.finished().settle(succeeded, payload)
        elif successes:
            worker.refusal = repr(loaded(message.payloads[0]))
        else:
            worker.ready = True
            worker.has_computed()
            self._failed_starts = 0

    # Workers

    def _start(self, number: int) -> None:
        worker = start_worker(number, self._initializer)
        worker.heard = self._watch
        self._workers[number] = worker
        self._selector.register(worker.link, selectors.EVENT_READ, partial(self._on_link, worker))
        self._selector.register(worker.process.sentinel, selectors.EVENT_READ, partial(self._on_death, worker))

    def _on_death(self, worker: Worker, _: int) -> None:
        self._on_link(worker, selectors.EVENT_READ)  # what it sent before
        if not worker.deaf:
            self._forget_link(worker)
        self._selector.unregister(worker.process.sentinel)
        del self._workers[worker.number]
        self._on_lost(worker, worker.end())

    def _on_lost(self, worker: Worker, cause: str) -> None:
        if not worker.ready:
            self._on_failed_start(worker.number, f"{worker} did not start: {worker.refusal or cause}")
            return
        again = self._take_back(worker, cause)
        if not worker.hung:  # that was told when it was killed
            _log.warning("%s died of %s; %d tasks are done again", worker, cause, again)
        self._schedule_replacement(worker.number)

    def _take_back(self, worker: Worker, cause: str) -> int:
        """Put the tasks that a worker had to the front of the queue; returns how many these are."""
        perhaps_begun = worker.in_hand.popleft() if worker.in_hand else deque[Task]()
        not_begun = [task for batch in worker.in_hand for task in batch]
        with self._lock:
            self._pending.extendleft(reversed(not_begun))
        for task in perhaps_begun:
            task.deaths += not worker.hung
            task.hangs += bool(worker.hung)
        if len(perhaps_begun) == 1 and (error := self._given_up(perhaps_begun[0], cause)) is not None:
            self._fruitless_deaths = 0
            perhaps_begun.pop().fail(error)
            return len(not_begun)
        self._suspects.extendleft(reversed(perhaps_begun))
        return len(perhaps_begun) + len(not_begun)

    def _given_up(self, task: Task, cause: str) -> Exception | None:
        """Error of a task that is not tried again; None if it is."""
        if task.hangs >= min(_HANGS, self._attempts):
            return WorkerHungError(
                f"wanted a task that is done in {self._task_seconds:g} s, found {task.hangs} workers that hung in it: "
                "is its file system away?"
            )
        if task.deaths + task.hangs >= self._attempts:
            text = f"wanted a task that a worker survives, found that {task.deaths} died of it, the last of {cause}"
            return WorkerDiedError(text)
        return None

    # Workers that hang

    def _seconds_to_wait(self) -> float | None:
        seconds = self._seconds_to_start()
        if any(worker.in_hand or not worker.ready for worker in self._workers.values()) or self._undead:
            return _POLL_SECONDS if seconds is None else min(seconds, _POLL_SECONDS)
        return seconds

    def _check_workers(self) -> None:
        """Kill workers that have been silent for too long, and abandon those that a kill does not end."""
        now = time.monotonic()
        if now - self._checked_at < _POLL_SECONDS / 2:
            return
        # A program that was stopped, with its workers or without them, has not seen what these did.
        self._watch += min(now - self._checked_at, 2 * _POLL_SECONDS)
        self._checked_at = now
        for worker in list(self._workers.values()):
            if worker.hung:
                if self._watch - worker.killed >= _SECONDS_TO_DIE:
                    self._abandon(worker)
            elif not worker.ready or worker.in_hand:
                self._check_worker(worker, self._watch - worker.heard)
        if self._undead:
            self._undead = [worker for worker in self._undead if not _is_gone(worker)]
        if self._closing and self._has_too_many_undead:
            self._break(f"{len(self._undead)} workers hang and cannot be killed")

    def _check_worker(self, worker: Worker, silent: float) -> None:
        limit = self._task_seconds if worker.ready else max(_SECONDS_TO_START, self._task_seconds)
        if silent >= min(_SECONDS_TO_WARN, limit / 2) and worker.learning and worker.has_computed():
            worker.heard = self._watch  # it builds what it needs, and does not wait
            return
        if silent >= limit:
            self._on_link(worker, selectors.EVENT_READ)  # what has just come
            if worker.deaf or self._watch == worker.heard:
                return
            worker.hung, worker.killed = f"hanging for {silent:.0f} s", self._watch
            if worker.ready:
                task = worker.in_hand[0][0]
                last = task.hangs + 1 >= min(_HANGS, self._attempts) and len(worker.in_hand[0]) == 1
                _log.warning(
                    "%s hangs: it has been busy with %s for %.0f s; it is killed, and %s",
                    worker,
                    task.name,
                    silent,
                    "the task has failed" if last else "others do its work",
                )
            worker.kill()
        elif not worker.told and silent >= min(_SECONDS_TO_WARN, limit / 2):
            worker.told = True
            what = worker.in_hand[0][0].name if worker.ready else "its own start"
            until = f"; it is given up after {limit:.0f} s" if limit < inf else ""
            _log.warning("%s has been busy with %s for %.0f s%s", worker, what, silent, until)

    @property
    def _has_too_many_undead(self) -> bool:
        """True if so many processes hang that no more are started."""
        return len(self._undead) >= _UNDEAD_FOR_A_WORKER * self._count

    def _abandon(self, worker: Worker) -> None:
        """Forget a worker that was killed and does not end: it waits for a file system, say."""
        if not worker.deaf:
            self._forget_link(worker)
        self._selector.unregister(worker.process.sentinel)
        del self._workers[worker.number]
        worker.forget()
        self._undead.append(worker)
        _log.warning("%s was killed and does not end: it waits in the system, and is left to itself", worker)
        if self._has_too_many_undead:
            _log.warning(
                "%d workers hang and cannot be killed: no more are started before one of them goes", len(self._undead)
            )
        self._on_lost(worker, worker.hung)

    def _schedule_replacement(self, number: int) -> None:
        self._fruitless_deaths += 1
        excess = min(self._fruitless_deaths - _DEATHS_WITHOUT_WAITING, _MOST_DOUBLINGS)
        self._due[number] = time.monotonic() + (_SECONDS_TO_WAIT * 2**excess if excess > 0 else 0)

    def _on_failed_start(self, number: int, text: str) -> None:
        _log.warning("%s", text)
        self._failed_starts += 1
        alive = any(worker.ready for worker in self._workers.values())
        if self._failed_starts >= self._count + _FAILED_STARTS and not alive:
            self._break(f"wanted workers that start, found {self._failed_starts} failures in a row, the last: {text}")
        else:
            self._schedule_replacement(number)

    def _seconds_to_start(self) -> float | None:
        if self._has_too_many_undead:
            return None
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _start_due_workers(self) -> None:
        if self._has_too_many_undead:
            return
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self.restarts += 1
            try:
                self._start(number)
            except Exception as error:  # noqa: BLE001 - no processes, no descriptors, no current directory, ...
                self._on_failed_start(number, f"worker {number} did not start: {error!r}")

    def _break(self, text: str) -> None:
        """Give up: fail all tasks, and take no more."""
        with self._lock:
            self._broken = text
            tasks = [*self._suspects, *self._pending]
            self._pending.clear()
        tasks += [task for worker in self._workers.values() for batch in worker.in_hand for task in batch]
        for task in tasks:
            task.fail(BrokenExecutor(text))


def _is_gone(worker: Worker) -> bool:
    with suppress(ValueError):
        if worker.process.exitcode is None:
            return False
        worker.process.close()
    return True
