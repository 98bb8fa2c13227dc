"""A Dask cluster of real processes, whose scheduler and workers die, stop and come back."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import write_frame
from saxs_bluesky.workers.dask_cluster import DaskExecutor
from tests.helpers.dask_cluster import Cluster
from tests.helpers.waiting import PATIENCE, until
from tests.helpers.watching import Results, Saxsdog

pytestmark = pytest.mark.logs_errors  # Dask's own, of connections that break


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    cluster.start_scheduler()
    yield cluster
    cluster.kill()


@pytest.fixture
def executors(cluster: Cluster) -> Iterator[Callable[..., DaskExecutor]]:
    made: list[DaskExecutor] = []

    def make(**keywords: Any) -> DaskExecutor:
        keywords = {"answer_seconds": 20.0} | keywords
        made.append(DaskExecutor(cluster.address, lambda: ThreadPoolExecutor(1), **keywords))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(wait=False, cancel_futures=True)


Make = Callable[..., DaskExecutor]


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def divide(number: int) -> float:
    return 1 / number


def until_done_by(executor: DaskExecutor, worker: psutil.Popen) -> None:
    """Wait until the cluster's worker does calls: on a busy machine the cluster may count as away for a time."""
    until(lambda: executor.submit(pid_after, 0).result(PATIENCE) == worker.pid)


def test_errors_of_the_call_are_the_callers(cluster: Cluster, executors: Make) -> None:
    cluster.start_worker()
    executor = executors()
    until(lambda: executor._client is not None)  # it may have been there before the worker
    assert executor.submit(divide, 4).result(PATIENCE) == 0.25
    with pytest.raises(ZeroDivisionError):
        executor.submit(divide, 0).result(PATIENCE)


def test_scheduler_that_dies_costs_nothing_and_is_used_again_when_it_is_back(
    cluster: Cluster, executors: Make, caplog: pytest.LogCaptureFixture
) -> None:
    executor = executors()
    here, there = os.getpid(), cluster.start_worker()
    assert executor.submit(pid_after, 0).result(PATIENCE) == here  # there was no worker yet
    until(lambda: "the cluster is back" in caplog.text)
    until_done_by(executor, there)
    futures = [executor.submit(pid_after, 0.1) for _ in range(30)]
    futures[1].result(PATIENCE)
    assert cluster.scheduler is not None
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    done = [future.result(PATIENCE) for future in futures]
    assert set(done) == {there.pid, here}
    assert executor.submit(pid_after, 0).result(PATIENCE) == here
    caplog.clear()
    there.wait(PATIENCE)  # without its scheduler it ends
    cluster.start_scheduler()
    there = cluster.start_worker()
    until(lambda: "the cluster is back" in caplog.text)
    until_done_by(executor, there)


def test_scheduler_that_is_stopped_is_left(cluster: Cluster, executors: Make, caplog: pytest.LogCaptureFixture) -> None:
    there = cluster.start_worker()
    executor = executors(answer_seconds=3.0)
    until_done_by(executor, there)
    assert cluster.scheduler is not None
    cluster.scheduler.suspend()
    caplog.clear()
    futures = [executor.submit(pid_after, 0) for _ in range(5)]
    assert {future.result(PATIENCE) for future in futures} == {os.getpid()}
    assert caplog.text.count("the cluster is away (no answer in 3 s)") == 1
    cluster.scheduler.resume()
    until(lambda: "the cluster is back" in caplog.text)
    until_done_by(executor, there)


def test_what_a_stopped_worker_keeps_is_done_by_others(
    cluster: Cluster, executors: Make, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = cluster.start_worker()
    first = executors(task_seconds=0, silent_seconds=PATIENCE)
    until_done_by(first, stopped)  # which takes as long as it imports
    executor = executors(task_seconds=5.0, silent_seconds=PATIENCE)  # or its silence may be noticed first
    stopped.suspend()
    future = executor.submit(pid_after, 0)
    assert future.result(PATIENCE) == os.getpid()
    assert "pid_after was in the cluster's hands for 5 s; it is taken back, and done here" in caplog.text
    stopped.resume()


def test_cluster_whose_workers_give_no_sign_of_life_is_away(
    cluster: Cluster, executors: Make, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = cluster.start_worker()
    executor = executors(task_seconds=0, silent_seconds=6.0)
    until(lambda: executor._client is not None)
    assert executor.submit(pid_after, 0).result(PATIENCE) in (stopped.pid, os.getpid())
    stopped.suspend()
    assert executor.submit(pid_after, 0).result(PATIENCE) == os.getpid()
    assert "the cluster is away (none of its workers gives a sign of life)" in caplog.text
    stopped.resume()


def test_worker_that_is_killed_costs_nothing(cluster: Cluster, executors: Make) -> None:
    killed = cluster.start_worker()
    executor = executors(task_seconds=PATIENCE)
    until(lambda: executor._client is not None)
    futures = [executor.submit(pid_after, 0.1) for _ in range(20)]
    futures[1].result(PATIENCE)
    killed.kill()
    assert {future.result(PATIENCE) for future in futures} == {killed.pid, os.getpid()}


def test_command_goes_on_when_its_cluster_dies(
    tmp_path: Path, document: dict[str, Any], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "cal.json").write_text(json.dumps(document | {"Threads": 1}))
    (tmp_path / "data").mkdir()
    cluster = Cluster(tmp_path)
    try:
        cluster.start_scheduler()
        cluster.start_worker()
        saxsdog = Saxsdog(tmp_path, ("-w", "--dask", cluster.address))
        saxsdog.start()
        results = Results(tmp_path)
        images = []

        def add() -> None:
            images.append(tmp_path / "data" / f"{len(images):03d}.tif")
            write_frame(images[-1], rng.poisson(20, (60, 80)))

        def all_there() -> bool:
            return all(results.chi(image).exists() for image in images)

        for _ in range(20):
            add()
        saxsdog.until(lambda: results.chi(images[5]).exists())
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        for _ in range(20):
            add()
        saxsdog.until(all_there)
        assert saxsdog.stop() == 0, saxsdog.log
        for image in images:
            results.assert_current(image)
        assert saxsdog.log.splitlines()[-1] == "40 images: 40 reduced, 0 skipped, 0 failed"
        assert len(re.findall(r"the cluster is away \((?!it has no workers)", saxsdog.log)) == 1
    finally:
        cluster.kill()


def test_scheduler_that_does_not_answer_at_the_beginning_is_refused() -> None:
    with pytest.raises(SaxsError, match=r"--dask tcp://127.0.0.1:1: wanted a Dask scheduler, found "):
        DaskExecutor("tcp://127.0.0.1:1", lambda: ThreadPoolExecutor(1), answer_seconds=0.5)
