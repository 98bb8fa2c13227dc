"""Sources: files on the way to documents.

Each gives the documents of one raw run, whose frames are files: those of a folder, those that come into it, those that
a feeder announces.
"""

from saxs_bluesky.documents import Document, NamedDocument
from saxs_bluesky.sources._feeder import FeederAnnouncer, FeederCounters, FeederListener, FeederSource
from saxs_bluesky.sources._finders import Candidate, Finder, FolderListing, FolderWatch
from saxs_bluesky.sources._folder_scanner import IMAGE_SUFFIXES
from saxs_bluesky.sources._raw_run_composer import (
    RawRunComposer,
    accepted_in,
    describe_session,
)
from saxs_bluesky.sources._readiness import FoundFile, Readiness
from saxs_bluesky.sources._source import DirectorySource, FileSource, SourceCounters, WatchSource, is_text

__all__ = [
    "IMAGE_SUFFIXES",
    "Candidate",
    "DirectorySource",
    "Document",
    "FeederAnnouncer",
    "FeederCounters",
    "FeederListener",
    "FeederSource",
    "FileSource",
    "Finder",
    "FolderListing",
    "FolderWatch",
    "FoundFile",
    "NamedDocument",
    "RawRunComposer",
    "Readiness",
    "SourceCounters",
    "WatchSource",
    "accepted_in",
    "describe_session",
    "is_text",
]
