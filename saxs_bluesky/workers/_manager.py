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

from saxs_bluesky.errors import WorkerDiedError
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


class Manager:
    """What a pool does; the pool is only what the user holds, so that it can be forgotten.

    Of the public methods all may be called from any thread.
    """

    def __init__(self, workers: int, initializer: Callable[[], object] | None, attempts: int, chunk: int) -> None:
        self.restarts = 0
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
            raise RuntimeError("wanted a pool that takes tasks, found one that was shut down")

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

    def _at_exit(self) -> None:
        if os.getpid() != self._process:  # a fork has neither the thread nor the workers
            return
        self.close()
        try:
            self.thread.join()
        finally:  # interrupted: what is not done is not wanted
            for worker in list(self._workers.values()):
                with suppress(ValueError):  # the thread has just seen it out
                    worker.process.kill()

    # The manager's thread

    def _run(self) -> None:
        try:
            while not self._is_done():
                for key, events in self._selector.select(self._seconds_to_start()):
                    key.data(events)
                self._start_those_due()
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
        for worker in self._workers.values():
            worker.end()
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
                if len(worker.in_hand) == depth and (tasks := self._take(self._room(worker))):
                    worker.give(tasks)
                    self._send(worker)
        with self._lock:
            self._has_room = any(self._room(worker) for worker in self._workers.values())

    def _room(self, worker: Worker) -> int:
        """How many tasks it may be given now."""
        if not worker.ready or worker.deaf or len(worker.in_hand) > 1:
            return 0
        share = min(self._chunk, max(1, len(self._pending) // (2 * self._count)))
        fitting = min(share, int(_SECONDS_OF_A_MESSAGE / max(self._mean_seconds, 1e-6)))
        if not worker.in_hand:
            return max(1, fitting)
        # Behind a suspect there is none, and as long as there are suspects workers must become free for them.
        return 0 if self._suspects or worker.in_hand[0][0].deaths else fitting

    def _take(self, count: int) -> list[Task]:
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
                    self._accept(worker, message)
            except EOFError:
                self._forget_link(worker)  # its sentinel will tell the rest

    def _forget_link(self, worker: Worker) -> None:
        worker.deaf = True
        self._selector.unregister(worker.link)

    def _accept(self, worker: Worker, message: Message) -> None:
        seconds, successes = message.head
        if worker.ready:
            self._fruitless_deaths = 0
            self._mean_seconds += _WEIGHT_OF_A_MESSAGE * (seconds / len(successes) - self._mean_seconds)
            for succeeded, payload in zip(successes, message.payloads, strict=True):
                worker.finished().settle(succeeded, payload)
        elif successes:
            worker.refusal = repr(loaded(message.payloads[0]))
        else:
            worker.ready = True
            self._failed_starts = 0

    # Workers

    def _start(self, number: int) -> None:
        worker = start_worker(number, self._initializer)
        self._workers[number] = worker
        self._selector.register(worker.link, selectors.EVENT_READ, partial(self._on_link, worker))
        self._selector.register(worker.process.sentinel, selectors.EVENT_READ, partial(self._on_death, worker))

    def _on_death(self, worker: Worker, _: int) -> None:
        self._on_link(worker, selectors.EVENT_READ)  # what it sent before
        if not worker.deaf:
            self._forget_link(worker)
        self._selector.unregister(worker.process.sentinel)
        del self._workers[worker.number]
        cause = worker.end()
        if worker.ready:
            again = self._take_back(worker, cause)
            _log.warning("%s died of %s; %d tasks are done again", worker, cause, again)
            self._replace(worker.number)
        else:
            self._on_failed_start(worker.number, f"{worker} did not start: {worker.refusal or cause}")

    def _take_back(self, worker: Worker, cause: str) -> int:
        """Put what it had in hand at the front again; returns how many tasks these are."""
        perhaps_begun = worker.in_hand.popleft() if worker.in_hand else deque[Task]()
        not_begun = [task for batch in worker.in_hand for task in batch]
        with self._lock:
            self._pending.extendleft(reversed(not_begun))
        for task in perhaps_begun:
            task.deaths += 1
        if len(perhaps_begun) == 1 and perhaps_begun[0].deaths >= self._attempts:
            culprit = perhaps_begun.pop()
            self._fruitless_deaths = 0
            text = f"wanted a task that a worker survives, found that {culprit.deaths} died of it, the last of {cause}"
            culprit.fail(WorkerDiedError(text))
            return len(not_begun)
        self._suspects.extendleft(reversed(perhaps_begun))
        return len(perhaps_begun) + len(not_begun)

    def _replace(self, number: int) -> None:
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
            self._replace(number)

    def _seconds_to_start(self) -> float | None:
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _start_those_due(self) -> None:
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
