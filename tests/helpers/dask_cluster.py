"""A Dask cluster of real processes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import psutil

from tests.helpers.ports import free_port
from tests.helpers.repository import ROOT
from tests.helpers.waiting import until


class Cluster:
    """A scheduler on one address for good, and workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.scheduler: psutil.Popen | None = None
        self.workers: list[psutil.Popen] = []

    def _run(self, *arguments: str) -> psutil.Popen:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (self._folder / "dask.log").open("a") as log:
            command = [sys.executable, "-m", "dask", *arguments]
            return psutil.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=environment)

    def start_scheduler(self) -> None:
        self.scheduler = self._run("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")
        until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def start_worker(self) -> psutil.Popen:
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        self.workers.append(self._run("worker", self.address, *options))
        return self.workers[-1]

    def kill(self) -> None:
        for process in (self.scheduler, *self.workers):
            if process is not None and process.is_running():
                process.kill()
                process.wait()
