"""Stop documents for runs that get none from who began them."""

from __future__ import annotations

import time
from collections import Counter
from uuid import uuid4

from saxs_bluesky.callbacks.catalog_writer._document_lines import CUT_OFF, numbers_of
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal
from saxs_bluesky.documents import NamedDocument


def aborted(file: RunJournal, reason: str) -> NamedDocument:
    """Compose the stop document of a run that ended before its time.

    Parameters
    ----------
    file
        What is known of the run.
    reason
        Why it ended.
    """
    streams: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for glance in file.glances():
        if glance.name == "descriptor":
            streams[glance.doc["uid"]] = str(glance.doc.get("name", "primary"))
        elif glance.name == "event":
            counts[glance.descriptor] += 1
        elif glance.name == CUT_OFF:
            counts[glance.doc["descriptor"]] += len(numbers_of(glance.doc["numbers"]))
    events = dict.fromkeys(streams.values(), 0)
    for descriptor, name in streams.items():
        events[name] += counts[descriptor]
    doc = {"uid": str(uuid4()), "time": time.time(), "run_start": file.uid, "exit_status": "abort", "reason": reason}
    return "stop", doc | {"num_events": events}
