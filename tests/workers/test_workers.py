"""Workers that are killed at every moment there is, and what becomes of their tasks."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing.resource_tracker
import os
import pickle
import random
import signal
import socket
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.errors import SaxsError, WorkerDiedError, WorkerHungError
from saxs_bluesky.workers import WorkerPool, is_retry, kill_hanging_workers
from saxs_bluesky.workers._process import _Results
from saxs_bluesky.workers._wire import Reader
from saxs_bluesky.workers._worker import start_worker
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """Workers get the main process's search path, and find the tasks of this file on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        yield


@pytest.fixture
def pools() -> Iterator[Callable[..., WorkerPool]]:
    made: list[WorkerPool] = []

    def make(workers: int = 2, **keywords: Any) -> WorkerPool:
        made.append(WorkerPool(workers, **keywords))
        return made[-1]

    yield make
    for pool in made:
        pids = pool.pids
        pool.shutdown()
        assert not any(map(is_alive, pids))


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerPool]:
    """A pool for tests that leave it as it is."""
    with WorkerPool(2) as pool:
        yield pool
        assert pool.restarts == 0


Make = Callable[..., WorkerPool]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def has_restarted(pool: WorkerPool, times: int) -> bool:
    return pool.restarts == times and all(map(is_alive, pool.pids))


# Tasks


def square(number: int) -> int:
    return number * number


def nap(seconds: float, value: Any = None) -> Any:
    time.sleep(seconds)
    return value


def own_pid() -> int:
    return os.getpid()


def until_exists(path: Path, started: Path | None = None) -> tuple[int, bool]:
    if started is not None:
        with started.open("a") as file:
            file.write(f"{os.getpid()}\n")
    while not path.exists():
        time.sleep(0.01)
    return os.getpid(), is_retry()


def kill_self(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_self_once(state: Path) -> bool:
    if not state.exists():
        state.touch()
        kill_self()
    return is_retry()


def sockets() -> int:
    """How many sockets a process has, beside standard streams."""
    folder = Path("/proc/self/fd")
    names = [name for name in os.listdir(folder) if int(name) > 2 and (folder / name).is_symlink()]  # noqa: PTH208
    return sum(os.readlink(folder / name).startswith("socket:") for name in names)  # noqa: PTH115


def noted(number: int, folder: Path) -> int:
    """Takes a while, and leaves a trace for each time it was begun."""
    with (folder / str(number)).open("a") as file:
        file.write("x")
    time.sleep(0.002)
    return number


def fail(error: BaseException) -> None:
    raise error


class OddError(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one} {two}")


def fail_oddly() -> None:
    raise OddError(1, 2)


class OnlyHere:
    """Unpickles in the process where it was made and nowhere else."""

    def __init__(self, home: int | None = None) -> None:
        self.home = home or os.getpid()
        if self.home != os.getpid():
            raise ValueError("not at home")

    def __reduce__(self) -> Any:
        return OnlyHere, (self.home,)

    def __call__(self) -> None:
        pass


def make_unpicklable() -> Any:
    return lambda: None


def make_unreadable() -> Any:
    return OnlyHere()


class Counted:
    """A function that counts how often it is pickled, of the same hash and value as all others of its number."""

    pickled = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __reduce__(self) -> Any:
        Counted.pickled += 1
        return Counted, (self.number,)

    def __call__(self, other: int) -> int:
        return self.number * other


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self) -> int:
        return self.number


def refuse_to_start() -> None:
    raise OSError("no such detector")


# Results


def test_every_task_gives_its_result(shared: WorkerPool) -> None:
    futures = [shared.submit(square, number) for number in range(2000)]
    assert [future.result(PATIENCE) for future in futures] == [number * number for number in range(2000)]


def test_map_keeps_the_order(shared: WorkerPool) -> None:
    assert list(shared.map(pow, range(100), range(100), timeout=PATIENCE)) == [n**n for n in range(100)]


def test_tasks_of_several_threads(shared: WorkerPool) -> None:
    found: dict[int, list[int]] = {}

    def submit(first: int) -> None:
        futures = [shared.submit(square, number) for number in range(first, first + 300)]
        found[first] = [future.result(PATIENCE) for future in futures]

    threads = [threading.Thread(target=submit, args=(1000 * position,)) for position in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f: [n * n for n in range(f, f + 300)] for f in range(0, 5000, 1000)}


def test_nothing_waits_behind_a_slow_task_while_a_worker_is_free(shared: WorkerPool, tmp_path: Path) -> None:
    list(shared.map(nap, [0.06] * 30, timeout=PATIENCE))  # so it is known that tasks take long
    slow = shared.submit(until_exists, tmp_path / "gate")
    assert list(shared.map(nap, [0.06] * 4, range(4), timeout=PATIENCE)) == [0, 1, 2, 3]
    assert not slow.done()
    (tmp_path / "gate").touch()
    slow.result(PATIENCE)


def test_finished_task_does_not_wait_for_the_one_behind_it(shared: WorkerPool, tmp_path: Path) -> None:
    list(shared.map(square, range(2000), timeout=PATIENCE))  # so messages have several tasks
    gate = tmp_path / "gate"
    futures: list[Future[Any]] = [shared.submit(square, 2) for _ in range(200)]
    futures += [shared.submit(until_exists, gate) for _ in range(2)]
    behind = [shared.submit(square, 3) for _ in range(200)]
    assert [future.result(PATIENCE) for future in futures[:200]] == [4] * 200
    gate.touch()
    assert [future.result(PATIENCE) for future in behind] == [9] * 200


def test_large_arguments_and_results_at_the_same_time(shared: WorkerPool) -> None:
    blob = bytes(3_000_000)
    futures = [shared.submit(nap, 0, blob) for _ in range(20)]
    assert all(future.result(PATIENCE) == blob for future in futures)


def test_argument_is_taken_as_it_was_when_submitted(shared: WorkerPool) -> None:
    numbers = [1, 2]
    future = shared.submit(nap, 0, numbers)
    numbers.append(3)
    assert future.result(PATIENCE) == [1, 2]


def test_callback_may_submit(shared: WorkerPool) -> None:
    further: Future[Future[int]] = Future()
    shared.submit(square, 2).add_done_callback(lambda done: further.set_result(shared.submit(square, done.result())))
    assert further.result(PATIENCE).result(PATIENCE) == 16


def test_equal_functions_are_pickled_once(shared: WorkerPool) -> None:
    Counted.pickled = 0
    assert [shared.submit(Counted(7), number).result(PATIENCE) for number in range(10)] == list(range(0, 70, 7))
    assert Counted.pickled == 1


def test_functions_beyond_those_remembered(shared: WorkerPool) -> None:
    numbers = [random.Random(1).randrange(80) for _ in range(1000)]
    futures = [shared.submit(Counted(number), 2) for number in numbers]
    assert [future.result(PATIENCE) for future in futures] == [2 * number for number in numbers]


def test_unhashable_functions_are_told_apart(shared: WorkerPool) -> None:
    futures = [shared.submit(Unhashable(number)) for number in range(100)]
    assert [future.result(PATIENCE) for future in futures] == list(range(100))


# Failures that are no deaths


def test_exception_comes_as_it_is_with_its_traceback(shared: WorkerPool) -> None:
    error = shared.submit(fail, SaxsError("no beam")).exception(PATIENCE)
    assert type(error) is SaxsError
    assert error.args == ("no beam",)
    assert "in fail" in error.__notes__[0]


def test_exit_is_an_exception_too(shared: WorkerPool) -> None:
    assert type(shared.submit(sys.exit, 3).exception(PATIENCE)) is SystemExit


def test_what_cannot_be_pickled_fails_alone(shared: WorkerPool) -> None:
    cases: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = [
        (lambda: None, (), pickle.PicklingError, "wanted a function that can be pickled"),
        (square, (threading.Lock(),), pickle.PicklingError, "wanted arguments that can be pickled"),
        (make_unpicklable, (), pickle.PicklingError, "wanted a result that can be pickled, found function"),
        (make_unreadable, (), pickle.UnpicklingError, "result that can be unpickled, found ValueError: not at home"),
        (OnlyHere(), (), pickle.UnpicklingError, "cannot unpickle the function: ValueError: not at home"),
        (nap, (0, OnlyHere()), ValueError, "not at home"),
        (fail_oddly, (), RuntimeError, "OddError: odd 1 2"),
    ]
    futures = []
    for function, arguments, _, _ in cases:
        futures += [shared.submit(function, *arguments), shared.submit(square, 3)]
    for (_, _, kind, text), future in zip(cases, futures[::2], strict=True):
        with pytest.raises(kind, match=text):
            future.result(PATIENCE)
    assert [future.result(PATIENCE) for future in futures[1::2]] == [9] * len(cases)


@pytest.mark.parametrize("keywords", [{"workers": 0}, {"workers": 1, "attempts": 0}, {"workers": 1, "chunk": 0}])
def test_numbers_below_one_are_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1, found 0"):
        WorkerPool(**keywords)


def test_is_retry_is_false_here() -> None:
    assert not is_retry()


# Deaths


def test_worker_killed_in_mid_task(pools: Make, tmp_path: Path) -> None:
    pool, gate, started = pools(), tmp_path / "gate", tmp_path / "started"
    future = pool.submit(until_exists, gate, started)
    others = [pool.submit(square, number) for number in range(50)]
    until(lambda: started.exists() and started.read_text().endswith("\n"))
    first = int(started.read_text())
    os.kill(first, signal.SIGKILL)
    gate.touch()
    pid, again = future.result(PATIENCE)
    assert pid != first
    assert again
    assert [other.result(PATIENCE) for other in others] == [number * number for number in range(50)]
    until(lambda: len(pool.pids) == 2 and first not in pool.pids)
    assert pool.restarts == 1


def test_worker_killed_between_tasks(pools: Make, caplog: pytest.LogCaptureFixture) -> None:
    pool = pools(1)
    for position in range(3):
        pid = pool.submit(own_pid).result(PATIENCE)
        assert pool.pids == (pid,)
        os.kill(pid, signal.SIGKILL)
        until(partial(has_restarted, pool, position + 1))
        assert f"worker 1 (process {pid}) died of SIGKILL; 0 tasks are done again" in caplog.text
    assert pool.submit(square, 5).result(PATIENCE) == 25


def unread(link: Any) -> int:
    """How many bytes wait in a socket."""
    (count,) = struct.unpack("i", fcntl.ioctl(link, termios.FIONREAD, bytes(4)))
    return int(count)


def stuck_in_a_large_result(pool: WorkerPool, folder: Path) -> tuple[int, Future[bytes], threading.Event]:
    """The worker, the result of 50 MB of which it has written a part, and what lets the pool read on."""
    gate, started, release = folder / "gate", folder / "started", threading.Event()
    before = pool.submit(until_exists, gate, started)
    before.add_done_callback(lambda _: release.wait(PATIENCE))  # it runs in the thread that reads
    until(started.exists)
    future = pool.submit(bytes, 50_000_000)
    (worker,) = pool._manager._workers.values()
    until(lambda: len(worker.in_hand) == 2)
    gate.touch()
    until(lambda: unread(worker.link) > 100_000)
    return worker.pid, future, release


def test_worker_killed_while_it_writes_a_large_result(pools: Make, tmp_path: Path) -> None:
    pool = pools(1)
    pid, future, release = stuck_in_a_large_result(pool, tmp_path)
    os.kill(pid, signal.SIGKILL)
    release.set()
    assert future.result(PATIENCE) == bytes(50_000_000)
    assert pool.restarts == 1


def test_worker_stopped_while_it_writes_does_not_hold_up_the_pool(pools: Make, tmp_path: Path) -> None:
    pool = pools(1)
    pid, future, release = stuck_in_a_large_result(pool, tmp_path)
    os.kill(pid, signal.SIGSTOP)
    release.set()
    waiting = [pool.submit(square, number) for number in range(20)]
    until(lambda: len(pool._manager._pending) == 19)  # the thread is there and hands out
    os.kill(pid, signal.SIGCONT)
    assert future.result(PATIENCE) == bytes(50_000_000)
    assert [one.result(PATIENCE) for one in waiting] == [number * number for number in range(20)]
    assert pool.restarts == 0


def test_worker_has_no_link_but_its_own(pools: Make) -> None:
    pool = pools(2)
    with pytest.raises(WorkerDiedError):
        pool.submit(kill_self).result(PATIENCE)
    assert {future.result(PATIENCE) for future in [pool.submit(sockets) for _ in range(50)]} == {1}


def test_ten_kills_during_500_tasks(pools: Make, tmp_path: Path, rng: Any) -> None:
    pool = pools(2)
    arrived: Counter[int] = Counter()
    futures = [pool.submit(noted, number, tmp_path) for number in range(500)]
    for future in futures:
        future.add_done_callback(lambda done: arrived.update([done.result()]))
    for kill in range(10):
        until(futures[45 * kill].done)
        os.kill(int(rng.choice(pool.pids)), signal.SIGKILL)
        until(partial(has_restarted, pool, kill + 1))
    assert [future.result(PATIENCE) for future in futures] == list(range(500))
    assert arrived == dict.fromkeys(range(500), 1)
    begun = [len((tmp_path / str(number)).read_text()) for number in range(500)]
    assert sum(begun) <= 500 + 10 * 8  # of each worker that died, one message at most was done again


def test_task_that_kills_its_worker_fails_alone(pools: Make, caplog: pytest.LogCaptureFixture) -> None:
    pool = pools(2)
    futures: list[Future[Any]] = [pool.submit(square, number) for number in range(300)]
    poisons = [150, 151, 299]
    for position in poisons:
        futures[position : position + 1] = [pool.submit(kill_self, position)]
    for position, future in enumerate(futures):
        if position not in poisons:
            assert future.result(PATIENCE) == position**2
    for position in poisons:
        with pytest.raises(WorkerDiedError, match=r"found that \d died of it, the last of SIGKILL"):
            futures[position].result(PATIENCE)
    assert pool.submit(square, 5).result(PATIENCE) == 25


def test_attempts_are_counted(pools: Make) -> None:
    pool = pools(1, attempts=2)
    with pytest.raises(WorkerDiedError, match="found that 2 died of it, the last of exit code 7"):
        pool.submit(os._exit, 7).result(PATIENCE)
    until(lambda: pool.restarts == 2)


def test_task_that_kills_its_worker_once_succeeds_and_knows(pools: Make, tmp_path: Path) -> None:
    pool = pools(1)
    assert pool.submit(kill_self_once, tmp_path / "state").result(PATIENCE)
    assert not pool.submit(is_retry).result(PATIENCE)


def test_interrupt_from_the_terminal_is_for_the_main_process(pools: Make) -> None:
    pool = pools(2)
    for name in ("SIGINT", "SIGTERM"):
        for pid in pool.pids:  # while they start
            os.kill(pid, signal.Signals[name])
    pids = set(pool.pids)
    assert pool.submit(square, 2).result(PATIENCE) == 4
    for pid in pool.pids:  # while they wait
        os.kill(pid, signal.SIGINT)
    assert [future.result(PATIENCE) for future in [pool.submit(square, 2) for _ in range(50)]] == [4] * 50
    assert set(pool.pids) == pids
    assert pool.restarts == 0


def test_initializer_that_fails_ends_in_an_error(pools: Make, caplog: pytest.LogCaptureFixture) -> None:
    pool = pools(1, initializer=refuse_to_start)
    future = pool.submit(square, 2)
    with pytest.raises(BrokenExecutor, match=r"found 5 failures in a row.*OSError\('no such detector'\)"):
        future.result(PATIENCE)
    with pytest.raises(BrokenExecutor, match="no such detector"):
        pool.submit(square, 2)


def test_initializer_that_cannot_be_pickled_leaves_nothing() -> None:
    multiprocessing.resource_tracker.ensure_running()
    before = descriptors()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        WorkerPool(2, initializer=lambda: None)
    assert descriptors() == before


def test_no_room_for_a_process_is_waited_for(pools: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pools(1)
    start, failures = start_worker, iter([OSError("no memory")] * 2)

    def sometimes(*arguments: Any) -> Any:
        for error in failures:
            raise error
        return start(*arguments)

    monkeypatch.setattr("saxs_bluesky.workers._manager.start_worker", sometimes)
    with pytest.raises(WorkerDiedError):
        pool.submit(kill_self).result(PATIENCE)
    assert pool.submit(square, 3).result(PATIENCE) == 9
    assert next(failures, None) is None


# Cancelling and ending


def test_cancelled_task_is_not_begun(pools: Make, tmp_path: Path) -> None:
    pool, gate = pools(1), tmp_path / "gate"
    futures = [pool.submit(until_exists, gate) for _ in range(2)]
    cancelled = [pool.submit(noted, number, tmp_path) for number in range(10)]
    last = pool.submit(square, 2)
    until(futures[0].running)
    assert not futures[0].cancel()
    assert all(future.cancel() for future in cancelled[1:])
    gate.touch()
    assert last.result(PATIENCE) == 4
    assert not wait(cancelled, PATIENCE).not_done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "gate"]


def test_shutdown_waits(pools: Make) -> None:
    pool = pools(2)
    futures = [pool.submit(nap, 0.01, number) for number in range(50)]
    pool.shutdown()
    assert [future.result(0) for future in futures] == list(range(50))
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(square, 2)
    assert pool.pids == ()


def test_shutdown_without_waiting(pools: Make, tmp_path: Path) -> None:
    pool, gate = pools(1), tmp_path / "gate"
    futures = [pool.submit(until_exists, gate) for _ in range(3)]
    pool.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    gate.touch()
    assert not wait(futures, PATIENCE).not_done


def test_shutdown_that_cancels(pools: Make, tmp_path: Path) -> None:
    pool, gate = pools(1), tmp_path / "gate"
    futures = [pool.submit(until_exists, gate) for _ in range(30)]
    until(futures[0].running)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.touch()
    pool.shutdown()
    assert futures[0].result(0)
    with pytest.raises(CancelledError):
        futures[-1].result(0)
    assert not wait(futures, 0).not_done


def test_worker_killed_after_shutdown_is_replaced(pools: Make, tmp_path: Path) -> None:
    pool, gate, started = pools(1), tmp_path / "gate", tmp_path / "started"
    future = pool.submit(until_exists, gate, started)
    until(started.exists)
    pool.shutdown(wait=False, cancel_futures=True)
    os.kill(pool.pids[0], signal.SIGKILL)
    gate.touch()
    assert future.result(PATIENCE)[1]


def test_forgotten_pool_finishes_and_ends() -> None:
    pool = WorkerPool(1)
    thread, pids = pool._manager.thread, pool.pids
    future = pool.submit(square, 3)
    del pool
    gc.collect()
    assert future.result(PATIENCE) == 9
    thread.join(PATIENCE)
    assert not any(map(is_alive, pids))


def descriptors() -> set[str]:
    gc.collect()  # or what other tests left would be closed between two looks
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_nothing_is_left_of_a_pool() -> None:
    multiprocessing.resource_tracker.ensure_running()  # which is the interpreter's for good
    before, threads = descriptors(), set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with WorkerPool(2) as pool:
            pids = pool.pids
            with pytest.raises(WorkerDiedError):
                pool.submit(kill_self).result(PATIENCE)
            pids += pool.pids
        del pool
        gc.collect()
    assert descriptors() == before
    assert set(threading.enumerate()) <= threads
    assert not any(map(is_alive, pids))


# Programs that use a pool


def script(folder: Path, text: str) -> list[str]:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(text))
    return [sys.executable, str(path)]


def test_program_that_forgets_to_shut_down_ends_when_all_is_done(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        import pathlib, sys, time
        from saxs_bluesky.workers import WorkerPool
        if __name__ == "__main__":
            idle, pool = WorkerPool(1), WorkerPool(1)
            futures = [pool.submit(pathlib.Path(sys.argv[1], str(n)).touch) for n in range(20)]
        """,
    )
    done = subprocess.run([*program, str(tmp_path)], capture_output=True, timeout=PATIENCE, check=True)
    assert done.stdout + done.stderr == b""
    assert all((tmp_path / str(number)).exists() for number in range(20))


def test_program_without_a_guard_ends_in_an_error(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        from saxs_bluesky.workers import WorkerPool
        print(WorkerPool(1).submit(abs, -3).result())
        """,
    )
    done = subprocess.run(program, capture_output=True, timeout=PATIENCE, check=False, text=True)
    assert done.returncode == 1
    assert "if __name__ == '__main__'" in done.stderr
    assert "BrokenExecutor: wanted workers that start, found 5 failures in a row" in done.stderr


PROGRAM_THAT_WAITS = """
    import sys, time
    from saxs_bluesky.workers import WorkerPool
    if __name__ == "__main__":
        pool = WorkerPool(2)
        for future in [pool.submit(time.sleep, 0.2) for _ in range(4)]:
            future.result()
        try:
            pool.submit(time.sleep, 0.5)
            print(*pool.pids, flush=True)
            sys.stdin.read()
        except KeyboardInterrupt:
            print(pool.submit(abs, -3).result(), *pool.pids, flush=True)
    """


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        script(tmp_path, PROGRAM_THAT_WAITS), stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def said(program: subprocess.Popen[str]) -> list[int]:
    assert program.stdout is not None
    return [int(word) for word in program.stdout.readline().split()]


def test_workers_end_when_the_main_process_is_killed(program: subprocess.Popen[str]) -> None:
    pids = said(program)
    assert all(map(is_alive, pids))
    program.kill()
    until(lambda: not any(map(is_alive, pids)))
    assert program.stderr is not None
    assert program.stderr.read() == ""


def test_interrupt_of_the_whole_group_leaves_the_workers(program: subprocess.Popen[str]) -> None:
    pids = said(program)
    os.killpg(program.pid, signal.SIGINT)
    assert said(program) == [3, *pids]
    assert program.wait(PATIENCE) == 0
    assert not any(map(is_alive, pids))


def test_results_that_were_sent_in_time_are_not_sent_as_none_again() -> None:
    """A message without results is that of a worker that begins; another one broke the pool."""
    here, there = socket.socketpair()
    results = _Results(there)
    results.say_ready()
    results.add(True, pickle.dumps(1), 0.5)
    results.send()
    results.send()
    there.close()
    reader = Reader(here)
    assert [reader.receive().head for _ in range(2)] == [(0.0, []), (0.5, [True])]
    with pytest.raises(EOFError):
        reader.receive()
    here.close()


# Workers that hang


class NamedDocument:
    """A task with a name of its own for people."""

    def describe(self, what: str, started: Path) -> str:
        return f"the work on {what} in {started.name}"

    def __call__(self, what: str, started: Path) -> tuple[int, bool]:
        with started.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return os.getpid(), is_retry()


def hang() -> None:
    signal.sigwait([signal.SIGUSR1])


def started_in(path: Path) -> int:
    """Process id of the worker that began last."""
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text().split()[-1])


def test_worker_that_is_stopped_is_replaced_and_its_task_done_by_another(
    pools: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool, started = pools(2, task_seconds=3.0), tmp_path / "started"
    list(pool.map(square, range(2000), timeout=PATIENCE))  # so messages have several tasks
    future = pool.submit(NamedDocument(), "a.tif", started)
    stopped = started_in(started)
    os.kill(stopped, signal.SIGSTOP)
    others = [pool.submit(square, number) for number in range(500)]
    begin = time.monotonic()
    pid, again = future.result(PATIENCE)
    assert (pid != stopped, again) == (True, True)
    assert 2.0 < time.monotonic() - begin < 15.0
    assert [other.result(PATIENCE) for other in others] == [number * number for number in range(500)]
    until(partial(has_restarted, pool, 1))
    assert not is_alive(stopped)
    early, late = (record.getMessage() for record in caplog.records)
    assert f"(process {stopped}) has been busy with the work on a.tif in started for " in early
    assert f"(process {stopped}) hangs: it has been busy with the work on a.tif in started for 3 s" in late


def test_task_that_always_hangs_fails_alone(pools: Make) -> None:
    pool = pools(2, task_seconds=1.0)
    futures = [pool.submit(square, number) for number in range(100)]
    hanging = pool.submit(hang)
    futures += [pool.submit(square, number) for number in range(100)]
    with pytest.raises(WorkerHungError, match=r"wanted a task that is done in 1 s, found 2 workers that hung in it"):
        hanging.result(PATIENCE)
    assert [future.result(PATIENCE) for future in futures] == [n * n for n in range(100)] * 2
    assert pool.submit(square, 5).result(PATIENCE) == 25


def test_worker_that_was_stopped_for_less_than_its_time_gives_one_result(
    pools: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool, started = pools(1, task_seconds=4.0), tmp_path / "started"
    future = pool.submit(NamedDocument(), "a.tif", started)
    stopped = started_in(started)
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: "has been busy with" in caplog.text)
    os.kill(stopped, signal.SIGCONT)
    assert future.result(PATIENCE) == (stopped, False)
    assert pool.restarts == 0
    assert started.read_text() == f"{stopped}\n"


def test_worker_that_cannot_be_killed_is_left_to_itself(
    pools: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a network file system does not go of SIGKILL before that answers."""
    pool, started = pools(1, task_seconds=1.0), tmp_path / "started"
    future = pool.submit(NamedDocument(), "a.tif", started)
    stopped = started_in(started)
    (worker,) = pool._manager._workers.values()
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setattr(worker.process, "kill", lambda: None)
    pid, again = future.result(PATIENCE)
    assert (pid != stopped, again) == (True, True)
    assert is_alive(stopped)
    assert worker.process not in multiprocessing.active_children()  # whose end the interpreter waits for
    assert f"worker 1 (process {stopped}) was killed and does not end" in caplog.text
    os.kill(stopped, signal.SIGKILL)
    until(lambda: not pool._manager._undead)


def test_worker_that_hangs_while_it_starts_is_replaced(
    pools: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saxs_bluesky.workers._manager._SECONDS_TO_START", 3.0)
    pool = pools(1, task_seconds=1.0, initializer=partial(hang_once, tmp_path / "state"))
    assert pool.submit(square, 3).result(PATIENCE) == 9
    assert pool.restarts == 1


def hang_once(state: Path) -> None:
    if not state.exists():
        state.touch()
        hang()


def test_program_that_was_stopped_with_its_workers_gives_none_up(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        """
        import sys, time
        from saxs_bluesky.workers import WorkerPool
        if __name__ == "__main__":
            pool = WorkerPool(1, task_seconds=2.0)
            pool.submit(abs, -3).result()
            future = pool.submit(time.sleep, 1.0)
            print("begun", flush=True)
            future.result()
            print(pool.restarts, flush=True)
        """,
    )
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(4.0)
        os.killpg(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == "0\n"


def test_pool_ends_in_bounded_time_though_its_workers_are_stopped(tmp_path: Path) -> None:
    pool = WorkerPool(3)
    assert pool.submit(square, 3).result(PATIENCE) == 9
    until(lambda: all(worker.ready for worker in pool._manager._workers.values()))
    pids = pool.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    pool.shutdown()
    assert time.monotonic() - begin < 12.0
    assert not any(map(is_alive, pids))


def test_end_at_once_kills_the_workers_that_hang_and_no_others(pools: Make, tmp_path: Path) -> None:
    pool, started = pools(2), tmp_path / "started"
    until(lambda: all(worker.ready for worker in pool._manager._workers.values()))
    future = pool.submit(NamedDocument(), "a.tif", started)
    stopped = started_in(started)
    (other,) = set(pool.pids) - {stopped}
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: [worker.pid for worker in pool._manager._workers.values() if worker.is_stopped] == [stopped])
    kill_hanging_workers()
    assert future.result(PATIENCE) == (other, True)
