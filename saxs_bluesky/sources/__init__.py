"""Sources: files on the way to documents.

Each gives the documents of one raw run, whose frames are files: those of a folder, those that come into it, those that
a feeder announces.
"""

from saxs_bluesky.documents import Document, NamedDocument
from saxs_bluesky.sources._feeder_announcer import FeederAnnouncer
from saxs_bluesky.sources._feeder_listener import FeederCounters, FeederListener
from saxs_bluesky.sources._finders import Finder, FolderListing, FolderWatch
from saxs_bluesky.sources._folder_scanner import IMAGE_SUFFIXES
from saxs_bluesky.sources._path_text import is_text
from saxs_bluesky.sources._raw_run_composer import RawRunComposer, accepted_in, describe_session
from saxs_bluesky.sources._readiness import FoundFile, Readiness
from saxs_bluesky.sources._settings import SourceSettings
from saxs_bluesky.sources._source import FileSource, SourceCounters
from saxs_bluesky.sources._source_kinds import DirectorySource, FeederSource, WatchSource, file_source

__all__ = [
    "IMAGE_SUFFIXES",
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
    "SourceSettings",
    "WatchSource",
    "accepted_in",
    "describe_session",
    "file_source",
    "is_text",
]
