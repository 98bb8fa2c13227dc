"""Recovery of an interrupted run: what its two journals say is still to be done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import uuid4

from saxs_bluesky.callbacks import CUT_OFF, JournaledRun, numbers_of
from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.file_pipeline._interrupted_runs import Interrupted
from saxs_bluesky.sources import accepted_in

INTERRUPTED = "the program ended before its time"


@dataclass
class _Seen:
    """A run in the journal of the catalog's writer, looked through once."""

    run: JournaledRun
    start: Mapping[str, Any] = field(default_factory=dict)
    descriptors: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    frames: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    stop_events: Mapping[str, int] | None = None

    @classmethod
    def of(cls, run: JournaledRun) -> _Seen | None:
        """Look through a run; None for one that has just got to the catalog."""
        try:
            return cls._looked_through(run)
        except FileNotFoundError:
            return None

    @classmethod
    def _looked_through(cls, run: JournaledRun) -> _Seen:
        seen = cls(run)
        for glance in run.glances():
            if glance.name == "event":
                seen.counts[glance.descriptor] += 1
                if seen.original:
                    seen.frames.add(glance.frame)
                else:
                    seen.numbers.add(glance.number)
            elif glance.name == CUT_OFF:
                numbers = numbers_of(glance.doc["numbers"])
                seen.counts[glance.doc["descriptor"]] += len(numbers)
                seen.numbers |= numbers
                seen.frames |= numbers_of(glance.doc["frames"])
            elif glance.name == "start":
                seen.start = glance.doc
            elif glance.name == "stop":
                seen.stop_events = glance.doc.get("num_events")
            elif glance.name == "descriptor":
                seen.descriptors[glance.doc["uid"]] = glance.doc
        return seen

    @property
    def original(self) -> str:
        """The raw run that it was made of; empty for one that is raw."""
        return str(self.start.get("original_run_uid", ""))

    @property
    def is_of_files(self) -> bool:
        """True if it is a raw run of files."""
        keys = ({"image_path", "file_stamp"} <= doc["data_keys"].keys() for doc in self.descriptors.values())
        return not self.original and any(keys)

    def events(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Read some events of a raw run."""
        wanted = set(numbers)
        if wanted:
            for glance in self.run.glances():
                if glance.name == "event" and glance.number in wanted:
                    yield glance.doc

    def stop(self, reason: str) -> NamedDocument:
        """Compose its stop document."""
        events: Counter[str] = Counter()
        for uid, doc in self.descriptors.items():
            events[doc["name"]] += self.counts[uid]
        return stop_of(self.run.uid, reason, dict(events))


class Recovery:
    """Finds out what is still to be done with an interrupted raw run of files.

    Parameters
    ----------
    left
        What the journal of progress says.
    runs
        What the journal of the catalog's writer holds; None where there is no catalog.
    """

    def __init__(self, interrupted: Interrupted, runs: Sequence[JournaledRun] | None) -> None:
        self._interrupted = interrupted
        seen = [one for run in runs or () if (one := _Seen.of(run)) is not None]
        self._raw = self._find_raw(seen)
        self._raw_numbers = self._raw.numbers if self._raw else set[int]()
        #: Of the raw run; empty if it is not known.
        self.uid: str = self._raw.run.uid if self._raw else self._uid_told
        self._reduced = [one for one in seen if self.uid and one.original == self.uid]
        self._others = [one for one in seen if one.run.left_over and one is not self._raw and one not in self._reduced]
        self.start, self.descriptor = interrupted.start, interrupted.descriptor
        if self._raw is not None:
            self.start = self.start or dict(self._raw.start)
            self.descriptor = self.descriptor or next(iter(self._raw.descriptors.values()), None)
        self._events = self._all_events()
        reduced = [max(one.frames) + 1 for one in self._reduced if one.frames]
        #: How many events the run had, as far as is known.
        self.accepted: int = max([interrupted.last, *self._events, *self._raw_numbers, *reduced])
        self.safe = self._safe_frames(runs is not None)

    @property
    def _uid_told(self) -> str:
        interrupted = self._interrupted
        if interrupted.start is not None:
            return str(interrupted.start["uid"])
        return "" if interrupted.descriptor is None else str(interrupted.descriptor["run_start"])

    def _find_raw(self, seen: Sequence[_Seen]) -> _Seen | None:
        uid = self._uid_told
        if uid:
            return next((one for one in seen if one.run.uid == uid), None)
        told = {event.get("descriptor") for event in self._interrupted.events.values()}
        candidates = [one for one in seen if one.is_of_files and one.run.left_over]
        if told:
            return next((one for one in candidates if told & one.descriptors.keys()), None)
        # The journal of progress is lost, but for what was to be done.
        return candidates[-1] if candidates and self._interrupted.is_damaged and self._interrupted.identity else None

    def _all_events(self) -> dict[int, dict[str, Any]]:
        """Events of the raw run, with those that only the catalog's journal has, as far as they may be needed."""
        events = dict(self._interrupted.events)
        if self._raw is not None:
            numbers = self._raw_numbers - events.keys()
            if not self._interrupted.is_damaged:
                numbers = {
                    number
                    for number in numbers
                    if number - 1 not in self._covered or number > self._interrupted.compacted
                }
            events |= {doc["seq_num"]: doc for doc in self._raw.events(numbers)}
        return events

    @cached_property
    def _covered(self) -> set[int]:
        """Frames whose events are in reduced runs, in the catalog or on the way there."""
        covered = set[int]().union(*(one.frames for one in self._reduced))
        for ranges in self._gone.values():
            for begin, end in ranges:
                covered.update(range(begin, min(end, self._bound)))
        return covered

    @property
    def _gone(self) -> dict[str, list[tuple[int, int]]]:
        """Reduced runs that the catalog has, and their frames."""
        here = {one.run.uid for one in self._reduced}
        return {uid: ranges for uid, ranges in self._interrupted.catalogued.items() if uid not in here}

    @property
    def _bound(self) -> int:
        """No more frames than these were there."""
        return max([self._interrupted.last, *self._raw_numbers])

    def _safe_frames(self, catalog: bool) -> set[int]:
        if not catalog:
            return set(range(self._interrupted.done))
        if self._interrupted.ended and all(one.run.stopped for one in self._reduced) and not self._is_torn:
            # A run that is complete in the catalog's journal is gone from it when the catalog has it.
            return set(range(self.accepted))
        return self._covered

    @property
    def _is_torn(self) -> bool:
        """True if stopped runs lack events, since lines of their journal were damaged."""
        return any(one.counts.total() != sum((one.stop_events or {}).values()) for one in self._reduced)

    @property
    def is_known(self) -> bool:
        """True if start and descriptor are known, so that frames of the run can be reduced."""
        return self.start is not None and self.descriptor is not None

    @property
    def raw_is_open(self) -> bool:
        """True if the catalog has no stop document of the raw run yet."""
        if self._raw is not None:
            return self.is_known and not self._raw.run.stopped
        return self.is_known and not self._interrupted.ended

    @property
    def _unsafe(self) -> list[int]:
        """Frames that are not safe, and whose events are known."""
        return sorted(number - 1 for number in self._events if number - 1 not in self.safe)

    @property
    def remaining(self) -> int:
        """How many frames must be reduced."""
        return len(self._unsafe) if self.is_known else 0

    @property
    def unknown(self) -> int:
        """How many accepted files are not known any more: they are done again."""
        number = len(self._unsafe) if not self.is_known else 0
        return number + sum(1 for number in self._interrupted.missing() if number not in self._events)

    def files(self) -> Iterator[tuple[str, int]]:
        """Files that need not be done again, with their stamps, beside those that are known."""
        interrupted = self._interrupted
        for number, event in sorted(self._events.items()):  # the last content of a file counts
            if number > interrupted.void and (self.is_known or number - 1 in self.safe):
                yield accepted_in(event["data"])
        for number, file in interrupted.verified.items():
            if number > interrupted.void and number not in self._events and number - 1 in self.safe:
                yield file

    def named(self) -> list[str]:
        """Files that must be looked at again: no finder may find them a second time."""
        lost = [] if self.is_known else [accepted_in(self._events[frame + 1]["data"])[0] for frame in self._unsafe]
        return [*self._interrupted.named, *(path for path, _ in self._interrupted.verified.values()), *lost]

    def catalogued(self) -> dict[str, list[tuple[int, int]]]:
        """Frames as ranges, by the reduced runs that they are in."""
        return self._gone | {one.run.uid: _ranges(one.frames) for one in self._reduced}

    # Documents

    def unreduced(self) -> Iterator[NamedDocument]:
        """Documents of the raw run for the reduction: those of the frames that are not safe."""
        if self.start is not None and self.descriptor is not None:
            yield "start", self.start
            yield "descriptor", self.descriptor
            for frame in self._unsafe:
                yield "event", self._events[frame + 1]

    def uncatalogued(self) -> list[NamedDocument]:
        """Documents of the raw run that the catalog's journal does not have."""
        if self.start is None or self.descriptor is None or not self.raw_is_open:
            return []
        documents: list[NamedDocument] = [("start", self.start), ("descriptor", self.descriptor)]
        if self._raw is not None:
            documents = [] if self._raw.descriptors else documents[1:]
        missing = sorted(self._events.keys() - self._raw_numbers)
        return documents + [("event", self._events[number]) for number in missing]

    def stop(self) -> NamedDocument:
        """Stop document of the raw run."""
        return stop_of(self.uid, INTERRUPTED, {"primary": len(self._events.keys() | self._raw_numbers)})

    def unstopped(self) -> Iterator[NamedDocument]:
        """Stop documents for all runs that get no more documents, except the raw run."""
        for one in self._reduced:
            if not one.run.stopped:
                yield one.stop(f"{INTERRUPTED}; the frames after these are in another reduced run")
        others = self._others if self.is_known or self._raw is None else [self._raw, *self._others]
        for one in others:
            if not one.run.stopped:
                yield one.stop(INTERRUPTED)

    # The list of curves

    @cached_property
    def first_in_doubt(self) -> int:
        """From which frame on it is not sure whether the list of curves has it."""
        missing = [number - 1 for number in self._interrupted.missing()]
        return min([self._interrupted.done, *self._unsafe[:1], *missing[:1]])

    def unlisted(self) -> Iterator[NamedDocument]:
        """Documents of reduced runs whose frames are in the catalog, and not known to be in the list of curves."""
        for one in self._reduced:
            for glance in one.run.glances():
                if glance.name == CUT_OFF:
                    continue
                if glance.name != "event" or glance.frame >= self.first_in_doubt:
                    yield glance.name, glance.doc


def _ranges(frames: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if ranges and ranges[-1][1] == frame:
            ranges[-1] = (ranges[-1][0], frame + 1)
        else:
            ranges.append((frame, frame + 1))
    return ranges


def stop_of(uid: str, reason: str, events: dict[str, int] | None = None) -> NamedDocument:
    """Compose a stop document of a run that ended before its time."""
    stop = {"uid": str(uuid4()), "time": time.time(), "run_start": uid, "exit_status": "abort", "reason": reason}
    return "stop", stop | {"num_events": events or {}}
