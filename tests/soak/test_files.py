"""Thousands of images that another process writes in every way there is, while workers and the program are killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves
from saxs_bluesky.frame_job import OutputNames
from saxs_bluesky.reduction import Curve, read_chi
from tests.helpers.commands import command_line
from tests.helpers.ports import free_port
from tests.helpers.repository import ROOT
from tests.helpers.watching import Results, Saxsdog

pytestmark = pytest.mark.soak

IMAGES = int(os.environ.get("SOAK_IMAGES", "3000"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))  # for which the detector writes
KILL_EVERY = 5.0
PATIENCE = 180.0  # seconds: only for what would otherwise hang
ONE_CONTENT = {"at once", "renamed", "slow", "truncated"}


_SUMMARY = re.compile(
    r"(\d+) images: (\d+) reduced, 0 skipped, (\d+) failed(?:, (\d+) overwritten before they were reduced)?"
)


@dataclass
class Tally:
    """What is to be found of each image: events with curves, events with a failure."""

    reduced: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    latest_failed: dict[str, bool] = field(default_factory=dict)

    def add(self, path: str, *, failed: bool) -> None:
        (self.failed if failed else self.reduced)[path] += 1
        self.latest_failed[path] = failed

    @classmethod
    def of_log(cls, log: str, data: Path) -> Tally:
        tally = cls()
        for line in log.splitlines():
            path, _, rest = line.partition(": ")
            if path.startswith(str(data)):
                tally.add(path, failed=not rest.endswith(".chi"))
        return tally


class Soak:
    """A detector and a ``saxsdog`` at work, whose processes all know each other by a mark in their environment."""

    def __init__(self, beamtime: Path, options: tuple[str, ...], mark: str) -> None:
        self.beamtime = beamtime
        self.data = beamtime / "data"
        self.saxsdog = Saxsdog(beamtime, options)
        self.results = Results(beamtime)
        self.mark = mark
        self.killed = 0
        self.done: dict[str, str] = {}
        self.serial: dict[str, list[Curve]] = {}

    def expose(self, *, crash: bool = False) -> None:
        """Let the detector write, kill a worker every few seconds, and the program in the middle."""
        seed = str(time.time_ns() % 2**31)
        print(f"seed {seed}")  # noqa: T201 - shown where the test fails
        told = self.beamtime / "told.json"
        command = [sys.executable, "-m", "tests.helpers.detector", str(self.data), str(IMAGES), str(SECONDS), seed]
        detector = subprocess.Popen([*command, str(told)], cwd=ROOT)
        begin = last = time.monotonic()
        while detector.poll() is None:
            now = time.monotonic()
            assert now < begin + SECONDS + PATIENCE, self.saxsdog.log[-3000:]
            # Not while a worker that was killed is still there as a zombie.
            if crash and now > begin + SECONDS / 2 and now > last + 1.0:
                crash = False
                self.saxsdog.kill()
                self.saxsdog.start()
            if now > last + KILL_EVERY:
                last = now
                self.kill_a_worker()
            time.sleep(0.05)
        assert detector.returncode == 0
        self.done = json.loads(told.read_text())

    def kill_a_worker(self) -> None:
        try:
            workers = self.saxsdog.workers
            if workers:
                workers[self.killed % len(workers)].kill()
                self.killed += 1
        except psutil.NoSuchProcess:
            pass  # one that just died: the next is due in some seconds

    @property
    def good(self) -> list[Path]:
        return [Path(path) for path, kind in self.done.items() if kind != "truncated"]

    @property
    def bad(self) -> list[str]:
        return [path for path, kind in self.done.items() if kind == "truncated"]

    def settle(self) -> None:
        """Wait until there is nothing to wait for, and then for what should not come."""
        changing = [path for path in self.good if self.done[str(path)] not in ONE_CONTENT]
        self.saxsdog.until(lambda: all(self.results.chi(path).exists() for path in self.good))
        self.saxsdog.until(lambda: all(self.is_current(path) for path in changing))
        self.saxsdog.until(lambda: "queue 0," in self.status())
        time.sleep(4.0)

    def status(self) -> str:
        lines = [line for line in self.saxsdog.log.splitlines() if line.startswith("done ")]
        return lines[-1] if lines else ""

    def expected(self, path: Path) -> list[Curve]:
        """Curves of an image as it is at the end."""
        return self.serial.setdefault(str(path), self.results.serial(path))

    def is_current(self, path: Path) -> bool:
        return np.array_equal(read_chi(self.results.chi(path)).curve.intensity, self.results.serial(path)[0].intensity)

    def targets(self, path: Path) -> list[Path]:
        names = OutputNames()
        return [names.chi(path, position, curve.name) for position, curve in enumerate(self.expected(path))]

    # What must hold

    def check_curves(self) -> None:
        for path in self.good:
            for chi, curve in zip(self.targets(path), self.expected(path), strict=True):
                found = read_chi(chi).curve
                np.testing.assert_array_equal(found.intensity, curve.intensity, err_msg=str(chi))
                np.testing.assert_array_equal(found.sigma, curve.sigma, err_msg=str(chi))
        written = {str(path) for path in self.data.rglob("*.chi")}
        assert written == {str(chi) for path in self.good for chi in self.targets(path)}
        assert self.results.left_over() == []

    def check_events(self, tally: Tally, *, told_bad: bool = True) -> None:
        """Whether each image has the events that its contents ask for."""
        for path, kind in self.done.items():
            reduced, failed = tally.reduced[path], tally.failed[path]
            if kind == "truncated":
                assert (reduced, failed) == (0, int(told_bad)), path
            elif kind in ONE_CONTENT:
                assert (reduced, failed) == (1, 0), (path, kind)
            else:
                # Contents that were seen only in the making may be events too, and fail; not the last.
                assert reduced >= 1, (path, kind)
                assert not tally.latest_failed[path], (path, kind)
            if kind == "overwritten late":
                assert reduced + failed >= 2, path
        assert set(tally.reduced) | set(tally.failed) <= set(self.done)

    def check_list(self, tally: Tally) -> None:
        """Whether each event with curves has its lines in the list."""
        wanted: Counter[str] = Counter()
        for path, number in tally.reduced.items():
            for chi in self.targets(Path(path)):
                wanted[os.path.relpath(chi, self.beamtime)] += number
        assert self.results.listed() == wanted

    def check_summary(self, tally: Tally) -> None:
        reduced, failed = tally.reduced.total(), tally.failed.total()
        last = self.saxsdog.log.splitlines()[-1]
        # An event of a content that was overwritten before it was reduced has no curve, and is no failed image.
        found = _SUMMARY.fullmatch(last)
        assert found is not None, last
        images, done, lost, overwritten = (int(number or 0) for number in found.groups())
        assert (images, done, lost + overwritten) == (reduced + lost, reduced, failed), (last, reduced, failed)

    def check_catalog(self) -> Tally:
        """Whether the catalog has each content of each image once; what it has, in order."""
        folder = self.beamtime / "catalog"
        runs = sorted(open_catalog(folder).values(), key=lambda run: run.metadata["start"]["time"])
        assert all(run.metadata.get("stop") for run in runs)
        raw: dict[str, list[tuple[str, int]]] = {}
        frames: dict[str, list[int]] = defaultdict(list)
        tally = Tally()
        latest: dict[str, Any] = {}
        for run in runs:
            start = run.metadata["start"]
            if "original_run_uid" not in start:
                raw[start["uid"]] = list(_raw_events(run))
                continue
            curves = read_curves(run)
            frames[start["original_run_uid"]] += curves["frame_index"].values.tolist()
            intensities = curves["R0_intensity"].values
            for path, failure, intensity in zip(
                curves["image_path"].values.tolist(), curves["failure"].values.tolist(), intensities, strict=True
            ):
                tally.add(path, failed=failure != "")
                latest[path] = intensity
        close_catalog(folder)
        contents = Counter(content for events in raw.values() for content in events)
        assert [content for content, number in contents.items() if number > 1] == []
        for uid, events in raw.items():
            assert sorted(frames[uid]) == list(range(len(events)))
        assert Counter(path for path, _ in contents) == tally.reduced + tally.failed
        for path in self.good:
            np.testing.assert_array_equal(latest[str(path)], self.expected(path)[0].intensity, err_msg=str(path))
        return tally

    def check_processes(self) -> None:
        left = [process for process in psutil.process_iter() if _is_marked(process, self.mark)]
        _, alive = psutil.wait_procs(left, 10)
        assert alive == []


def _raw_events(run: Any) -> Iterator[tuple[str, int]]:
    if "primary" not in list(run.base):
        return
    node = run.base["primary"].base
    for name in node:
        if name.startswith("internal"):
            table = node[name].read()
            yield from zip(table["image_path"], table["file_stamp"], strict=True)


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get("SAXS_BLUESKY_SOAK") == mark
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SAXS_BLUESKY_SOAK", str(tmp_path))
    yield str(tmp_path)
    for process in psutil.process_iter():
        if _is_marked(process, str(tmp_path)):
            process.kill()


def _told(soak: Soak, tally: Tally) -> None:
    print(  # noqa: T201 - the figures, where somebody asks for them with -s
        f"{len(soak.done)} images, {soak.killed} workers killed; {tally.reduced.total()} events with curves, "
        f"{tally.failed.total()} failed; {soak.results.listed().total()} lines in the list"
    )


def _worker_was_replaced(soak: Soak) -> None:
    assert soak.killed >= SECONDS / KILL_EVERY / 2


@pytest.mark.parametrize(
    "options",
    [("-w",), ("-w", "--poll-only"), ("-w", "--catalog"), ("-w", "--poll-only", "--catalog")],
    ids=["hints", "polling", "hints and catalog", "polling and catalog"],
)
def test_workers_that_are_killed_cost_no_image(empty: Path, mark: str, options: tuple[str, ...]) -> None:
    catalog = "--catalog" in options
    soak = Soak(empty, ("-t", "2", *options, *([str(empty / "catalog")] if catalog else [])), mark)
    soak.saxsdog.start()
    soak.saxsdog.until(lambda: "watching" in soak.saxsdog.log)
    soak.expose()
    soak.settle()
    assert soak.saxsdog.stop() == 1  # some images are truncated
    tally = Tally.of_log(soak.saxsdog.log, soak.data)
    _told(soak, tally)
    soak.check_processes()
    soak.check_curves()
    soak.check_events(tally)
    soak.check_list(tally)
    soak.check_summary(tally)
    if catalog:
        assert soak.check_catalog() == tally
    _worker_was_replaced(soak)


def test_images_that_a_feeder_announces(empty: Path, mark: str) -> None:
    port = free_port()
    catalog = str(empty / "catalog")
    soak = Soak(empty, ("-n", "-t", "2", "-f", f"tcp://127.0.0.1:{port}", "--catalog", catalog), mark)
    soak.saxsdog.start()
    soak.saxsdog.until(lambda: "watching" in soak.saxsdog.log)
    with (empty / "feeder.log").open("w") as log:
        feeder = subprocess.Popen(
            [*command_line("saxsfeeder"), "-p", str(port), "-d", "data"], cwd=empty, stdout=log, stderr=log
        )

    def said() -> str:
        return (empty / "feeder.log").read_text()

    def complained() -> set[str]:
        """What is no image is the feeder's to tell, when it has waited for it long enough."""
        return {line.split(": ")[1] for line in said().splitlines() if "; not announced" in line}

    try:
        soak.saxsdog.until(lambda: "announcing" in said())
        # An announcement that nobody hears is missed: the first images are written until one is heard.
        probes = 0
        deadline = time.monotonic() + PATIENCE
        while not list((empty / "data").glob("work/*.chi")):
            assert time.monotonic() < deadline
            _probe(soak.data, probes)
            probes += 1
            time.sleep(0.5)
        soak.expose()
        soak.settle()
        soak.saxsdog.until(lambda: set(soak.bad) <= complained())
    finally:
        feeder.terminate()
        assert feeder.wait(PATIENCE) == 0
    assert soak.saxsdog.stop() == 0
    tally = Tally.of_log(soak.saxsdog.log, soak.data)
    _told(soak, tally)
    soak.check_processes()
    heard = {path for path in tally.reduced if "/probe/" in path}
    assert len(heard) >= 1
    soak.done |= dict.fromkeys(heard, "renamed")
    soak.check_curves()
    soak.check_events(tally, told_bad=False)
    soak.check_list(tally)
    soak.check_summary(tally)
    assert soak.check_catalog() == tally
    _worker_was_replaced(soak)


def _probe(data: Path, number: int) -> None:
    from saxs_bluesky.reduction import write_frame

    (data / "probe").mkdir(exist_ok=True)
    write_frame(data / "probe" / f"probe_{number}.tif", np.full((60, 80), number + 1))


def test_program_that_is_killed_goes_on_where_it_was(empty: Path, mark: str) -> None:
    soak = Soak(empty, ("-w", "-t", "2", "--catalog", str(empty / "catalog")), mark)
    soak.saxsdog.start()
    soak.saxsdog.until(lambda: "watching" in soak.saxsdog.log)
    soak.expose(crash=True)
    soak.settle()
    soak.saxsdog.stop()
    soak.check_processes()
    soak.check_curves()
    tally = soak.check_catalog()
    _told(soak, tally)
    soak.check_events(tally)
    soak.check_list(tally)
    _worker_was_replaced(soak)
