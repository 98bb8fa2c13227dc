"""What came of one run, and what its documents say should have come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from saxs_bluesky.callbacks.network._sequence_gaps import SequenceGaps, as_text, how_many
from saxs_bluesky.documents import Document
from saxs_bluesky.support.latest import keep_latest

_REMEMBERED = 5000  # documents by which duplicates are known
_EVENTS = ""  # the source of events; others are data keys, of which stream_datum bring the frames


class RunTally:
    """Counts the events of a run's streams, and the frames of their ``stream_datum``.

    Parameters
    ----------
    uid
        Of the run.

    Attributes
    ----------
    touched
        When its last document came, in seconds of ``time.monotonic()``.
    """

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.touched = time.monotonic()
        self._seen: dict[str, None] = {}
        self._names: dict[str, str] = {}  # of streams, by the uids of their descriptors
        self._streams: dict[str, dict[str, SequenceGaps]] = {}

    def is_new(self, doc: Document) -> bool:
        """True if a document was not seen before, as far as its uid tells."""
        self.touched = time.monotonic()
        uid = doc.get("uid") or doc.get("datum_id")
        if not isinstance(uid, str):
            return True
        if uid in self._seen:
            return False
        keep_latest(self._seen, uid, None, _REMEMBERED)
        return True

    def describe(self, descriptor: Document) -> None:
        """Note from where the data of a descriptor's stream will come."""
        name, data_keys = descriptor["name"], descriptor["data_keys"]
        sources = self._streams.setdefault(name, {})
        streamed = [key for key, entry in data_keys.items() if entry.get("external") == "STREAM:"]
        # Where all data are streamed there may be no events.
        for source in streamed if streamed and len(streamed) == len(data_keys) else [_EVENTS, *streamed]:
            sources.setdefault(source, SequenceGaps())
        self._names[descriptor["uid"]] = name

    def note_arrival(self, descriptor: str, first: int, stop: int, source: str = _EVENTS) -> str:
        """Note an event's ``seq_num``, or the range of a ``stream_datum`` for the data key ``source``.

        Returns
        -------
        What is to be told of a gap in front of it: of many the first, since all are told at the stop.
        """
        stream = self._names[descriptor]
        gaps = self._streams[stream].setdefault(source, SequenceGaps())
        whole = not gaps.missing()
        expected = gaps.expected
        if gaps.add(first, stop) and whole:
            return f"wanted seq_num {expected} of {_what(source, stream)}, found {first}: what is between is lost"
        return ""

    @property
    def lost(self) -> int:
        """How many events and frames are missing in front of the last that came."""
        return sum(how_many(gaps.missing()) for sources in self._streams.values() for gaps in sources.values())

    def losses(self, num_events: Any) -> Iterator[tuple[int, str]]:
        """How many of what are missing, by the stop document's ``num_events``, which may be anything."""
        wanted = {k: n for k, n in num_events.items() if isinstance(n, int)} if isinstance(num_events, Mapping) else {}
        for name in wanted.keys() - self._streams.keys():
            if wanted[name] > 0:
                yield wanted[name], f"all {wanted[name]} events of stream {name}, with its descriptor"
        for name, sources in self._streams.items():
            for source, gaps in sources.items():
                last = wanted.get(name, gaps.expected - 1)
                missing = gaps.missing(last)
                if missing:
                    lost = how_many(missing)
                    yield lost, f"{lost} of {last} {_what(source, name)} (seq_num {as_text(missing)})"


def _what(source: str, stream: str) -> str:
    return f"events of stream {stream}" if source == _EVENTS else f"frames of {source} in stream {stream}"
