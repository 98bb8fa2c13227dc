"""Documents that came without those they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saxs_bluesky.support.latest import keep_latest

_REMEMBERED = 1000


class UnseenRuns:
    """Counts what belongs to runs whose start was not seen, since the listener came later or it was lost.

    An event tells its descriptor and not its run, so that what came without its descriptor is ascribed to a run
    only when that stops, and only where no other run may own it.

    Attributes
    ----------
    total
        Number of documents.
    """

    def __init__(self) -> None:
        self.total = 0
        self._runs: dict[str, int] = {}
        self._orphans: dict[str, int] = {}
        self._owners: dict[str, str] = {}  # runs by the uids of descriptors and resources

    def count_document(self, name: str, doc: Mapping[str, Any], *, alone: bool) -> str:
        """Count a document; return what is to be told of it, which may be nothing.

        Parameters
        ----------
        name, doc
            The document.
        alone
            Whether all other runs have ended.
        """
        self.total += 1
        if "run_start" not in doc:
            reference = doc["resource"] if "resource" in doc else doc["descriptor"]
            uid = self._owners.get(reference)
            if uid is None:
                return self._orphan(name, reference)
        else:
            uid = doc["run_start"]
            if name != "stop":
                keep_latest(self._owners, doc["uid"], uid, _REMEMBERED)
        text = "" if uid in self._runs else f"joined late: run {uid} began unseen; its documents are passed over"
        keep_latest(self._runs, uid, self._runs.get(uid, 0) + 1, _REMEMBERED)
        return self._stop(uid, alone) if name == "stop" else text

    def _orphan(self, name: str, reference: str) -> str:
        known = reference in self._orphans
        keep_latest(self._orphans, reference, self._orphans.get(reference, 0) + 1, _REMEMBERED)
        if known:
            return ""
        kind = "resource" if name.startswith("datum") else "descriptor"
        return f"{name} without its {kind} {reference}: passed over, like what follows of that {kind}"

    def _stop(self, uid: str, alone: bool) -> str:
        number = self._runs.pop(uid)
        self._owners = {reference: run for reference, run in self._owners.items() if run != uid}
        if alone:
            number += sum(self._orphans.values())
            self._orphans.clear()
        return f"joined late: {number} documents of run {uid} passed over"
