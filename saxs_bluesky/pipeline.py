"""From files to curves: a source, the reduction, and where its documents go, with a journal that survives a crash."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction, UnfinishedRun
from saxs_bluesky.sources import FileSource, Interrupted, Progress

_log = logging.getLogger(__name__)

Named = tuple[str, dict[str, Any]]

_RATE_SECONDS = 10.0
_INTERRUPTED = "the program ended before its time"


@dataclass(frozen=True)
class Statistics:
    """How a pipeline stands.

    Parameters
    ----------
    done, failed
        Files with curves, and without.
    unwritten
        Files with curves of which some could not be written to disk.
    skipped
        Files for which there was nothing to do.
    queue
        Files that are found and not done yet.
    rate
        Files done in a second, over the last ten.
    lag
        How long ago the oldest file that waits for the reduction was ready, in seconds.
    superseded
        Contents of files that were overwritten before they were reduced.
    outdated
        Files whose newer content is not reduced yet.
    """

    done: int
    failed: int
    unwritten: int
    skipped: int
    queue: int
    rate: float
    lag: float
    superseded: int = 0
    outdated: int = 0


class FilePipeline:
    """Reduces the files of a source until it is exhausted or stopped.

    Every file becomes an event of a raw run, and that an event of a reduced run. With a ``progress`` journal, a
    program that was killed and is started again goes on where it was: each file has its curves once, and so have the
    catalog and the list of curves. The raw run that was interrupted is completed (its frames that were not reduced
    yet are in a second reduced run of it), then a new one begins.

    Parameters
    ----------
    source
        Where files come from.
    reduction
        What reduces them; its sinks are added to.
    writer
        Of the catalog, for raw and reduced runs; with a journal folder that survives the program.
    curves
        List of written curves.
    progress
        Journal of what is done.
    identity
        What the program was asked to do, as a text: files are remembered over a crash as long as it is the same.
    in_hand
        How many files may be on their way through the reduction.
    """

    def __init__(
        self,
        source: FileSource,
        reduction: Reduction,
        *,
        writer: CatalogWriter | None = None,
        curves: CurveList | None = None,
        progress: Progress | None = None,
        identity: str = "",
        in_hand: int = 32,
    ) -> None:
        self._source = source
        self._reduction = reduction
        self._writer = writer
        self._curves = curves
        self._progress = progress
        self._identity = identity
        self._in_hand = in_hand
        self._suspended = False
        self._full = False
        #: How many files a program before this one has done, which are not done again.
        self.done_before = 0
        self._recent: deque[tuple[float, int]] = deque()
        # The catalog first: a frame is done when the others know that it is there.
        mine: Sequence[Callable[[str, dict[str, Any]], Any] | None] = [writer, curves, self._count]
        reduction.sinks[:0] = [sink for sink in mine if sink is not None]
        reduction.follow_contents(source.look_again)

    def stop(self, *, drain: bool = False, suspend: bool = False) -> None:
        """Accept no more files, finish what is in hand and let `run` return.

        Parameters
        ----------
        drain
            Finish also what was found.
        suspend
            Keep in the journal which files were accepted, for a program that goes on with the others.
        """
        self._suspended |= suspend
        self._source.stop(drain=drain)

    def run(self) -> None:
        """Reduce files until there are no more; in the calling thread."""
        known = self._recover()
        for path, stamp in known:
            self._source.remember(path, stamp)
        if self._progress is not None:
            self._progress.begin(self._identity, known)
            self._progress.left = None  # it is dealt with, and none of the next pipeline's business
        for name, doc in self._source.documents(self._has_room, self._is_settled):
            if name == "stop":
                self._finish(doc, self._writer)
            else:
                self._emit(name, doc)
        if self._progress is not None and self._suspended:
            self._progress.begin(self._identity, self._source.accepted())
        elif self._progress is not None:
            self._progress.clear()

    @property
    def statistics(self) -> Statistics:
        """How it stands now; from any thread."""
        status, files = self._reduction.status, self._source.counters
        done = status.reduced + status.failed + status.superseded
        now = time.monotonic()
        self._recent.append((now, done))
        while now - self._recent[0][0] > _RATE_SECONDS:
            self._recent.popleft()
        since, before = self._recent[0]
        return Statistics(
            done=status.reduced,
            failed=status.failed,
            unwritten=status.unwritten,
            skipped=files.skipped,
            queue=files.pending + status.waiting,
            rate=(done - before) / (now - since) if now > since else 0.0,
            lag=status.lag,
            superseded=status.superseded,
            outdated=status.outdated,
        )

    def _has_room(self) -> bool:
        """Once full, not before half is done: so workers get several files at a time, and threads wake less often."""
        waiting = self._reduction.waiting
        self._full = waiting > self._in_hand // 2 if self._full else waiting >= self._in_hand
        return not self._full and (self._writer is None or self._writer.has_room)

    def _is_settled(self) -> bool:
        """Whether all that was emitted is reduced: then no file has to be looked at again."""
        return not self._reduction.waiting

    def _emit(self, name: str, doc: dict[str, Any]) -> None:
        if self._progress is not None:
            self._progress.note(name, doc)
        if self._writer is not None:
            self._writer(name, doc)
        self._reduction(name, doc)

    def _finish(self, stop: dict[str, Any], writer: CatalogWriter | None) -> None:
        """Send the stop document when all else is safe, so that after a crash nobody wonders what is missing."""
        self._reduction.wait_for_frames()
        if self._writer is not None:
            self._writer.wait_for_journal()
        if self._progress is not None:
            self._progress.end()
        if writer is not None:
            writer("stop", stop)
        self._reduction("stop", stop)
        self._reduction.wait_for_frames()
        if self._writer is not None:
            self._writer.wait_for_journal()

    def _count(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note that a frame is done; the last of the sinks that keep anything."""
        if name == "event" and self._progress is not None:
            self._progress.done(doc["data"]["frame_index"] + 1, self._curves.size if self._curves else 0)

    # After a crash

    def _recover(self) -> list[tuple[str, int]]:
        """Complete the raw run that was interrupted; return the files that were accepted."""
        left = None if self._progress is None else self._progress.left
        if left is None:
            return []
        goes_on = left.identity == self._identity
        self.done_before = len(left.known) if goes_on else 0
        if left.documents:
            recovery = _Recovery(left, self._writer.unfinished() if self._writer else None)
            self.done_before += recovery.safe if goes_on else 0
            _log.info("%s files were accepted before, %s are done again", recovery.accepted, recovery.remaining)
            # The list of another task begins anew.
            self._complete(recovery, left.list_sizes[min(recovery.safe, left.done)] if goes_on else 0)
        return left.files if goes_on else []

    def _complete(self, recovery: _Recovery, list_size: int) -> None:
        if self._curves is not None:
            self._curves.expect(list_size)
            for name, doc in recovery.unlisted():
                self._curves(name, doc)
        if self._progress is not None:
            self._progress.catalogued(recovery.safe)
        if self._writer is not None:
            for name, doc in [*recovery.unstopped(), *recovery.uncatalogued()]:
                self._writer(name, doc)
        for name, doc in recovery.unreduced():
            while not self._has_room():
                time.sleep(0.002)
            if name == "event":
                self._reduction.clean_up(doc["data"]["image_path"])
            self._reduction(name, doc)
        stop = {"uid": str(uuid4()), "time": time.time(), "run_start": recovery.uid, "exit_status": "abort"}
        stop |= {"reason": _INTERRUPTED, "num_events": {"primary": recovery.accepted}}
        self._finish(stop, self._writer if recovery.raw_is_open else None)


class _Recovery:
    """What is to be done with a raw run that was interrupted.

    Parameters
    ----------
    left
        What its journal says.
    unfinished
        What the catalog writer's journal holds; None where there is no catalog.
    """

    def __init__(self, left: Interrupted, unfinished: Sequence[UnfinishedRun] | None) -> None:
        self._left = left
        self.uid: str = left.documents[0][1]["uid"]
        self.accepted = sum(name == "event" for name, _ in left.documents)
        self._raw_documents = 0  # that the catalog's journal has
        self._reduced: list[
            tuple[UnfinishedRun, int, int]
        ] = []  # with the numbers of events, and of frames up to the last
        for run in unfinished or ():
            self._examine(run)
        if unfinished is None:
            self.safe = left.done
        else:
            #: How many frames have their event in the catalog, or would have it if there were one.
            self.safe = max([left.catalogued, *(frames for _, _, frames in self._reduced)])
        #: Whether the catalog does not know yet that the raw run is over.
        self.raw_is_open = True
        if left.ended:
            # A run that is complete in the catalog's journal is gone from it when the catalog has it.
            self.raw_is_open = self._raw_documents > 0
            self.safe = self.accepted
            self._raw_documents = len(left.documents)

    def _examine(self, run: UnfinishedRun) -> None:
        documents = run.documents()
        _, start = next(documents)
        if run.uid == self.uid:
            self._raw_documents = 1 + sum(1 for _ in documents)
        elif start.get("original_run_uid") == self.uid:
            indices = [doc["data"]["frame_index"] for name, doc in documents if name == "event"]
            self._reduced.append((run, len(indices), max(indices, default=-1) + 1))

    @property
    def remaining(self) -> int:
        """How many frames must be reduced."""
        return self.accepted - self.safe

    def unreduced(self) -> Iterator[Named]:
        """Documents of the raw run for the reduction: those of the frames that are not safe."""
        events = 0
        for name, doc in self._left.documents:
            events += name == "event"
            if name != "event" or events > self.safe:
                yield name, doc

    def uncatalogued(self) -> list[Named]:
        """Documents of the raw run that the catalog's journal does not have."""
        return self._left.documents[self._raw_documents :]

    def unstopped(self) -> Iterator[Named]:
        """Stop documents for the reduced runs that get no more."""
        for run, events, _ in self._reduced:
            reason = f"{_INTERRUPTED}; the frames after these are in another reduced run"
            stop = {"uid": str(uuid4()), "time": time.time(), "run_start": run.uid, "exit_status": "abort"}
            yield "stop", stop | {"reason": reason, "num_events": {"primary": events}}

    def unlisted(self) -> Iterator[Named]:
        """Documents of reduced runs whose frames are in the catalog, and not known to be in the list of curves."""
        for run, _, _ in self._reduced:
            for name, doc in run.documents():
                if name != "event" or doc["data"]["frame_index"] >= self._left.done:
                    yield name, doc
