"""From files to curves: a source, the reduction, and sinks for its documents, with a journal that survives a crash."""

from saxs_bluesky.file_pipeline._assembly import (
    PATIENCE,
    FileReduction,
    ReductionOptions,
    SharedResources,
    SourceSettings,
)
from saxs_bluesky.file_pipeline._interrupted_runs import Interrupted, file_of
from saxs_bluesky.file_pipeline._pipeline import FilePipeline, Statistics
from saxs_bluesky.file_pipeline._progress_journal import ProgressJournal

__all__ = [
    "PATIENCE",
    "FilePipeline",
    "FileReduction",
    "Interrupted",
    "ProgressJournal",
    "ReductionOptions",
    "SharedResources",
    "SourceSettings",
    "Statistics",
    "file_of",
]
