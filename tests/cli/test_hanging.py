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

import httpx
import numpy as np
import psutil
import pytest

from saxs_bluesky.reduction import write_frame
from tests.helpers.ports import free_port
from tests.helpers.watching import PATIENCE, Results, Saxsdog

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


class Served:
    """A Tiled server in a process of its own, which can be stopped."""

    CODE = """
import sys
import uvicorn
from tiled.catalog import from_uri
from tiled.config import Authentication
from tiled.server.app import build_app

folder, port = sys.argv[1:]
tree = from_uri(
    f"sqlite:///{folder}/catalog.db",
    writable_storage=[f"{folder}/arrays", f"sqlite:///{folder}/tables.db"],
    specs=[{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
)
app = build_app(tree, authentication=Authentication(single_user_api_key="secret"))
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="critical")
"""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}/api/v1/"
        self.process = psutil.Popen(
            [sys.executable, "-c", self.CODE, str(folder), str(port)], stderr=subprocess.DEVNULL
        )
        self.until(lambda: self.runs() == 0)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 2 * PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def runs(self) -> int:
        """How many there are; -1 while it does not answer."""
        try:
            answer = httpx.get(f"{self.uri}search/", params={"api_key": "secret"}, timeout=5)
        except httpx.TransportError:
            return -1
        return len(answer.json()["data"]) if answer.is_success else -1


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "served"
    (folder / "arrays").mkdir(parents=True)
    init = [sys.executable, "-m", "tiled", "catalog", "init", f"sqlite:///{folder}/catalog.db"]
    subprocess.run(init, check=True, capture_output=True)
    served = Served(folder)
    yield served
    served.process.kill()
    served.process.wait()


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


# Catalogs

FAILING = """
import sys
from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.file_pipeline import FilePipeline

emit, count = FilePipeline._emit, 0

def failing(self, name, doc):
    global count
    count += name == "event"
    if count == 6:
        input()
        raise OSError("the disk is gone")
    emit(self, name, doc)

FilePipeline._emit = failing
sys.exit(main())
"""


def test_error_ends_the_command_though_its_catalog_does_not_answer(
    beamtime: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILED_API_KEY", "secret")
    for number in range(10):
        add(beamtime, f"n{number}.tif")
    command = [sys.executable, "-c", FAILING, "-c", "cal.json", "-t", "1", "--catalog", served.uri, "data"]
    process = subprocess.Popen(
        command, cwd=beamtime, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    served.until(lambda: served.runs() > 0)
    served.process.suspend()
    time.sleep(0.7)  # so that the writer is inside a request
    begin = time.monotonic()
    _, errors = process.communicate("\n", timeout=PATIENCE)
    assert time.monotonic() - begin < 45
    assert process.returncode == 1
    assert "OSError: the disk is gone" in errors
    told = r"saxsdog: .*documents that (it|the catalog) does not have are in \S+/catalog$"
    assert re.search(told, errors, re.MULTILINE)


def test_error_ends_the_command_that_writes_to_a_catalog_of_its_own(beamtime: Path) -> None:
    for number in range(10):
        add(beamtime, f"n{number}.tif")
    command = [sys.executable, "-c", FAILING, "-c", "cal.json", "-t", "1", "--catalog", "catalog", "data"]
    done = subprocess.run(
        command, cwd=beamtime, input="\n", capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "OSError: the disk is gone" in done.stderr


def test_sink_that_fails_is_told_at_the_end_and_in_the_exit_code(beamtime: Path) -> None:
    code = """
import sys
from saxs_bluesky.callbacks import CurveList
from saxs_bluesky.cli.saxsdog import main

def failing(self, name, doc):
    raise OSError("no space left")

CurveList.__call__ = failing
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "-c", "cal.json", "data"],
        cwd=beamtime,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "3 images: 3 reduced, 0 skipped, 0 failed"
    assert "saxsdog: not done: 6 documents were not taken by a sink, named above" in done.stderr.splitlines()
    assert done.stderr.count("failed on a start document") == 1
    assert "failed on a event document" not in done.stderr
