"""What the documents of external assets say: which files there are, and which part of one a datum means."""

from __future__ import annotations

from collections.abc import Iterator

from event_model import unpack_datum_page

from saxs_bluesky.documents._types import Document
from saxs_bluesky.support.latest import keep_latest

ASSETS = frozenset({"resource", "stream_resource", "datum", "datum_page"})
"""Names of the documents that tell of assets."""

_RESOURCES = 100_000
_DATUMS = 1_000_000


class Assets:
    """Resources and datums of any number of runs, the latest.

    They belong to no run: a detector that is staged once for two runs tells of its resource in the first and of the
    datums in the second, and the resources of old data name no run at all.
    """

    def __init__(self) -> None:
        #: Resources and stream resources, by uid.
        self.resources: dict[str, Document] = {}
        #: Datums by id; who takes one out forgets it, since one event needs it.
        self.datums: dict[str, Document] = {}

    def note(self, name: str, doc: Document) -> None:
        """Take in a document, of one of the names in `ASSETS`."""
        match name:
            case "resource" | "stream_resource":
                keep_latest(self.resources, doc["uid"], doc, _RESOURCES)
            case "datum":
                keep_latest(self.datums, doc["datum_id"], doc, _DATUMS)
            case "datum_page":
                for datum in unpack_datum_page(doc):  # type: ignore[arg-type]
                    keep_latest(self.datums, datum["datum_id"], datum, _DATUMS)

    def resources_of(self, run: str) -> Iterator[Document]:
        """Those that say that they are of a run, or do not say of which."""
        return (one for one in self.resources.values() if one.get("run_start", run) == run)
