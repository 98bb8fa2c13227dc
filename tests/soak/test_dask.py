"""Images that come while the workers of a Dask cluster and its scheduler are killed, stopped and started again."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.reduction import write_frame
from tests.helpers.dask_cluster import Cluster
from tests.helpers.watching import Results, Saxsdog

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))  # for which images come
FAULT_EVERY = 8.0
PAUSE = 0.05  # between images


def restart(cluster: Cluster) -> None:
    """Kill everything of the cluster, and start it again at its address."""
    cluster.kill()
    cluster.workers.clear()
    cluster.start_scheduler()
    for _ in range(2):
        cluster.start_worker()


def kill_a_worker(cluster: Cluster) -> None:
    worker = cluster.workers.pop(0)
    worker.kill()
    worker.wait()
    cluster.start_worker()


def kill_the_scheduler(cluster: Cluster) -> None:
    assert cluster.scheduler is not None
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    restart(cluster)


def stop_the_scheduler(cluster: Cluster) -> None:
    assert cluster.scheduler is not None
    cluster.scheduler.suspend()
    time.sleep(FAULT_EVERY / 2)
    cluster.scheduler.resume()


def test_every_image_once_while_the_cluster_is_killed(empty: Path, rng: np.random.Generator) -> None:
    cluster = Cluster(empty)
    saxsdog = Saxsdog(empty, ("-w", "-t", "2", "--task-timeout", "20", "--dask", cluster.address))
    results = Results(empty)
    images: list[Path] = []
    faults = [kill_a_worker, kill_the_scheduler, stop_the_scheduler]
    try:
        cluster.start_scheduler()
        for _ in range(2):
            cluster.start_worker()
        saxsdog.start()
        saxsdog.until(lambda: "watching" in saxsdog.log)
        end = time.monotonic() + SECONDS
        next_fault = time.monotonic() + FAULT_EVERY
        done = 0
        while time.monotonic() < end:
            images.append(empty / "data" / f"{len(images):05d}.tif")
            write_frame(images[-1], rng.poisson(20, (60, 80)))
            time.sleep(PAUSE)
            if time.monotonic() >= next_fault:
                faults[done % len(faults)](cluster)
                done += 1
                next_fault = time.monotonic() + FAULT_EVERY
        saxsdog.until(lambda: len(results.listed()) == 2 * len(images))
        assert saxsdog.stop() == 0, saxsdog.log
    finally:
        if saxsdog.process is not None and saxsdog.process.poll() is None:
            saxsdog.kill()
        cluster.kill()
    assert done >= len(faults) or SECONDS < 60
    assert f"{len(images)} images: {len(images)} reduced, 0 skipped, 0 failed" in saxsdog.log
    assert set(results.listed().values()) == {1}, Counter(results.listed())
    for image in images:
        results.assert_current(image)
    assert results.left_over() == []
