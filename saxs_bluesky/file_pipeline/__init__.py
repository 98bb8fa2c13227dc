"""From files to curves: a source, the reduction, and sinks for its documents, with a journal that survives a crash."""

from saxs_bluesky.file_pipeline._assembly import PATIENCE, FileReduction, Place, Services, Wishes
from saxs_bluesky.file_pipeline._interrupted_runs import Interrupted, file_of
from saxs_bluesky.file_pipeline._pipeline import FilePipeline, Statistics
from saxs_bluesky.file_pipeline._progress_journal import Progress

__all__ = [
    "PATIENCE",
    "FilePipeline",
    "FileReduction",
    "Interrupted",
    "Place",
    "Progress",
    "Services",
    "Statistics",
    "Wishes",
    "file_of",
]
