"""A worker as the main process sees it: process, link, and what it has in hand."""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.context import SpawnProcess

from saxs_bluesky.workers._process import IGNORED_SIGNALS, serve
from saxs_bluesky.workers._task import Task
from saxs_bluesky.workers._wire import KNOWN_FUNCTIONS, Message, Reader, TaskHead, encode, send_some

_SECONDS_TO_END = 5.0


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process.

    ``in_hand`` holds the tasks it has been given and not done, a deque for each message: it has begun
    none of a message before the results of the one before are in the link. ``ready`` once it has said so;
    ``refusal`` is what it said instead; ``deaf`` when its end of the link is closed.
    """

    number: int
    process: SpawnProcess
    pid: int
    link: socket.socket
    reader: Reader
    ready: bool = False
    deaf: bool = False
    refusal: str = ""
    in_hand: deque[deque[Task]] = field(default_factory=deque)
    _known: dict[int, None] = field(default_factory=dict)
    _to_send: list[memoryview] = field(default_factory=list)

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    def give(self, tasks: Sequence[Task]) -> None:
        """Put tasks in its hands; `send` sends them."""
        self.in_hand.append(deque(tasks))
        heads = [self._head(task) for task in tasks]
        self._to_send += encode(heads, [task.arguments for task in tasks])

    def _head(self, task: Task) -> TaskHead:
        number = task.function.number
        if number in self._known:
            return number, None, task.deaths > 0
        self._known[number] = None
        if len(self._known) > KNOWN_FUNCTIONS:
            del self._known[next(iter(self._known))]
        return number, task.function.pickled, task.deaths > 0

    def send(self) -> int:
        """Send what the link takes; returns the events to wait for."""
        try:
            while self._to_send:
                send_some(self.link, self._to_send)
        except BlockingIOError:
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        except OSError:
            self._to_send.clear()  # it is dying; its sentinel will tell
        return selectors.EVENT_READ

    def received(self) -> Iterator[Message]:
        """The messages that are whole.

        Raises
        ------
        EOFError
            There will be no more.
        """
        with suppress(BlockingIOError):
            while True:
                yield self.reader.receive()

    def finished(self) -> Task:
        """Take the next task from its hands: results come in the order of the tasks."""
        batch = self.in_hand[0]
        task = batch.popleft()
        if not batch:
            self.in_hand.popleft()
        return task

    def end(self) -> str:
        """Close the link, see the process out, and tell what it ended of."""
        self.link.close()  # at its end of file a worker ends
        if not self.ready:
            self.process.kill()  # one that hangs in an import or in its initializer does not read
        self.process.join(_SECONDS_TO_END)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        cause = _cause(self.process.exitcode)
        with suppress(ValueError):  # another thread that looked after its children saw it end first
            self.process.close()
        return cause


def start_worker(number: int, initializer: Callable[[], object] | None) -> Worker:
    """Start a process.

    Raises
    ------
    OSError
        The system has no room for it.
    """
    here, there = socket.socketpair()
    with there:
        process = get_context("spawn").Process(
            name=f"saxs-bluesky worker {number}",
            target=serve,
            args=(there, os.getpid(), initializer),
            daemon=True,  # so without processes of its own, which would keep its link open
        )
        try:
            _start_without_interrupts(process)
        except BaseException:
            here.close()
            raise
    here.setblocking(False)
    return Worker(number, process, process.pid or 0, here, Reader(here))


def _start_without_interrupts(process: SpawnProcess) -> None:
    """Start it with the signals blocked that it will ignore: they may come before it can say so."""
    resource_tracker.ensure_running()  # by the way, this unblocks them
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _cause(exit_code: int | None) -> str:
    if exit_code is None:
        return "unknown cause"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    with suppress(ValueError):
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"
