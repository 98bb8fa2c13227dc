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
from multiprocessing import process as children
from multiprocessing.context import SpawnProcess

from saxs_bluesky.workers._process import IGNORED_SIGNALS, serve
from saxs_bluesky.workers._task import Task
from saxs_bluesky.workers._wire import KNOWN_FUNCTIONS, Message, Reader, TaskHead, encode, send_some

_SECONDS_TO_END = 5.0
# For a process to go after SIGKILL: one that waits for a file system that does not answer may never do.
_SECONDS_TO_DIE = 1.0
_USER_TICKS = 11  # place in /proc/PID/stat behind the state: proc_pid_stat(5)
_SECONDS_OF_COMPUTING = 0.05


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process.

    ``in_hand`` holds the tasks it has been given and not done, a deque for each message: it has begun
    none of a message before the results of the one before are in the link. ``ready`` once it has said so;
    ``refusal`` is what it said instead; ``deaf`` when its end of the link is closed. ``heard`` is when it was last
    heard of or given something to do, by the manager's watch; ``told`` whether its silence was told of since; ``hung``
    why it was killed, and ``killed`` when. ``learning`` while it has a function that is new to it: there may be much to
    load, to compile and to build; ``computed`` is how long it had computed when that was last asked, in seconds.
    """

    number: int
    process: SpawnProcess
    pid: int
    link: socket.socket
    reader: Reader
    ready: bool = False
    deaf: bool = False
    refusal: str = ""
    heard: float = 0.0
    told: bool = False
    hung: str = ""
    killed: float = 0.0
    learning: bool = False
    computed: float = 0.0
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
            return number, None, task.is_suspect
        self._known[number] = None
        self.learning = True
        if len(self._known) > KNOWN_FUNCTIONS:
            del self._known[next(iter(self._known))]
        return number, task.function.pickled, task.is_suspect

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

    @property
    def is_stopped(self) -> bool:
        """True if the process cannot run: it is stopped, or in an uninterruptible wait."""
        return self._status()[0] in (b"T", b"t", b"D")

    def has_computed(self) -> bool:
        """True if it has used processor time since the last call, rather than waited."""
        user, system = map(int, self._status()[_USER_TICKS : _USER_TICKS + 2])
        before, self.computed = self.computed, (user + system) / os.sysconf("SC_CLK_TCK")
        return self.computed - before >= _SECONDS_OF_COMPUTING

    def _status(self) -> list[bytes]:
        """Fields of ``/proc/PID/stat``, from the state of the process on."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:  # noqa: PTH123 - asked for in a signal's handler
                return file.read().rpartition(b")")[2].split()
        except OSError:
            return [b"0"] * (_USER_TICKS + 2)

    def kill(self) -> None:
        """Send SIGKILL, if there is still somebody to get it."""
        with suppress(ValueError):  # another thread has just seen it out
            self.process.kill()

    def end(self, seconds: float = _SECONDS_TO_END) -> str:
        """Close the link, see the process out, and tell what it ended of; in bounded time."""
        self.link.close()  # at its end of file a worker ends
        if not self.ready or self.hung:
            self.kill()  # one that hangs in an import or in its initializer does not read
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            self.process.join(_SECONDS_TO_DIE)
        if self.process.exitcode is None:
            self.forget()
            return "nothing yet: it was killed and does not end"
        cause = self.hung or _cause(self.process.exitcode)
        with suppress(ValueError):  # another thread that looked after its children saw it end first
            self.process.close()
        return cause

    def forget(self) -> None:
        """Close the link, and wait for the process no more: not at the interpreter's end either."""
        self.link.close()
        children._children.discard(self.process)  # type: ignore[attr-defined] # noqa: SLF001 - it joins without limit


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
    try:
        os.getcwd()  # noqa: PTH109 - nothing but the call is wanted
    except FileNotFoundError:
        os.chdir("/")  # nothing is relative to a folder that is gone, and no process starts in it
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
