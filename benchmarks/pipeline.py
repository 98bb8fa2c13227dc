"""What the reduction costs a RunEngine, and how fast frames go from documents to the catalog."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from bluesky.plans import count

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.devices import SimPilatus

EVENTS = 40
ROUNDS = 3


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as folder:
        run_engine(Path(folder))


def run_engine(folder: Path) -> None:
    """Time a scan with and without the reduction, in turn."""
    pilatus = SimPilatus(name="pilatus", directory=folder / "frames")
    reduction = Reduction(pilatus.calibration(), [lambda name, doc: None])
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


def _nothing(name: str, doc: dict[str, Any]) -> None:
    del name, doc


def _scan(pilatus: SimPilatus, callback: Callable[[str, dict[str, Any]], None]) -> float:
    engine = RunEngine({})
    engine.subscribe(callback)
    start = time.perf_counter()
    engine(count([pilatus], EVENTS))
    return time.perf_counter() - start
