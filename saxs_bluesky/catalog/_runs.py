"""Runs of a catalog."""

from __future__ import annotations

from typing import Any


def reduced_runs(catalog: Any, raw_uid: str) -> list[Any]:
    """Find the runs that were reduced from a raw run, oldest first."""
    from tiled.queries import Key

    runs = catalog.search(Key("original_run_uid") == raw_uid).values()
    return sorted(runs, key=lambda run: float(run.start["time"]))
