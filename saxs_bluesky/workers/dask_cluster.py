"""A Dask cluster as an executor: calls that the cluster loses are done by this computer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, ParamSpec, TypeVar

from saxs_bluesky.errors import SaxsError

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_POLL_SECONDS = 0.5  # between two checks of the jobs that the cluster has
_SECONDS_BETWEEN_QUESTIONS = 2.0  # to the scheduler, while the cluster has jobs or is away
_LONGEST_PAUSE = 30.0  # seconds between tries to reach a scheduler that is away


@dataclass(eq=False)
class _Job:
    """A call: the caller's future, and what is known of it in the cluster."""

    outer: Future[Any]
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    since: float = field(default_factory=time.monotonic)
    inner: Any = None  # the cluster's future; None: it is done here

    @property
    def name(self) -> str:
        """What messages call it."""
        describe = getattr(self.fn, "describe", None)
        return str(describe(*self.args, **self.kwargs) if describe else getattr(self.fn, "__name__", self.fn))


class DaskExecutor(Executor):
    """Runs calls on a Dask cluster, and on other workers while the cluster is away.

    The executor ``local`` does the calls that the cluster has when its scheduler dies or does not answer, those that a
    worker of the cluster keeps for too long, and all that come until the cluster answers again and has workers. A call
    may therefore begin twice; its first result counts. Each change is logged in one warning.

    Parameters
    ----------
    address
        Of the scheduler.
    local
        Makes the other executor, when it is first needed.
    task_seconds
        For how long the cluster may keep a call. 0: without limit.
    answer_seconds
        For the scheduler to answer.
    silent_seconds
        Without a sign of life after which a worker of the cluster gets nothing more.

    Raises
    ------
    SaxsError
        Dask is not installed, or the scheduler does not answer at the beginning.
    """

    def __init__(
        self,
        address: str,
        local: Callable[[], Executor],
        *,
        task_seconds: float = 60.0,
        answer_seconds: float = 10.0,
        silent_seconds: float = 15.0,
    ) -> None:
        self._address = address
        self._make_local = local
        self._limit = task_seconds or inf
        self._answer_seconds = answer_seconds
        self._silent_seconds = silent_seconds
        self._local: Executor | None = None
        self._lock = threading.Lock()
        self._jobs: dict[_Job, None] = {}  # those that the cluster has, in their order
        self._client: Any = None
        self._workers: list[str] | None = None  # those that may be given something; None: all
        self._closing = threading.Event()
        self._pause = 0.0  # before the next try; it grows until the cluster has done something
        self._seen: dict[str, tuple[float, float]] = {}
        self._asked = 0.0
        self._next_question = 0.0
        try:
            self._client = self._connect()
        except (OSError, ValueError) as error:
            raise SaxsError(f"--dask {address}: wanted a Dask scheduler, found {str(error) or 'no answer'}") from error
        #: How many threads the cluster had at the beginning.
        self.threads = sum(self._client.nthreads().values())
        if not self.threads:
            self._work_locally_from_now("it has no workers")
        self._thread = threading.Thread(target=self._watch, name="saxs-bluesky-dask", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit ``fn(*args, **kwargs)`` to the cluster, or to this computer while the cluster is away.

        Raises
        ------
        RuntimeError
            The executor was shut down.
        """
        if self._closing.is_set():
            raise RuntimeError("the executor was shut down: it takes no more tasks")
        job = _Job(Future(), fn, args, kwargs)
        job.outer.set_running_or_notify_cancel()
        client = self._client
        if client is None:
            self._run_locally(job)
            return job.outer
        try:
            job.inner = client.submit(fn, *args, pure=False, workers=self._workers, **kwargs)
        except Exception as error:  # noqa: BLE001 - a client that is closing raises what it will
            self._on_lost(client, str(error))
            self._run_locally(job)
            return job.outer
        with self._lock:
            self._jobs[job] = None
        if self._client is not client:
            self._take_over([job])  # it was lost meanwhile, perhaps before this one was in its list
        else:
            client.loop.add_callback(self._await_result, job)
        return job.outer

    async def _await_result(self, job: _Job) -> None:
        """Wait for the cluster's result; in its client's loop."""
        inner = job.inner
        try:
            result = await inner._result(raiseit=False)  # noqa: SLF001 - as Dask's own executor does
        except Exception as error:  # noqa: BLE001 - the connection broke while the result was fetched
            self._on_trouble(job, error)
            return
        if inner.status == "finished":
            self._pause = 0.0
            if self._claim(job):
                _settle(job.outer, result)
        elif inner.status == "error" and not _is_fault_of_cluster(result[1]):
            if self._claim(job):
                with suppress(InvalidStateError):
                    job.outer.set_exception(result[1])
        else:
            self._on_trouble(job, result[1] if isinstance(result, tuple) else CancelledError())

    def _claim(self, job: _Job) -> bool:
        """Take a job out of the cluster's; False if another thread has done that already."""
        with self._lock:
            if job not in self._jobs:
                return False
            del self._jobs[job]
        return True

    def _on_trouble(self, job: _Job, error: BaseException) -> None:
        if not isinstance(error, CancelledError) and job in self._jobs:
            _log.warning("--dask %s: %s was lost by the cluster (%s), and is done here", self._address, job.name, error)
        self._take_over([job])

    def _take_over(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if self._claim(job):
                self._run_locally(job)

    def _run_locally(self, job: _Job) -> None:
        with self._lock:
            if self._local is None:
                self._local = self._make_local()
            local = self._local
        try:
            done = local.submit(job.fn, *job.args, **job.kwargs)
        except RuntimeError as error:  # it is broken, or shut down
            with suppress(InvalidStateError):
                job.outer.set_exception(error)
            return
        done.add_done_callback(lambda done: _pass_on(done, job.outer))

    # The thread that watches the cluster

    def _watch(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            try:
                self._check_jobs()
            except Exception as error:  # noqa: BLE001 - or nobody would watch any more
                self._on_lost(self._client, f"{type(error).__name__}: {error}")

    def _check_jobs(self) -> None:
        now = time.monotonic()
        client = self._client
        if client is None:
            if now >= self._next_question:
                self._reconnect()
            return
        if client.status != "running":
            self._on_lost(client, "the connection is lost")
            return
        with self._lock:
            late = [job for job in self._jobs if now - job.since >= self._limit]
            busy = bool(self._jobs)
        if late:
            self._take_back(client, late)
        if busy and now >= self._next_question:
            self._next_question = now + _SECONDS_BETWEEN_QUESTIONS
            self._ask_scheduler(client)

    def _ask_scheduler(self, client: Any) -> None:
        """Ask the scheduler who works, which is a sign of life too."""
        try:
            workers = client.sync(client.scheduler.identity, callback_timeout=self._answer_seconds)["workers"]
        except Exception as error:  # noqa: BLE001 - a scheduler is away in many ways
            self._on_lost(
                client, f"no answer in {self._answer_seconds:g} s" if isinstance(error, TimeoutError) else str(error)
            )
            return
        if not workers:
            self._on_lost(client, "it has no workers")
            return
        silent = self._silent_workers({name: worker["last_seen"] for name, worker in workers.items()})
        if len(silent) == len(workers):
            self._on_lost(client, "none of its workers gives a sign of life")
        else:
            self._workers = [name for name in workers if name not in silent] if silent else None

    def _silent_workers(self, last_seen: dict[str, float]) -> set[str]:
        """Workers whose last sign of life, by the scheduler's clock, has not changed for some time by this one."""
        now = time.monotonic()
        if now - self._asked > 2 * _SECONDS_BETWEEN_QUESTIONS:
            self._seen.clear()  # nobody has looked
        self._asked = now
        before = self._seen
        self._seen = {
            name: before[name] if name in before and before[name][0] == seen else (seen, now)
            for name, seen in last_seen.items()
        }
        return {name for name, (_, when) in self._seen.items() if now - when >= self._silent_seconds}

    def _take_back(self, client: Any, late: list[_Job]) -> None:
        for job in late:
            _log.warning(
                "--dask %s: %s was in the cluster's hands for %.0f s; it is taken back, and done here",
                self._address,
                job.name,
                self._limit,
            )
        _in_background(partial(client.cancel, [job.inner for job in late], force=True))
        self._take_over(late)

    def _on_lost(self, client: Any, reason: str) -> None:
        """Drop a client whose cluster is away, and do its jobs here."""
        with self._lock:
            if client is None or self._client is not client:
                return
            self._client = None
            jobs = list(self._jobs)
        self._work_locally_from_now(reason)
        self._take_over(jobs)
        _in_background(partial(client.close, timeout=2))

    def _work_locally_from_now(self, reason: str) -> None:
        _log.warning("--dask %s: the cluster is away (%s); this computer works until it is back", self._address, reason)
        client, self._client = self._client, None
        if client is not None:
            _in_background(partial(client.close, timeout=2))
        self._pause = min(2 * self._pause or _SECONDS_BETWEEN_QUESTIONS, _LONGEST_PAUSE)
        self._next_question = time.monotonic() + self._pause

    def _reconnect(self) -> None:
        try:
            client = self._connect()
        except Exception:  # noqa: BLE001 - it is still away, in whatever way
            client = None
        if client is not None and not client.nthreads():
            _in_background(partial(client.close, timeout=2))
            client = None
        if client is None:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._next_question = time.monotonic() + self._pause
            return
        self._workers, self._next_question = None, 0.0
        self._seen.clear()
        self._client = client
        _log.warning("--dask %s: the cluster is back", self._address)

    def _connect(self) -> Any:
        try:
            import distributed
        except ImportError as error:
            raise SaxsError("--dask: Dask is not installed: pip install 'saxs-bluesky[distributed]'") from error
        connect: Any = distributed.Client  # it has no types
        return connect(self._address, timeout=self._answer_seconds, set_as_default=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; those in hand are done, unless they are to be cancelled."""
        self._closing.set()
        with self._lock:
            jobs, client, self._client = list(self._jobs), self._client, self._client if wait else None
        if cancel_futures:
            for job in jobs:
                if self._claim(job):
                    with suppress(InvalidStateError):
                        job.outer.set_exception(CancelledError())
        elif wait:
            for job in jobs:
                with suppress(Exception):
                    job.outer.exception()
        if client is not None:
            _in_background(partial(client.close, timeout=2))
        if self._local is not None:
            self._local.shutdown(wait=wait, cancel_futures=cancel_futures)


def _is_fault_of_cluster(error: BaseException) -> bool:
    """True for an error of the cluster and not of the call: a worker that died, a connection that broke."""
    return isinstance(error, CancelledError) or type(error).__module__.partition(".")[0] == "distributed"


def _settle(outer: Future[Any], result: Any) -> None:
    with suppress(InvalidStateError):  # somebody else was first
        outer.set_result(result)


def _pass_on(done: Future[Any], outer: Future[Any]) -> None:
    try:
        result = done.result()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
        with suppress(InvalidStateError):
            outer.set_exception(error)
    else:
        _settle(outer, result)


def _in_background(ask: Callable[[], object]) -> None:
    """Ask a client for something without waiting: it may wait for a scheduler that does not answer."""

    def do() -> None:
        with suppress(Exception):
            ask()

    threading.Thread(target=do, name="saxs-bluesky-dask-aside", daemon=True).start()
