"""Bluesky callbacks: consumers of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saxs_bluesky.callbacks.catalog_writer import CUT_OFF, CatalogCounters, CatalogWriter, JournaledRun, numbers_of
from saxs_bluesky.callbacks.network import DocumentGuard, DocumentProxy, DocumentReceiver, publish
from saxs_bluesky.callbacks.reduction import Reduction, Status
from saxs_bluesky.callbacks.sinks import ChiFiles, CurveList
from saxs_bluesky.documents import ReducedFrame, ReducedRuns

if TYPE_CHECKING:
    from saxs_bluesky.callbacks.live import LiveCurves

__all__ = [
    "CUT_OFF",
    "CatalogCounters",
    "CatalogWriter",
    "ChiFiles",
    "CurveList",
    "DocumentGuard",
    "DocumentProxy",
    "DocumentReceiver",
    "JournaledRun",
    "LiveCurves",
    "ReducedFrame",
    "ReducedRuns",
    "Reduction",
    "Status",
    "numbers_of",
    "publish",
]


def __getattr__(name: str) -> Any:
    # Pictures bring matplotlib, a third of what commands take to start: only those that draw load it.
    if name != "LiveCurves":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from saxs_bluesky.callbacks.live import LiveCurves

    return LiveCurves
