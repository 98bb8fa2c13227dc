"""The writer to a catalog: a buffer, a journal on disk, and the upload of each run; what is set aside."""

from saxs_bluesky.callbacks.catalog_writer._catalog_writer import CatalogWriter
from saxs_bluesky.callbacks.catalog_writer._counters import CatalogCounters, JournaledRun
from saxs_bluesky.callbacks.catalog_writer._document_lines import CUT_OFF, numbers_of
from saxs_bluesky.callbacks.catalog_writer._journal_folder import Kept, documents_in, exported, kept_in, retry
from saxs_bluesky.callbacks.catalog_writer._refused_documents import when

__all__ = [
    "CUT_OFF",
    "CatalogCounters",
    "CatalogWriter",
    "JournaledRun",
    "Kept",
    "documents_in",
    "exported",
    "kept_in",
    "numbers_of",
    "retry",
    "when",
]
