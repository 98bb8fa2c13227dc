"""Where a reduction stands."""

from __future__ import annotations

from dataclasses import dataclass

from saxs_bluesky.callbacks.catalog_writer import CatalogCounters


@dataclass(frozen=True)
class Status:
    """Where a reduction stands.

    ``waiting`` counts documents that are accepted and not yet done with, ``reduced`` and ``failed``
    frames, ``sink_errors`` documents that a sink refused; ``lag`` is how long ago the oldest waiting
    document was accepted, in seconds; ``unwritten`` counts frames of which a file could not be written.
    ``superseded`` counts frames whose files were overwritten before they were reduced, which are not among ``failed``;
    ``outdated`` files have newer content that is not reduced yet. ``ended`` says why nothing more will be reduced,
    where a thread has ended of an unexpected error; empty as long as all is well. ``set_aside`` counts documents and
    values that a sink's catalog will not have (see `CatalogCounters`).
    """

    waiting: int
    reduced: int
    failed: int
    sink_errors: int
    lag: float
    unwritten: int = 0
    superseded: int = 0
    outdated: int = 0
    ended: str = ""
    set_aside: int = 0


def set_aside_by(sink: object) -> int:
    """How many documents and values a sink that is a catalog's writer has set aside; 0 for other sinks."""
    counters = getattr(sink, "counters", None)
    return counters.rejected + counters.left_out + counters.lost if isinstance(counters, CatalogCounters) else 0
