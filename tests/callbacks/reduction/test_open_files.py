"""HDF5 files of which nothing can be read before they are closed: waited for, and no other frame waits with them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.devices import SimPilatus
from saxs_bluesky.reduction import Calibration, write_frame
from saxs_bluesky.simulation import simulated_calibration
from saxs_bluesky.workers import WorkerPool
from tests.helpers.calibrations import small_document
from tests.helpers.reducing import Make, assert_curves, events_of
from tests.helpers.waiting import PATIENCE, until

# Writes the frames of a .npy file, one for each line of its input, and closes at the end of it.
WRITER = """
import sys, h5py, numpy as np
path, libver, images = sys.argv[1], sys.argv[2], np.load(sys.argv[3])
with h5py.File(path, "w", libver=libver) as file:
    data = file.create_dataset("entry/data/data", (0, 60, 80), "i4", maxshape=(None, 60, 80), chunks=(1, 60, 80))
    for number, line in enumerate(sys.stdin):
        data.resize(number + 1, axis=0)
        data[number] = images[number]
        print(number, flush=True)
print("closed", flush=True)
"""

AXIS_WRITER = """
import sys, h5py
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    file["data"] = [0.5, 1.5]
    print("written", flush=True)
    sys.stdin.read()
"""


class Writer:
    """A program that writes an HDF5 file without SWMR."""

    def __init__(self, path: Path, images: np.ndarray, libver: str = "latest") -> None:
        np.save(path.with_suffix(".npy"), images)
        command = [sys.executable, "-c", WRITER, str(path), libver, str(path.with_suffix(".npy"))]
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def write(self, number: int) -> None:
        self.stdin.write("\n")
        self.stdin.flush()
        assert self.stdout.readline() == f"{number}\n"

    def close(self) -> None:
        self.stdin.close()
        assert self.stdout.readline() == "closed\n"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()


@pytest.fixture
def writer() -> Iterator[Callable[..., Writer]]:
    made: list[Writer] = []

    def make(*arguments: Any, **keywords: Any) -> Writer:
        made.append(Writer(*arguments, **keywords))
        return made[-1]

    yield make
    for one in made:
        one.end()


KEY = {"dtype": "array", "shape": [1, 60, 80], "source": "test", "external": "FILESTORE:"}


class Scan:
    """Documents of a run in which an HDF5 file grows, and of a second detector that writes TIFF files."""

    def __init__(self, reduction: Reduction, path: Path) -> None:
        self.reduction = reduction
        self.run = event_model.compose_run()
        self.stream = self.run.compose_descriptor(name="primary", data_keys={"slow": KEY, "fast": KEY})
        common = {"root": "/", "resource_path": str(path).lstrip("/")}
        self.hdf5 = self.run.compose_resource(spec="AD_HDF5", resource_kwargs={"frame_per_point": 1}, **common)
        tiff = {"template": "%s%s_%06d.tif", "filename": "x", "frame_per_point": 1}
        common["resource_path"] = f"{common['resource_path'].rpartition('/')[0]}/"
        self.tiff = self.run.compose_resource(spec="AD_TIFF", resource_kwargs=tiff, **common)
        self.folder = path.parent
        reduction("start", dict(self.run.start_doc))
        reduction("descriptor", dict(self.stream.descriptor_doc))
        for resource in (self.hdf5, self.tiff):
            reduction("resource", dict(resource.resource_doc))

    def point(self, number: int, fast: np.ndarray) -> None:
        write_frame(self.folder / f"x_{number:06d}.tif", fast)
        datums = [resource.compose_datum(datum_kwargs={"point_number": number}) for resource in (self.hdf5, self.tiff)]
        for datum in datums:
            self.reduction("datum", dict(datum))
        data = {"slow": datums[0]["datum_id"], "fast": datums[1]["datum_id"]}
        event = self.stream.compose_event(
            data=data, timestamps=dict.fromkeys(data, time.time()), filled=dict.fromkeys(data, False)
        )
        self.reduction("event", dict(event))

    def stop(self) -> None:
        self.reduction("stop", dict(self.run.compose_stop()))


@pytest.mark.parametrize(("libver", "by_workers"), [("latest", False), ("earliest", False), ("v110", True)])
def test_frames_wait_until_the_file_is_closed_and_the_other_detector_goes_on(
    reductions: Make,
    writer: Callable[..., Writer],
    tmp_path: Path,
    rng: np.random.Generator,
    libver: str,
    by_workers: bool,
) -> None:
    calibration = Calibration.from_dict(small_document())
    slow, fast = rng.poisson(10, (2, 6, 60, 80)).astype("i4")
    # A patience that is over long before the file is closed.
    executor = WorkerPool(2) if by_workers else None
    reduction, found = reductions({"slow": calibration, "fast": calibration}, patience=0.2, executor=executor)
    program = writer(tmp_path / "a.h5", slow, libver)
    scan = Scan(reduction, tmp_path / "a.h5")
    for number in range(6):
        program.write(number)
        scan.point(number, fast[number])
        # Before the end of the run, and though the frames of the other one before it cannot be read.
        until(lambda number=number: len(events_of(found, "fast")) == number + 1)
    time.sleep(0.5)
    assert events_of(found, "slow") == []
    assert reduction.status.failed == 0
    assert reduction.status.waiting == 6
    assert reduction.status.lag > 0.5
    program.close()
    # The file can be read now, and the run goes on.
    until(lambda: len(events_of(found, "slow")) == 6)
    assert reduction.wait(PATIENCE)
    scan.stop()
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found, "slow"), slow, calibration)
    assert_curves(events_of(found, "fast"), fast, calibration)
    stops = [doc for name, doc in found if name == "stop"]
    assert [(stop["exit_status"], stop["num_events"]) for stop in stops] == [("success", {"primary": 6})] * 2
    if executor is not None:
        executor.shutdown()


def test_file_that_is_closed_after_the_end_of_its_run(
    reductions: Make, writer: Callable[..., Writer], tmp_path: Path, rng: np.random.Generator
) -> None:
    calibration = Calibration.from_dict(small_document())
    slow, fast = rng.poisson(10, (2, 3, 60, 80)).astype("i4")
    reduction, found = reductions({"slow": calibration, "fast": calibration}, patience=PATIENCE)
    program = writer(tmp_path / "a.h5", slow)
    scan = Scan(reduction, tmp_path / "a.h5")
    for number in range(3):
        program.write(number)
        scan.point(number, fast[number])
    scan.stop()
    other = Scan(reduction, tmp_path / "other" / "b.h5")  # of another run, meanwhile
    (tmp_path / "other").mkdir()
    with h5py.File(tmp_path / "other" / "b.h5", "w") as file:
        file["entry/data/data"] = fast
    other.point(0, slow[0])
    other.stop()
    until(lambda: len([name for name, _ in found if name == "stop"]) == 2)
    assert len(events_of(found, "slow")) == 1
    program.close()
    assert reduction.wait(PATIENCE)
    assert [len(events_of(found, name)) for name in ("slow", "fast")] == [4, 4]
    assert_curves(events_of(found, "slow")[1:], slow, calibration)
    names = [name for name, _ in found if name in ("event", "stop")]
    assert names[-1] == "stop"
    assert names.count("stop") == 4


def test_file_that_is_never_closed_is_told_after_the_run(
    reductions: Make, writer: Callable[..., Writer], tmp_path: Path, rng: np.random.Generator
) -> None:
    calibration = Calibration.from_dict(small_document())
    slow, fast = rng.poisson(10, (2, 3, 60, 80)).astype("i4")
    reduction, found = reductions({"slow": calibration, "fast": calibration}, patience=0.3)
    program = writer(tmp_path / "a.h5", slow)
    scan = Scan(reduction, tmp_path / "a.h5")
    for number in range(3):
        program.write(number)
        scan.point(number, fast[number])
    program.process.kill()  # it leaves the file marked as open
    program.process.wait()
    scan.stop()
    assert reduction.wait(PATIENCE)
    failures = [event["data"]["failure"] for event in events_of(found, "slow")]
    assert len(failures) == 3
    for failure in failures:
        assert failure.startswith(f"{tmp_path}/a.h5: wanted a file that is closed or written in SWMR mode, found one")
        assert "h5clear -s" in failure
        assert failure.endswith("it was waited for until 0.3 s after the end of the run")
    assert_curves(events_of(found, "fast"), fast, calibration)
    assert reduction.status.failed == 3
    reasons = [doc["reason"] for name, doc in found if name == "stop"]
    assert "3 of 3 frames failed, each says why" in reasons


@pytest.mark.parametrize("by", ["close", "finish", "abandon", "leave"])
def test_reduction_that_ends_while_frames_wait(
    reductions: Make,
    writer: Callable[..., Writer],
    tmp_path: Path,
    rng: np.random.Generator,
    caplog: pytest.LogCaptureFixture,
    by: str,
) -> None:
    calibration = Calibration.from_dict(small_document())
    slow, fast = rng.poisson(10, (2, 2, 60, 80)).astype("i4")
    patience = PATIENCE if by == "leave" else 0.3
    reduction, found = reductions({"slow": calibration, "fast": calibration}, patience=patience)
    program = writer(tmp_path / "a.h5", slow)
    scan = Scan(reduction, tmp_path / "a.h5")
    for number in range(2):
        program.write(number)
        scan.point(number, fast[number])
    until(lambda: len(events_of(found, "fast")) == 2)
    threads = list(reduction._threads)
    match by:
        case "abandon":
            reduction.abandon()
        case "leave":  # the end of a program
            reduction.leave(0.0, time.monotonic() + 0.1)
        case "close":
            assert reduction.close(PATIENCE)
        case "finish":
            reduction.finish(scan.run.start_doc["uid"])
            assert reduction.wait(PATIENCE)
    assert len(events_of(found, "slow")) == (2 if by in ("close", "finish") else 0)
    if by == "leave":
        assert "the program ends, and 2 frames and 0 documents are not reduced any more" in caplog.text
    if by != "finish":
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.mark.parametrize("patience", [0.3, 10.0])
def test_frames_of_the_simulated_pilatus_are_live(reductions: Make, tmp_path: Path, patience: float) -> None:
    calibration = Calibration.from_dict(simulated_calibration("100K"))
    reduction, found = reductions(calibration, patience=patience)
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", file_format="hdf5", real_time=False)
    before_the_stop: list[int] = []

    def look(name: str, doc: Any) -> None:
        if name == "event":
            until(lambda: len(events_of(found)) == doc["seq_num"])
            before_the_stop.append(len(events_of(found)))

    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(reduction)
    engine.subscribe(look)
    engine(count([pilatus], 7))
    assert before_the_stop == [1, 2, 3, 4, 5, 6, 7]
    assert reduction.wait(PATIENCE)
    (path,) = tmp_path.glob("*.h5")
    with h5py.File(path) as file:
        assert_curves(events_of(found), file["entry/data/data"][()], calibration)


def test_frames_of_a_detector_of_ophyd_async_are_live(reductions: Make, tmp_path: Path) -> None:
    document = small_document()
    document["Geometry"] |= {"Imagesize": [240, 320], "BeamCenter": [100.5, 150.2]}
    calibration = Calibration.from_dict(document)
    reduction, found = reductions(calibration, patience=0.3)
    engine = RunEngine({}, call_returns_result=False)
    with init_devices():
        blob = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), name="blob")
    counts: list[int] = []

    @bpp.stage_decorator([blob])
    @bpp.run_decorator()
    def plan() -> Any:
        for number in range(5):
            yield from bps.trigger_and_read([blob])
            for _ in range(int(PATIENCE / 0.05)):  # the event loop must go on
                if len(events_of(found)) == number + 1:
                    break
                yield from bps.sleep(0.05)
            counts.append(len(events_of(found)))

    engine.subscribe(reduction)
    engine(plan())
    assert counts == [1, 2, 3, 4, 5]
    assert reduction.wait(PATIENCE)
    (path,) = tmp_path.glob("*.h5")
    with h5py.File(path) as file:
        assert_curves(events_of(found), file["entry/data/data"][()], calibration)


def test_axis_in_a_file_that_is_open_is_waited_for_too(
    reductions: Make, writer: Callable[..., Writer], tmp_path: Path, rng: np.random.Generator
) -> None:
    calibration = Calibration.from_dict(small_document())
    images = rng.poisson(10, (2, 60, 80)).astype("i4")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["data"] = images
    angles = subprocess.Popen(
        [sys.executable, "-c", AXIS_WRITER, str(tmp_path / "axis.h5")],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert angles.stdout is not None
    try:
        assert angles.stdout.readline() == "written\n"
        reduction, found = reductions(calibration, patience=0.2)
        run = event_model.compose_run(metadata={"hints": {"dimensions": [(["angle"], "primary")]}})
        keys = {
            "camera": KEY | {"external": "STREAM:"},
            "angle": {"dtype": "number", "shape": [1], "source": "test", "external": "STREAM:"},
        }
        stream = run.compose_descriptor(name="primary", data_keys=keys)
        reduction("start", dict(run.start_doc))
        reduction("descriptor", dict(stream.descriptor_doc))
        for key, name in (("camera", "images.h5"), ("angle", "axis.h5")):
            resource = run.compose_stream_resource(
                mimetype="application/x-hdf5",
                uri=f"file://localhost{tmp_path}/{name}",
                data_key=key,
                parameters={"dataset": "data"},
            )
            reduction("stream_resource", dict(resource.stream_resource_doc))
            ranges = ({"start": 0, "stop": 2}, {"start": 1, "stop": 3})
            reduction("stream_datum", dict(resource.compose_stream_datum(*ranges, stream.descriptor_doc)))
        time.sleep(0.6)
        assert events_of(found) == []
        angles.communicate()
        assert reduction.wait(PATIENCE)
        assert_curves(events_of(found), images, calibration)
        assert [event["data"]["angle"] for event in events_of(found)] == [0.5, 1.5]
    finally:
        angles.kill()
        angles.communicate()
