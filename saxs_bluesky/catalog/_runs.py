"""Runs of a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def reduced_runs(catalog: Any, raw_uid: str) -> list[Any]:
    """Find the runs that were reduced from a raw run, oldest first; the last one holds curves if any does.

    Those without curves come before the others: runs in which every frame failed, and what other packages made of the
    raw run.

    Parameters
    ----------
    catalog
        As `open_catalog` returns it.
    raw_uid
        ``uid`` in the start document of the raw run.

    Returns
    -------
    Runs of the catalog; none where nothing was reduced.
    """
    from tiled.queries import Key

    runs = catalog.search(Key("original_run_uid") == raw_uid).values()
    return sorted(runs, key=lambda run: (_may_hold_curves(run.metadata), float(run.start["time"])))


def is_ours(start: Mapping[str, Any]) -> bool:
    """Whether a start document is that of a reduced run of this package."""
    return "detector" in start and isinstance(start.get("provenance"), Mapping)


def _may_hold_curves(metadata: Mapping[str, Any]) -> bool:
    stop = metadata.get("stop") or {}
    frames = stop.get("num_events")
    return is_ours(metadata["start"]) and stop.get("exit_status") != "fail" and (frames is None or any(frames.values()))
