"""Which run a document belongs to."""

from __future__ import annotations

from typing import Generic, TypeVar

from saxs_bluesky.documents._types import Document

Run = TypeVar("Run")

RUN_REFERENCES = {
    "descriptor": "run_start",
    "resource": "run_start",
    "stream_resource": "run_start",
    "stop": "run_start",
    "event": "descriptor",
    "event_page": "descriptor",
    "stream_datum": "descriptor",
    "datum": "resource",
    "datum_page": "resource",
}
"""Which key of a document names the document that it follows, and so leads to its run."""

REFERRED_TO = frozenset({"start", "descriptor", "resource", "stream_resource"})
"""Names of the documents that others refer to by their ``uid``."""


# Not event-model's RunRouter: it gives up an event whose datum never came, which here is a frame that failed and must
# be told, and it raises for a document of a run that it does not know.
class RunLookup(Generic[Run]):
    """Finds what is kept of a run by the documents that refer to it.

    Only what `note` was told of leads to a run; documents of other runs lead nowhere.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}  # by the uids of starts, descriptors and resources

    def note(self, uid: str, run: Run) -> None:
        """Let the documents that refer to this ``uid`` lead to a run."""
        self._runs[uid] = run

    def get(self, uid: str) -> Run | None:
        """The run that a ``uid`` leads to, of a start document or of any other that was noted."""
        return self._runs.get(uid)

    def run_of(self, name: str, doc: Document) -> Run | None:
        """The run of a document that is no start document; None where it leads nowhere.

        Raises
        ------
        KeyError
            The document does not name the one that it follows; the resources of old data need not.
        """
        key = RUN_REFERENCES.get(name)
        return None if key is None else self._runs.get(doc[key])

    def runs(self) -> list[Run]:
        """The runs, in the order in which they began."""
        return list(dict.fromkeys(self._runs.values()))

    def forget(self, run: Run) -> None:
        """Let nothing lead to a run any more."""
        self._runs = {uid: other for uid, other in self._runs.items() if other is not run}
