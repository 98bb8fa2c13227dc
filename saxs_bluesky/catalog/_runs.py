"""Runs of a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saxs_bluesky.documents import is_merged
from saxs_bluesky.errors import CatalogError


def raw_run(catalog: Any, uid: str) -> Any:
    """Find a raw run.

    Raises
    ------
    CatalogError
        There is no such run, or it is the result of an analysis.
    """
    try:
        raw = catalog[uid]
    except KeyError as error:
        raise CatalogError(f"wanted run {uid}, found none of that uid in the catalog") from error
    if is_merged(raw.start):
        raise CatalogError(f"run {uid}: wanted a raw run, found a merged one")
    if "original_run_uid" in raw.start:
        raise CatalogError(f"run {uid}: wanted a raw run, found one reduced from {raw.start['original_run_uid']}")
    return raw


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
    runs = [run for run in _runs_of(catalog, raw_uid) if not is_merged(run.start)]
    return sorted(runs, key=lambda run: (_may_hold_curves(run.metadata), float(run.start["time"])))


def merged_runs(catalog: Any, raw_uid: str) -> list[Any]:
    """Find the runs in which the images of a raw run are merged with what was logged, oldest first.

    Parameters
    ----------
    catalog
        As `open_catalog` returns it.
    raw_uid
        ``uid`` in the start document of the raw run.

    Returns
    -------
    Runs of the catalog; none where nothing was merged.
    """
    runs = [run for run in _runs_of(catalog, raw_uid) if is_merged(run.start)]
    return sorted(runs, key=lambda run: float(run.start["time"]))


def _runs_of(catalog: Any, raw_uid: str) -> list[Any]:
    from tiled.queries import Key

    return list(catalog.search(Key("original_run_uid") == raw_uid).values())


def is_ours(start: Mapping[str, Any]) -> bool:
    """True if a start document is that of a reduced run of this package."""
    return "detector" in start and isinstance(start.get("provenance"), Mapping)


def _may_hold_curves(metadata: Mapping[str, Any]) -> bool:
    stop = metadata.get("stop") or {}
    frames = stop.get("num_events")
    return is_ours(metadata["start"]) and stop.get("exit_status") != "fail" and (frames is None or any(frames.values()))
