"""What runs in a worker process."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar

from saxs_bluesky.workers._wire import KNOWN_FUNCTIONS, PROTOCOL, Message, Reader, encode, send_some

# Those that a terminal or a service manager sends to all processes: the main process decides what they mean.
IGNORED_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})

_SECONDS_TO_KEEP_RESULTS = 0.02
_NO_ARGUMENTS = pickle.dumps(((), {}))
_retry: ContextVar[bool] = ContextVar("retry", default=False)


def is_retry() -> bool:
    """True if the task that asks may have been begun before, by a worker that died.

    A task that must clean up what such a predecessor left asks this. Outside of a worker: False.

    Returns
    -------
    True if it may have been begun before.
    """
    return _retry.get()


def serve(link: socket.socket, main_process: int, initializer: Callable[[], object] | None) -> None:
    """Run tasks until the main process closes the link or has ended.

    Parameters
    ----------
    link
        A blocking socket of which the other end is the main process's alone.
    main_process
        Its process id.
    initializer
        Called first.
    """
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)  # blocked until now: see start_worker
    results = _Results(link)
    tasks = _Tasks(results, main_process)
    reader = Reader(link)
    with suppress(EOFError, OSError):  # the main process is gone, and nobody wants the results
        if initializer is not None:
            succeeded, payload = _outcome(initializer, _NO_ARGUMENTS)
            if not succeeded:
                results.add(succeeded, payload)
                results.send()
                return
        results.say_ready()
        threading.Thread(target=results.send_in_time, daemon=True).start()
        while tasks.run(reader.receive()):
            pass


class _Tasks:
    """Runs batches of tasks."""

    def __init__(self, results: _Results, main_process: int) -> None:
        self._results = results
        self._main_process = main_process
        self._functions: dict[int, Callable[..., object]] = {}
        self._learned = False

    def run(self, batch: Message) -> bool:
        """Run the tasks of a message and send their results; False if the link is closed."""
        for (number, pickled, retry), arguments in zip(batch.head, batch.payloads, strict=True):
            if os.getppid() != self._main_process:
                return False
            if pickled is not None:
                self._learn(number, pickled)
            _retry.set(retry)
            begin = time.perf_counter()
            succeeded, payload = _outcome(self._functions[number], arguments)
            self._results.add(succeeded, payload, time.perf_counter() - begin)
        # All of them, before the next batch begins: so the main process knows which batch a worker died of.
        self._results.send()
        if self._learned:
            # What the first tasks of a function have loaded, modules above all, stays: searching it for garbage again
            # and again would take a sixth of the time.
            gc.freeze()
            self._learned = False
        return True

    def _learn(self, number: int, pickled: bytes) -> None:
        self._functions[number] = _function(pickled)
        self._learned = True
        if len(self._functions) > KNOWN_FUNCTIONS:
            del self._functions[next(iter(self._functions))]


class _Results:
    """Results on their way to the main process."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._seconds = 0.0
        self._succeeded: list[bool] = []
        self._payloads: list[bytes] = []

    def add(self, succeeded: bool, payload: bytes, seconds: float = 0.0) -> None:
        with self._lock:
            self._seconds += seconds
            self._succeeded.append(succeeded)
            self._payloads.append(payload)
        self._some.set()

    def say_ready(self) -> None:
        """Send the message that has no results."""
        self._send(0.0, [], [])

    def send(self) -> None:
        """Send what there is; nothing, where it was sent in time."""
        with self._lock:
            if self._payloads:
                self._send(self._seconds, self._succeeded, self._payloads)
            self._seconds, self._succeeded, self._payloads = 0.0, [], []

    def _send(self, seconds: float, succeeded: list[bool], payloads: list[bytes]) -> None:
        pieces = encode((seconds, succeeded), payloads)
        while pieces:
            send_some(self._link, pieces)

    def send_in_time(self) -> None:
        """Send results that wait for a slow task behind them; this is the work of a thread."""
        with suppress(OSError):
            while self._some.wait():
                time.sleep(_SECONDS_TO_KEEP_RESULTS)
                self._some.clear()
                self.send()


def _function(pickled: bytes) -> Callable[..., object]:
    """The function, or one that raises what keeps it from being one."""
    try:
        function: Callable[..., object] = pickle.loads(pickled)  # noqa: S301 - from the main process
    except Exception as error:  # noqa: BLE001 - a fault of the user's code costs its tasks and not the worker
        text = f"a worker cannot unpickle the function: {type(error).__name__}: {error}"

        def function(*_: object, **__: object) -> object:
            raise pickle.UnpicklingError(text)

    return function


def _outcome(function: Callable[..., object], arguments: bytes | memoryview) -> tuple[bool, bytes]:
    """Call the function: True and its pickled result, or False and its pickled exception."""
    try:
        args, kwargs = pickle.loads(arguments)  # noqa: S301 - from the main process
        result = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome, SystemExit too
        return False, _pickled_exception(error)
    try:
        return True, pickle.dumps(result, PROTOCOL)
    except Exception as error:  # noqa: BLE001 - the user's classes may raise anything here
        text = f"wanted a result that can be pickled, found {type(result).__name__}: {error}"
        return False, _pickled_exception(pickle.PicklingError(text))


def _pickled_exception(error: BaseException) -> bytes:
    """The exception with its traceback as a note; its text where it cannot travel as it is."""
    error.add_note(f"In worker process {os.getpid()}:\n{''.join(traceback.format_exception(error))}")
    try:
        pickled = pickle.dumps(error, PROTOCOL)
        if isinstance(pickle.loads(pickled), BaseException):  # noqa: S301 - our own
            return pickled
    except Exception:  # noqa: BLE001, S110 - many exceptions with arguments of their own cannot be pickled
        pass
    return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"), PROTOCOL)
