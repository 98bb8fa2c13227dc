"""Bluesky callbacks: consumers of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saxs_bluesky.callbacks.catalog_writer import CUT_OFF, CatalogCounters, CatalogWriter, JournaledRun, numbers_of
from saxs_bluesky.callbacks.network import DocumentProxy, DocumentReceiver, LossDetector, publish
from saxs_bluesky.callbacks.reduction import Reduction, Status
from saxs_bluesky.callbacks.sinks import ChiFiles, CurveList
from saxs_bluesky.documents import ReducedFrame, ReducedRunReader
from saxs_bluesky.support.former_names import former_names

if TYPE_CHECKING:
    from saxs_bluesky.callbacks.live import LiveCurves
    from saxs_bluesky.callbacks.merge import LiveMerge

__all__ = [
    "CUT_OFF",
    "CatalogCounters",
    "CatalogWriter",
    "ChiFiles",
    "CurveList",
    "DocumentProxy",
    "DocumentReceiver",
    "JournaledRun",
    "LiveCurves",
    "LiveMerge",
    "LossDetector",
    "ReducedFrame",
    "ReducedRunReader",
    "Reduction",
    "Status",
    "numbers_of",
    "publish",
]

# Plots bring Matplotlib, and merges pandas, each a third of what commands take to start: only those that need them load
# them.
__getattr__ = former_names(
    __name__,
    {"DocumentGuard": f"{__name__}.LossDetector", "ReducedRuns": f"{__name__}.ReducedRunReader"},
    loaded_late={"LiveCurves": f"{__name__}.live.LiveCurves", "LiveMerge": f"{__name__}.merge.LiveMerge"},
)
