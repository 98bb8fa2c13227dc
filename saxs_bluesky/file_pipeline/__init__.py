"""From files to curves: a source, the reduction, and sinks for its documents, with a journal that survives a crash."""

from saxs_bluesky.file_pipeline._assembly import (
    PATIENCE,
    FileReduction,
    ReductionOptions,
    SharedResources,
)
from saxs_bluesky.file_pipeline._interrupted_runs import Interrupted
from saxs_bluesky.file_pipeline._pipeline import FilePipeline, Statistics
from saxs_bluesky.file_pipeline._progress_journal import ProgressJournal
from saxs_bluesky.sources import SourceSettings

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
]
