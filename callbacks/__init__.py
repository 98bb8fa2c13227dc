"""Bluesky callbacks: consumers of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saxs_bluesky.callbacks._catalog_writer import CatalogWriter
from saxs_bluesky.callbacks._chi_files import ChiFiles
from saxs_bluesky.callbacks._curve_list import CurveList
from saxs_bluesky.callbacks._document_guard import DocumentGuard
from saxs_bluesky.callbacks._document_receiver import DocumentReceiver
from saxs_bluesky.callbacks._documents_0mq import DocumentProxy, publish
from saxs_bluesky.callbacks._reduced_frames import ReducedFrame, ReducedRuns
from saxs_bluesky.callbacks._reduction import Reduction, Status
from saxs_bluesky.callbacks._run_file import CUT_OFF, numbers_of
from saxs_bluesky.callbacks._writer_state import CatalogCounters, JournaledRun

if TYPE_CHECKING:
    from saxs_bluesky.callbacks._live_curves import LiveCurves

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
    from saxs_bluesky.callbacks._live_curves import LiveCurves

    return LiveCurves
