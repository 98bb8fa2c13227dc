"""A ``saxsdog`` in a process of its own, and what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves
from saxs_bluesky.reduction import Calibration, Curve, Reducer, read_chi, read_frame
from tests.helpers.waiting import PATIENCE


@dataclass
class Saxsdog:
    """The command at work; started again with the same options after it was killed."""

    beamtime: Path
    options: tuple[str, ...] = ("-w",)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        code = "import sys; from saxs_bluesky.cli.saxsdog import main; sys.exit(main())"
        arguments = ["-c", str(self.beamtime / "cal.json"), *self.options, str(self.beamtime / "data")]
        log = (self.beamtime / "saxsdog.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=log, stderr=subprocess.STDOUT, text=True
        )
        log.close()

    @property
    def log(self) -> str:
        return (self.beamtime / "saxsdog.log").read_text()

    @property
    def workers(self) -> list[psutil.Process]:
        assert self.process is not None
        workers = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # killed just now
                if "spawn_main" in " ".join(child.cmdline()):
                    workers.append(child)
        return workers

    def kill(self) -> None:
        """End it as a machine does that is short of memory, and wait until its workers have noticed."""
        assert self.process is not None
        workers = self.workers
        self.process.kill()
        self.process.wait(PATIENCE)
        _, alive = psutil.wait_procs(workers, PATIENCE)
        assert not alive

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)


class Results:
    """What is to be found on disk and in the catalog."""

    def __init__(self, beamtime: Path, work: str = "work") -> None:
        self.beamtime = beamtime
        self.reducer = Reducer(Calibration.from_file(beamtime / "cal.json"))
        self._work = work

    def chi(self, image: Path) -> Path:
        return Path(os.path.normpath(image.parent / ".." / self._work / f"{image.stem}.chi"))

    def listed(self) -> Counter[str]:
        """Lines of the list of curves, without their numbers."""
        path = self.beamtime / "results" / "filelist_data.log"
        lines = path.read_text().splitlines() if path.exists() else []
        assert all(line.startswith("/") for line in lines)
        return Counter(line.split(", ")[0].removeprefix("/") for line in lines)

    def serial(self, image: Path) -> list[Curve]:
        frame = read_frame(image)
        return self.reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff)

    def assert_current(self, image: Path) -> None:
        """Whether the curve of an image is that of the serial reduction."""
        expected = self.serial(image)[0]
        np.testing.assert_array_equal(read_chi(self.chi(image)).curve.intensity, expected.intensity)

    def left_over(self) -> list[Path]:
        """Temporary files."""
        return [path for path in self.beamtime.rglob(".*.tmp") if "catalog" not in path.parts]


@dataclass
class Catalogued:
    """Frames in a catalog: paths of the raw events, and of the reduced ones with whether they failed."""

    raw: Counter[str]
    reduced: Counter[str]
    failed: Counter[str]
    stops: list[Any]

    @classmethod
    def read(cls, folder: Path) -> Catalogued:
        catalog = open_catalog(folder)
        found = cls(Counter(), Counter(), Counter(), [])
        for run in catalog.values():
            start, streams = run.metadata["start"], list(run.base)
            found.stops.append(run.metadata.get("stop"))
            if "primary" not in streams:
                continue
            if "original_run_uid" not in start:
                node = run.base["primary"].base
                for name in node:
                    if name.startswith("internal"):
                        found.raw.update(node[name].read()["image_path"])
                continue
            curves = read_curves(run)
            found.reduced.update(curves["image_path"].values.tolist())
            found.failed.update(curves["image_path"].values[curves["failure"].values != ""].tolist())
        close_catalog(folder)
        return found
