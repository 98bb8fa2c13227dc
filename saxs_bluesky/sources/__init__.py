"""Sources: files on the way to documents.

Each gives the documents of one raw run, whose frames are files: those of a folder, those that come into it, those that
a feeder announces.
"""

from saxs_bluesky.sources._feeder import FeederAnnouncer, FeederCounters, FeederListener, FeederSource
from saxs_bluesky.sources._file_run import Document, FileRun, Named, accepted_in, describe_session
from saxs_bluesky.sources._finders import Candidate, Finder, FolderOnce, FolderWatch
from saxs_bluesky.sources._ready import FoundFile, Readiness
from saxs_bluesky.sources._source import DirectorySource, FileSource, SourceCounters, WatchSource, is_text
from saxs_bluesky.sources._tree import IMAGE_SUFFIXES

__all__ = [
    "IMAGE_SUFFIXES",
    "Candidate",
    "DirectorySource",
    "Document",
    "FeederAnnouncer",
    "FeederCounters",
    "FeederListener",
    "FeederSource",
    "FileRun",
    "FileSource",
    "Finder",
    "FolderOnce",
    "FolderWatch",
    "FoundFile",
    "Named",
    "Readiness",
    "SourceCounters",
    "WatchSource",
    "accepted_in",
    "describe_session",
    "is_text",
]
