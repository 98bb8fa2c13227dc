"""Files to ``.chi`` files: how many a second, how soon after they are closed, and with how much memory."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks._measure import ram_disk
from benchmarks.merge import merge_job
from saxs_bluesky.callbacks import CurveList, Reduction
from saxs_bluesky.file_pipeline import FilePipeline, ProgressJournal
from saxs_bluesky.frame_job import CurveFiles, OutputNames
from saxs_bluesky.merge import MergeJob, MergeProcess
from saxs_bluesky.reduction import Calibration, Reducer
from saxs_bluesky.simulation import (
    SilverBehenate,
    SimulatedPilatus,
    simulated_calibration,
    write_mask,
    write_simulated_frame,
)
from saxs_bluesky.sources import DirectorySource, FileSource, WatchSource
from saxs_bluesky.workers import WorkerPool

WORKERS = 2
FRAMES = 100  # different ones; each has many names
FILES = 1200
ROUNDS = 3
LATENCY_FILES, LATENCY_RATE = 500, 50.0
MEMORY_FILES = 20_000


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory(dir=ram_disk()) as ram, tempfile.TemporaryDirectory() as disk:
        calibration = _write_frames(Path(ram))
        throughput(calibration, Path(ram), Path(disk))
        beside_a_merge(calibration, Path(ram), Path(disk))
        latency(calibration, Path(ram), Path(disk))
        memory(calibration, Path(ram), Path(disk))


def throughput(calibration: Calibration, ram: Path, disk: Path) -> None:
    """Reduce a folder of frames on a RAM disk to curves on a disk, in turn."""
    folder = _named(ram, FILES, "throughput")
    works: dict[str, Callable[[int], float]] = {
        "deployed path: PIL, one scipy product, savetxt; 2 processes": lambda n: _deployed(folder, disk / str(n), 1),
        "the same with a product for the errors; 2 processes": lambda n: _deployed(folder, disk / str(n), 2),
        "ours, in one process": lambda n: _ours(calibration, folder, disk / str(n), 0),
        "ours, one worker process": lambda n: _ours(calibration, folder, disk / str(n), 1),
        "ours, two worker processes": lambda n: _ours(calibration, folder, disk / str(n), WORKERS),
        "ours, one worker process, all on one core": lambda n: _on_one_core(
            lambda: _ours(calibration, folder, disk / str(n), 1)
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    number = 0
    for _ in range(ROUNDS):
        for name, work in works.items():
            number += 1
            # Nothing is removed in between: for minutes, ext4 passes over the inodes of removed files one by one.
            rates[name].append(work(number))
    found = {name: statistics.median(values) for name, values in rates.items()}
    deployed, _, alone, one, two, on_one_core = found.values()
    print(f"\n{FILES} Pilatus 1M frames on a RAM disk to .chi on a disk, errors included, {ROUNDS} rounds in turn")
    for name, rate in found.items():
        print(f"  {name:62s} {rate:7.0f} files/s")
    print(
        f"  two workers: {two / deployed:.2f} times the deployed path, {two / alone:.2f} times one process, "
        f"{two / one:.2f} times one worker, {two / on_one_core:.2f} times one core"
    )


def beside_a_merge(calibration: Calibration, ram: Path, disk: Path) -> None:
    """Reduce a folder with and without merges that go on at the same time, in turn."""
    folder = _named(ram, FILES, "beside")
    (ram / "merge").mkdir()
    job = replace(merge_job(ram / "merge", 20_000, 86_400), keep_table=False)
    rates: dict[str, list[float]] = {"alone": [], "while merges go on": []}
    for number in range(ROUNDS):
        rates["alone"].append(_ours(calibration, folder, disk / f"alone{number}", WORKERS))
        with _merging(job):
            rates["while merges go on"].append(_ours(calibration, folder, disk / f"beside{number}", WORKERS))
    print(f"\n{FILES} frames, two worker processes, {ROUNDS} rounds in turn, beside a merge of 20000 images")
    alone = statistics.median(rates["alone"])
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f"  {name:62s} {rate:7.0f} files/s  x {rate / alone:.2f}")


@contextmanager
def _merging(job: MergeJob) -> Iterator[None]:
    """Merge again and again, as a server does for its clients."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            process = MergeProcess(job, lambda _: None, lambda _: None)
            while not process.join(0.1):
                if ended.is_set():
                    process.cancel()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _on_one_core(work: Callable[[], float]) -> float:
    """Let this process and those that it starts run on one core: what more workers gain shows against that.

    One worker by itself keeps more than a core busy, since the main process finds and delivers files meanwhile.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return work()
    finally:
        os.sched_setaffinity(0, cores)


def _ours(calibration: Calibration, folder: Path, out: Path, workers: int) -> float:
    """Files in a second, from the first event to the last, operators and compiled code at hand."""
    stamps: list[float] = []
    with _pipeline(
        calibration, DirectorySource(folder), out, workers, lambda *_: stamps.append(time.perf_counter())
    ) as run:
        run()
    skipped = len(stamps) // 6  # workers that start
    return (len(stamps) - 1 - skipped) / (stamps[-1] - stamps[skipped])


@contextmanager
def _pipeline(
    calibration: Calibration,
    source: FileSource,
    out: Path,
    workers: int,
    sink: Callable[[str, dict[str, Any]], Any],
) -> Iterator[Callable[[], None]]:
    """All that ``saxsdog`` puts together but its terminal."""

    def events(name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            if doc["data"]["failure"] or doc["data"]["file_failure"]:
                raise RuntimeError(doc["data"]["failure"] or doc["data"]["file_failure"])
            sink(name, doc)

    pool = WorkerPool(workers) if workers else None
    reduction = Reduction(calibration, [events], executor=pool, files=CurveFiles(OutputNames(folder=out)))
    (out / "list").mkdir(parents=True)
    progress = ProgressJournal(out / "journal")
    pipeline = FilePipeline(source, reduction, curves=CurveList(out / "list", keep=False), progress=progress)
    try:
        yield pipeline.run
    finally:
        reduction.close()
        progress.close()
        if pool is not None:
            pool.shutdown()
        if reduction.status.sink_errors:
            raise RuntimeError("a frame failed")


_matrices: dict[str, Any] = {}


def _deployed(folder: Path, out: Path, products: int) -> float:
    out.mkdir(parents=True)
    paths = sorted(folder.glob("*.tif"))
    work = [(str(path), str(out / f"{path.stem}.chi"), products) for path in paths]
    skipped = len(work) // 6
    with multiprocessing.get_context("spawn").Pool(WORKERS, _prepare, (str(folder.parent / "cal.json"),)) as pool:
        pool.map(_deployed_frame, work[:skipped], chunksize=4)
        start = time.perf_counter()
        pool.map(_deployed_frame, work[skipped:], chunksize=4)
        return (len(work) - skipped) / (time.perf_counter() - start)


def _prepare(calibration: str) -> None:
    reducer = Reducer(Calibration.from_file(calibration))
    integrator: Any = reducer.integrators[0]
    counts = integrator.operator.counts.astype(np.float64)
    area = counts @ np.ones(counts.shape[1])
    _matrices.update(axis=integrator.axis, counts=counts, squares=counts.multiply(counts).tocsr(), area=area)


def _deployed_frame(work: tuple[str, str, int]) -> None:
    source, target, products = work
    image = np.asarray(Image.open(source)).ravel()
    with np.errstate(all="ignore"):
        intensity = (_matrices["counts"] @ image) / _matrices["area"]
        error = np.sqrt(np.abs(intensity))
        if products > 1:
            error = np.sqrt(_matrices["squares"] @ image) / _matrices["area"]
    np.savetxt(target, np.column_stack([_matrices["axis"], intensity, error]))


def latency(calibration: Calibration, ram: Path, disk: Path) -> None:
    """Time from a file's close to its reduced event, watched with and without hints."""
    print(
        f"\nFrom a file's close to its reduced event, {LATENCY_FILES} files at {LATENCY_RATE:.0f} files/s, "
        f"{WORKERS} workers"
    )
    for name, use_inotify in (("watch with hints", True), ("polling only", False)):
        folder = ram / name
        folder.mkdir()
        done: dict[str, float] = {}
        source = WatchSource(folder, use_inotify=use_inotify)

        def arrived(_: str, doc: dict[str, Any], done: dict[str, float] = done) -> None:
            done[Path(doc["data"]["image_path"]).name] = time.time()

        with _pipeline(calibration, source, disk / name, WORKERS, arrived) as run:
            working = threading.Thread(target=run)
            working.start()
            closed = _write_at_rate(ram, folder, warm_up=40, done=done)
            while len(done) < LATENCY_FILES + 40:
                time.sleep(0.01)
            source.stop()
            working.join()
        delays = sorted(done[file] - when for file, when in closed.items())
        print(
            f"  {name:30s} median {statistics.median(delays):.3f} s, 99 % {delays[int(0.99 * len(delays))]:.3f} s, "
            f"longest {delays[-1]:.3f} s"
        )


def _write_at_rate(ram: Path, folder: Path, warm_up: int, done: dict[str, float]) -> dict[str, float]:
    """Copy frames at a rate, in another process; return when each was closed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    frames = sorted(str(path) for path in (ram / "frames").glob("*.tif"))
    for number in range(warm_up):
        shutil.copy(frames[number % len(frames)], folder / f"warm_{number}.tif")
    while len(done) < warm_up:
        time.sleep(0.01)
    writer = context.Process(target=_copy_at_rate, args=(frames, str(folder), sender))
    writer.start()
    closed: dict[str, float] = receiver.recv()
    writer.join()
    return closed


def _copy_at_rate(frames: list[str], folder: str, sender: Any) -> None:
    contents = [Path(frame).read_bytes() for frame in frames[:20]]
    closed = {}
    start = time.time()
    for number in range(LATENCY_FILES):
        time.sleep(max(0.0, start + number / LATENCY_RATE - time.time()))
        path = Path(folder, f"live_{number:05d}.tif")
        path.write_bytes(contents[number % len(contents)])
        closed[path.name] = time.time()
    sender.send(closed)


def memory(calibration: Calibration, ram: Path, disk: Path) -> None:
    """Memory of the program and its workers while many files pass."""
    folder = _named(ram, MEMORY_FILES, "memory")
    process = psutil.Process()
    samples: list[tuple[int, float, float, int]] = []
    number = 0

    def sample(*_: Any) -> None:
        nonlocal number
        number += 1
        if number % (MEMORY_FILES // 8) == 0:
            workers = sum(child.memory_info().rss for child in process.children())
            samples.append((number, process.memory_info().rss / 1e6, workers / 1e6, process.num_fds()))

    source = WatchSource(folder)
    with _pipeline(calibration, source, disk / "memory", WORKERS, sample) as run:
        working = threading.Thread(target=run)
        working.start()
        while number < MEMORY_FILES:
            time.sleep(0.1)
        source.stop()
        working.join()
    print(f"\n{MEMORY_FILES} files through the watch, {WORKERS} workers")
    for count, own, workers, handles in samples:
        print(f"  after {count:6d} files: {own:6.0f} MB, workers {workers:6.0f} MB, {handles} open files")


def _write_frames(ram: Path) -> Calibration:
    """Different frames of a simulated detector, with the calibration and mask of the program's one curve."""
    document = simulated_calibration(mask_file="mask.tif")
    document["Masks"] = [{"MaskFile": "mask.tif", "Oversampling": 3, "qStop": 5.0}]
    document["Slices"] = []
    import json

    (ram / "cal.json").write_text(json.dumps(document))
    (ram / "frames").mkdir()
    detector = SimulatedPilatus(Calibration.from_dict(document, folder=ram).geometry)
    write_mask(ram / "mask.tif", detector.mask)
    rate = detector.rate(SilverBehenate())
    rng = np.random.default_rng(1)
    for number in range(FRAMES):
        write_simulated_frame(ram / "frames" / f"{number:03d}.tif", detector, rate, 1.0, rng)
    return Calibration.from_file(ram / "cal.json")


def _named(ram: Path, files: int, name: str) -> Path:
    """Folder of many names for the frames."""
    folder = ram / name
    folder.mkdir()
    frames = sorted((ram / "frames").glob("*.tif"))
    for number in range(files):
        os.link(frames[number % len(frames)], folder / f"f_{number:06d}.tif")
    return folder


if __name__ == "__main__":
    main()
