"""What a catalog writer tells of itself: counters, and the runs in its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saxs_bluesky.callbacks.catalog_writer._document_lines import Glance
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal
from saxs_bluesky.documents import NamedDocument


@dataclass(frozen=True)
class CatalogCounters:
    """How a catalog writer stands, in documents.

    ``accepted`` includes those found in the journal at the start; ``written`` are in the catalog; ``journaled`` wait;
    ``rejected`` are refused for good, and kept in the journal's folder ``rejected``; ``left_out`` counts single values
    of events that are in the catalog without them, kept there too; ``lost`` are those that neither disk nor memory had
    room for. ``failures`` counts failed attempts to reach the catalog or to write to it, and ``last_error`` tells of
    the last one.
    """

    accepted: int
    written: int
    journaled: int
    rejected: int
    left_out: int
    lost: int
    failures: int
    last_error: str


@dataclass(frozen=True)
class JournaledRun:
    """A run in the journal, by its ``uid``.

    ``left_over`` is True where an earlier program began it, ``stopped`` where it is complete.
    """

    uid: str
    left_over: bool
    stopped: bool
    _file: RunJournal

    def documents(self) -> Iterator[NamedDocument]:
        """Read its documents, one after the other."""
        return self._file.documents()

    def glances(self) -> Iterator[Glance]:
        """Look at its documents, one after the other, which costs a tenth of reading them."""
        return self._file.glances()
