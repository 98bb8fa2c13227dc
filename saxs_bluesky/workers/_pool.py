"""An executor whose workers may be killed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from math import inf
from threading import Lock, current_thread
from typing import ParamSpec, TypeVar

from saxs_bluesky.workers._manager import Manager
from saxs_bluesky.workers._task import Function, Task
from saxs_bluesky.workers._wire import KNOWN_FUNCTIONS, PROTOCOL

P = ParamSpec("P")
T = TypeVar("T")


class WorkerPool(Executor):
    """Worker processes of which any may be killed at any moment, at the cost of time only.

    Each worker has a link of its own and ends when the link does. The tasks of a worker that is killed, or hangs for
    too long, are done again by another. Why not ``ProcessPoolExecutor``:
    ``docs/explanations/decisions/0001-worker-pool.md``.

    A task may be begun more than once, and finished more than once with its first result lost: it must not mind, or
    ask `is_retry`. When a worker dies, the tasks that it may have begun are done again one by one, so that a task that
    kills workers fails alone.

    Functions, arguments and results are pickled. A function is sent to a worker once, as it is when it is first
    submitted, for all functions that equal it. Workers are started by ``spawn``: each imports the main module anew,
    so a script must start its work below ``if __name__ == "__main__"``. They ignore SIGINT and SIGTERM, and
    nothing of them is left when the main process ends in whatever way, once the task in hand is done. POSIX only.

    Parameters
    ----------
    workers
        How many processes.
    initializer
        Called in each worker first.
    attempts
        How many workers a task may cost before it fails.
    chunk
        How many tasks go to a worker in one message at most; fewer when tasks are few or slow.
    task_seconds
        For how long a worker may be busy with one task. Then it is killed, and the task given to another; when that
        hangs too, it has failed. A warning names the task before: in the words of the function's method ``describe``,
        which is called with the arguments, if it has one. 0 or inf: no limit, and the warning only.

    Raises
    ------
    ValueError
        A number below 1, or a time below 0.
    """

    def __init__(
        self,
        workers: int,
        *,
        initializer: Callable[[], object] | None = None,
        attempts: int = 3,
        chunk: int = 8,
        task_seconds: float = inf,
    ) -> None:
        for name, value in {"workers": workers, "attempts": attempts, "chunk": chunk}.items():
            if value < 1:
                raise ValueError(f"wanted {name} of at least 1, found {value}")
        if not task_seconds >= 0:
            raise ValueError(f"wanted task_seconds of at least 0, found {task_seconds}")
        self._functions = _Functions()
        self._manager = Manager(workers, initializer, attempts, chunk, task_seconds or inf)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that there are now."""
        return self._manager.pids

    @property
    def restarts(self) -> int:
        """How many workers were started in place of others that died."""
        return self._manager.restarts

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit ``fn(*args, **kwargs)`` to a worker; never waits.

        Returns
        -------
        A future with what it returns or raises; `WorkerDiedError` where it killed its workers,
        `WorkerHungError` where they hung in it, `pickle.PicklingError` where something cannot be sent.

        Raises
        ------
        RuntimeError
            The pool was shut down; as BrokenExecutor: its workers do not start.
        """
        future: Future[T] = Future()
        self._manager.check_open()
        try:
            function = self._functions.numbered(fn)
            arguments = _pickled((args, kwargs), "arguments")
        except pickle.PicklingError as error:
            future.set_exception(error)
        else:
            self._manager.add(Task(future, function, arguments))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, and end the workers when those accepted are done.

        Parameters
        ----------
        wait
            Until then.
        cancel_futures
            Leave undone what no worker has in hand yet.
        """
        self._manager.close()
        if cancel_futures:
            self._manager.cancel()
        if wait and current_thread() is not self._manager.thread:
            self._manager.thread.join()

    def __del__(self) -> None:
        if hasattr(self, "_manager"):
            self._manager.close()


class _Functions:
    """Functions by their numbers, the oldest forgotten first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = count()
        # The object is kept, since it is its address that tells an unhashable one from others.
        self._known: dict[object, tuple[object, Function]] = {}

    def numbered(self, fn: Callable[..., object]) -> Function:
        """The function, pickled when it is seen first.

        Raises
        ------
        PicklingError
            It cannot be pickled.
        """
        key = _key(fn)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        function = Function(next(self._numbers), _pickled(fn, "a function"))
        with self._lock:
            self._known[key] = (fn, function)
            if len(self._known) > KNOWN_FUNCTIONS:
                del self._known[next(iter(self._known))]
        return function


def _key(fn: object) -> object:
    try:
        hash(fn)
    except TypeError:
        return type(fn), id(fn)
    return type(fn), fn


def _pickled(what: object, name: str) -> bytes:
    try:
        return pickle.dumps(what, PROTOCOL)
    except Exception as error:
        text = f"wanted {name} that can be pickled, found {type(error).__name__}: {error}"
        raise pickle.PicklingError(text) from error
