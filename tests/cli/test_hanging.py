"""Workers, files and catalogs that do not answer, and signals that end the commands all the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from saxs_bluesky.reduction import write_frame
from tests.cli.watching import PATIENCE, Results, Saxsdog

Start = Callable[..., Saxsdog]
AT_ONCE = 4.0  # seconds; the machine may be busy


@pytest.fixture
def start(beamtime: Path) -> Iterator[Start]:
    started: list[Saxsdog] = []

    def begin(*options: str) -> Saxsdog:
        saxsdog = Saxsdog(beamtime, options)
        saxsdog.start()
        started.append(saxsdog)
        return saxsdog

    yield begin
    for saxsdog in started:
        if saxsdog.process is not None and saxsdog.process.poll() is None:
            saxsdog.kill()


def add(beamtime: Path, name: str) -> Path:
    path = beamtime / "data" / name
    write_frame(path, np.random.default_rng(len(name)).poisson(20, (60, 80)))
    return path


def is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def test_image_of_a_worker_that_is_stopped_is_done_by_another(beamtime: Path, start: Start) -> None:
    results = Results(beamtime)
    saxsdog = start("-w", "-t", "2", "--task-timeout", "2")
    saxsdog.until(lambda: results.chi(beamtime / "data" / "more" / "c.tif").exists())
    saxsdog.until(lambda: len(saxsdog.workers) == 2)
    stopped, _ = saxsdog.workers
    stopped.suspend()
    images = [add(beamtime, f"n{number}.tif") for number in range(10)]
    saxsdog.until(lambda: all(results.chi(image).exists() for image in images))
    saxsdog.until(lambda: sum(results.listed().values()) == 26)
    assert not stopped.is_running()
    assert saxsdog.stop() == 0
    for image in images:
        results.assert_current(image)
    assert set(results.listed().values()) == {1}
    assert re.search(
        rf"worker \d \(process {stopped.pid}\) hangs: it has been busy with \S+\.tif for \d s; it is killed",
        saxsdog.log,
    )
    assert results.left_over() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [("-t", "2"), ("-t", "1")])
def test_second_signal_ends_at_once(
    beamtime: Path, start: Start, options: tuple[str, ...], number: signal.Signals
) -> None:
    # Its patience is that of the source, so the only worker waits for the rest of the image.
    saxsdog = start("-w", *options, "--deadline", "1000")
    results = Results(beamtime)
    saxsdog.until(lambda: results.chi(beamtime / "data" / "b.tif").exists())
    if options[1] == "2":
        workers = saxsdog.workers
        for worker in workers:
            worker.suspend()
    else:
        workers = []
    for name in "xyz":
        add(beamtime, f"{name}.tif")
    time.sleep(0.5)
    assert saxsdog.process is not None
    saxsdog.process.send_signal(number)
    time.sleep(0.5)
    begin = time.monotonic()
    if saxsdog.process.poll() is None:
        saxsdog.process.send_signal(number)
        assert saxsdog.wait() == (130 if workers else saxsdog.process.returncode)
    assert time.monotonic() - begin < AT_ONCE
    _, alive = psutil.wait_procs(workers, PATIENCE)
    assert not alive


def test_named_pipe_is_an_image_that_fails(beamtime: Path) -> None:
    os.mkfifo(beamtime / "data" / "p.tif")
    code = "import sys; from saxs_bluesky.cli.saxsdog import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "-c", "cal.json", "-t", "1", "--deadline", "0.2", "data"],
        cwd=beamtime,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "p.tif: wanted a TIFF image, found no file but a named pipe" in done.stderr
    assert done.stdout.splitlines()[-1] == "4 images: 3 reduced, 0 skipped, 1 failed"
