"""What the reduction costs a RunEngine, and how fast frames go from documents to the catalog."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import event_model
import psutil
from bluesky import RunEngine
from bluesky.plans import count

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves, reduced_runs
from saxs_bluesky.devices import SimPilatus
from saxs_bluesky.reduction import read_frame
from saxs_bluesky.workers import WorkerPool

EVENTS = 40
ROUNDS = 3
FRAMES_SEEN = 8
SUSTAINED = 2000
WINDOW = 8


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as folder:
        run_engine(Path(folder))
        visibility(Path(folder))
        sustained(Path(folder))


def run_engine(folder: Path) -> None:
    """Time a scan with and without the reduction, in turn."""
    pilatus = SimPilatus(name="pilatus", directory=folder / "frames")
    reduction = Reduction(pilatus.calibration(), [_nothing])
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    in_callback: list[float] = []

    def timed(name: str, doc: dict[str, Any]) -> None:
        start = time.perf_counter()
        reduction(name, doc)
        in_callback.append(time.perf_counter() - start)

    for _ in range(ROUNDS):
        for what, callback in (("without", _nothing), ("with", timed)):
            seconds[what].append(_scan(pilatus, callback) / EVENTS)
            reduction.wait()
    reduction.close()
    print(f"\nOne Pilatus 1M under a RunEngine, {EVENTS} events, {ROUNDS} rounds in turn")
    for what, values in seconds.items():
        print(f"  {what + ' the reduction':58s} {statistics.median(values) * 1000:9.2f} ms an event")
    cost = statistics.mean(in_callback) * len(in_callback) / (ROUNDS * EVENTS)
    print(f"  {'of that in the callback, on the RunEngine thread':58s} {cost * 1000:9.3f} ms an event")
    print(f"  {'longest call of the callback':58s} {max(in_callback) * 1000:9.3f} ms")


def visibility(folder: Path) -> None:
    """Time from a frame's event until its curves can be read from the catalog, while the run goes on."""
    pilatus = SimPilatus(name="pilatus", directory=folder / "visibility")
    _scan(pilatus, _nothing)
    catalog = open_catalog(folder / "catalog")
    writer = CatalogWriter(catalog)
    reduction = Reduction(pilatus.calibration(), [writer])
    documents = _run_of_files(sorted(pilatus.directory.glob("*.tif")), FRAMES_SEEN)
    raw = documents[0][1]["uid"]
    in_catalog, reading = [], []
    for name, doc in documents:
        start = time.perf_counter()
        reduction(name, doc)
        if name == "event":
            # Not by reading: that keeps an embedded server busy, which is to write.
            while writer.counters.written < 2 + len(in_catalog) + 1:
                time.sleep(0.005)
            in_catalog.append(time.perf_counter() - start)
            frames = _stored(catalog, raw)
            reading.append(time.perf_counter() - start - in_catalog[-1])
            if frames != len(in_catalog):
                raise RuntimeError(f"wanted {len(in_catalog)} frames in the catalog, found {frames}")
    reduction.close()
    writer.close()
    print("\nFrom a frame's event to its curves in the catalog, the run going on")
    later = in_catalog[1:]
    print(f"  first {in_catalog[0]:.2f} s, then median {statistics.median(later):.2f} s, longest {max(later):.2f} s")
    print(f"  reading all curves of the run back: median {statistics.median(reading):.2f} s")


def _stored(catalog: Any, raw: str) -> int:
    runs = reduced_runs(catalog, raw)
    return int(read_curves(runs[-1]).sizes["frame"]) if runs and list(runs[-1].base) else 0


def sustained(folder: Path) -> None:
    """Put frames through one worker process and the embedded catalog, as fast as the worker reduces."""
    pilatus = SimPilatus(name="pilatus", directory=folder / "sustained")
    _scan(pilatus, _nothing)
    catalog = open_catalog(folder / "catalog")
    writer = CatalogWriter(catalog)
    process = psutil.Process()
    with WorkerPool(1) as pool:
        reduction = Reduction(pilatus.calibration(), [writer], executor=pool)
        documents = _run_of_files(sorted(pilatus.directory.glob("*.tif")), SUSTAINED)
        samples: list[tuple[int, float, int, int]] = []
        start = time.perf_counter()
        for number, (name, doc) in enumerate(documents):
            while reduction.status.waiting > 2 * WINDOW:
                time.sleep(0.001)
            reduction(name, doc)
            if number % (2 * SUSTAINED // 8) == 0:
                memory = sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
                frames = reduction.status.reduced
                samples.append((frames, memory / 1e6, writer.counters.journaled, reduction.status.waiting))
        reduction.wait()
        seconds = time.perf_counter() - start
        reduction.close()
        stored = read_curves(reduced_runs(catalog, documents[0][1]["uid"])[-1]).sizes["frame"]
    writer.close()
    close_catalog(folder / "catalog")
    print(f"\n{SUSTAINED} frames of 1M through one worker process and the embedded catalog")
    print(f"  {SUSTAINED / seconds:.0f} frames/s; in the catalog: {stored}; failed: {reduction.status.failed}")
    for frames, memory, journaled, waiting in samples:
        print(
            f"  after {frames:5d} frames: {memory:6.0f} MB, {waiting:3d} documents wait, {journaled:4d} for the catalog"
        )


def _run_of_files(paths: list[Path], count: int) -> list[tuple[str, dict[str, Any]]]:
    """Documents of a run whose events refer to these files, those of one scan, in turn."""
    run = event_model.compose_run()
    shape = [1, *read_frame(paths[0]).image.shape]
    keys = {"pilatus_image": {"dtype": "array", "shape": shape, "source": "bench", "external": "FILESTORE:"}}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    documents = [("start", dict(run.start_doc)), ("descriptor", dict(stream.descriptor_doc))]
    stem = paths[0].stem.rpartition("_")[0]
    resource = run.compose_resource(
        spec="AD_TIFF",
        root="/",
        resource_path=str(paths[0].parent).lstrip("/") + "/",
        resource_kwargs={"template": "%s%s_%06d.tif", "filename": stem, "frame_per_point": 1},
    )
    documents.append(("resource", dict(resource.resource_doc)))
    for number in range(count):
        datum = resource.compose_datum(datum_kwargs={"point_number": number % len(paths)})
        event = stream.compose_event(
            data={"pilatus_image": datum["datum_id"]},
            timestamps={"pilatus_image": 0.0},
            filled={"pilatus_image": False},
            validate=False,
        )
        documents += [("datum", dict(datum)), ("event", dict(event))]
    return [*documents, ("stop", dict(run.compose_stop()))]


def _nothing(name: str, doc: dict[str, Any]) -> None:
    del name, doc


def _scan(pilatus: SimPilatus, callback: Callable[[str, dict[str, Any]], None]) -> float:
    engine = RunEngine({})
    engine.subscribe(callback)
    start = time.perf_counter()
    engine(count([pilatus], EVENTS))
    return time.perf_counter() - start
