"""Timing and memory of functions that are compared."""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]


def times(works: dict[str, Work], repeats: int) -> dict[str, float]:
    """Median seconds of each function, run in turn so that a slow moment of the machine hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory(work: Work) -> float:
    """Largest memory that a function holds at a time, MB."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def report(title: str, works: dict[str, Work], repeats: int, *, memory: bool = False) -> None:
    """Print a line for each function: milliseconds, and times what the first takes."""
    print(f"\n{title}")
    found = times(works, repeats)
    first = next(iter(found.values()))
    for name, seconds in found.items():
        peak = f"  peak {peak_memory(works[name]):6.0f} MB" if memory else ""
        print(f"  {name:58s} {seconds * 1000:9.2f} ms  x {seconds / first:5.2f}{peak}")


def ram_disk() -> str | None:
    """Folder that is in memory; None: there is none, and files lie on a disk."""
    return "/dev/shm" if sys.platform == "linux" else None
