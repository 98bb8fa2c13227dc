"""From files to curves: a source, the reduction, and where its documents go, with a journal that survives a crash."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction
from saxs_bluesky.errors import PipelineError, SaxsError, reason_of
from saxs_bluesky.file_pipeline._interrupted_runs import Interrupted
from saxs_bluesky.file_pipeline._progress_journal import ProgressJournal
from saxs_bluesky.file_pipeline._recovery import Recovery, stop_of
from saxs_bluesky.frame_job import page_image
from saxs_bluesky.sources import FileSource

_log = logging.getLogger(__name__)

_RATE_SECONDS = 10.0


@dataclass(frozen=True)
class Statistics:
    """How many files of a pipeline are done and wait.

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
        progress: ProgressJournal | None = None,
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
        #: How many files the program before this one has done; they are not done again.
        self.done_before = 0
        #: Why it ended early; empty if it did not.
        self.ended = ""
        self._before = 0  # files that were accepted by programs before this one
        self._emitted = 0
        self._done_so_far = (0, 0)  # frames, and what stands for the documents of these in the writer
        self._compact_at: tuple[int, int] | None = None
        self._recovery: Recovery | None = None
        self._recent: deque[tuple[float, int]] = deque()
        # The catalog first: a frame is done when the others know that it is there.
        mine: Sequence[Callable[[str, dict[str, Any]], Any] | None] = [writer, curves, self._note_frame_done]
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
        """Reduce files until there are no more; in the calling thread.

        Raises
        ------
        SaxsError
            It ended before its time.
        """
        try:
            self._complete_interrupted_run()
            self._reduce_files()
        except SaxsError as error:
            self.ended = str(error)
            raise
        # Whoever waits for the pipeline is told that it ended, and why.
        except Exception as error:
            self.ended = f"the reduction of files ended before its time: {reason_of(error)}"
            _log.debug("the reduction of files ended before its time", exc_info=True)
            raise PipelineError(self.ended) from error

    def again(self, folder: str | Path, *, recursive: bool = True) -> None:
        """Take all images anew that are in a folder, whatever was done with them; from any thread."""
        if self._progress is not None:
            self._progress.note_asked_again(folder, recursive=recursive)
        self._source.again(folder, recursive=recursive)

    def _complete_interrupted_run(self) -> None:
        """Complete the run that was interrupted, if there is one, and begin the journal of the next."""
        progress = self._progress
        interrupted = None if progress is None else progress.interrupted
        goes_on = interrupted is not None and interrupted.identity == self._identity
        try:
            self._before = self._recover(interrupted, goes_on=goes_on)
        # Whatever is wrong with the interrupted run must not keep new images from their curves.
        except Exception as error:  # noqa: BLE001
            _log.debug("the interrupted run cannot be completed", exc_info=True)
            self._recover_without(error)
            interrupted, self._before = None, 0
        if progress is None:
            return
        if interrupted is not None and goes_on:
            for folder, names in interrupted.known.items():
                self._source.remember_all(folder, names)
            for folder, recursive in interrupted.asked:
                self._source.again(folder, recursive=recursive, forget=False)
            progress.go_on(self._identity, interrupted, self._before)
        else:
            progress.begin(self._identity)
        progress.interrupted = None  # it is dealt with

    def _reduce_files(self) -> None:
        for name, doc in self._source.documents(self._has_room, self._is_settled):
            if name == "stop":
                self._send_stop(doc, self._writer)
            else:
                self._emit(name, doc)
        progress = self._progress
        if progress is not None and self._suspended:
            before = self._before + self._emitted
            progress.begin(self._identity, self._source.accepted(), before=before, asked=progress.asked)
        elif progress is not None:
            progress.clear()

    @property
    def statistics(self) -> Statistics:
        """How many files are done and wait by now; from any thread."""
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
        """True if a file may come. Once full, not before half is done: so that threads wake less often."""
        if self._reduction.ended:
            raise PipelineError(f"the reduction has ended: {self._reduction.ended}")
        waiting = self._reduction.waiting
        self._full = waiting > self._in_hand // 2 if self._full else waiting >= self._in_hand
        return not self._full and (self._writer is None or self._writer.has_room)

    def _is_settled(self) -> bool:
        """True if all events so far are reduced: then no file has to be looked at again."""
        return not self._reduction.waiting

    def _emit(self, name: str, doc: dict[str, Any]) -> None:
        if self._progress is not None:
            self._progress.note_document(name, doc)
        if self._writer is not None:
            self._writer(name, doc)
        self._reduction(name, doc)
        self._emitted += name == "event"
        if self._progress is not None and self._progress.is_long:
            self._compact(self._progress)

    def _compact(self, progress: ProgressJournal) -> None:
        """Remove documents from the journal whose frames are stored everywhere else."""
        if self._compact_at is None:
            self._compact_at = self._done_so_far
        frames, mark = self._compact_at
        if self._writer is None or self._writer.is_journaled(mark):
            self._compact_at = None
            progress.compact(frames)

    def _send_stop(self, stop: dict[str, Any], writer: CatalogWriter | None) -> None:
        """Send the stop document when all else is safe: after a crash, a run with a stop document is complete."""
        self._wait_until_safe()
        if self._progress is not None:
            self._progress.note_end()
        if writer is not None:
            writer("stop", stop)
        self._reduction("stop", stop)
        self._wait_until_safe()

    def _wait_until_safe(self) -> None:
        """Wait until all documents so far are reduced, and stored where a crash does not undo them."""
        if not self._reduction.wait_for_frames():
            raise PipelineError(f"the reduction has ended: {self._reduction.ended}")
        if self._writer is not None:
            self._writer.wait_for_journal()

    def _note_frame_done(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note in the journal that a frame is done; called after the sinks that store it."""
        if name == "event" and self._progress is not None:
            frames = doc["data"]["frame_index"] + 1
            self._progress.note_done(frames, self._curves.size if self._curves else 0)
            self._done_so_far = frames, self._writer.mark if self._writer else 0

    # After a crash

    def _recover(self, interrupted: Interrupted | None, *, goes_on: bool) -> int:
        """Complete the raw run that was interrupted; return how many files were accepted in it and before."""
        runs = self._writer.runs() if self._writer is not None else None
        if interrupted is None and all(run.stopped for run in runs or ()):
            return 0
        recovery = self._recovery = Recovery(interrupted or Interrupted(), runs)
        before = interrupted.before if interrupted is not None and goes_on else 0
        self.done_before = before + len(recovery.safe) if goes_on else 0
        if interrupted is not None:
            _log_recovery(interrupted, recovery, goes_on=goes_on)
            if goes_on:
                for path, stamp in recovery.files():
                    interrupted.remember(path, stamp)
                for path in recovery.named():
                    self._source.look_again(path)
        if self._curves is not None:
            if interrupted is not None and goes_on:  # or the list begins anew
                self._curves.expect(interrupted.list_size(recovery.first_in_doubt))
            for name, doc in recovery.unlisted():
                self._curves(name, doc)
        self._complete(recovery)
        return before + recovery.accepted

    def _complete(self, recovery: Recovery) -> None:
        if self._progress is not None:
            self._progress.note_catalogued(recovery.catalogued())
        if self._writer is not None:
            for name, doc in [*recovery.unstopped(), *recovery.uncatalogued()]:
                self._writer(name, doc)
        if not recovery.is_known:
            return
        for name, doc in recovery.unreduced():
            while not self._has_room():
                time.sleep(0.002)
            if name == "event":
                data = doc["data"]
                place = data.get("image_page", 0), data.get("image_pages", 1)
                self._reduction.clean_up(page_image(Path(data["image_path"]), *place))
            self._reduction(name, doc)
        self._send_stop(recovery.stop()[1], self._writer if recovery.raw_is_open else None)

    def _recover_without(self, error: Exception) -> None:
        """Begin anew where the interrupted run cannot be completed; its images are done again."""
        why = f"the interrupted run cannot be completed ({reason_of(error)})"
        if self._progress is not None:
            self._progress.set_aside(why)
        _log.warning("%s; all images are done again", why)
        self.done_before = 0
        if self._curves is not None:
            self._curves.expect(0)
        recovery, self._recovery = self._recovery, None
        for run in self._writer.runs() if self._writer is not None else ():
            mine = run.left_over or (recovery is not None and run.uid == recovery.uid)
            if self._writer is not None and mine and not run.stopped:
                self._writer(*stop_of(run.uid, why))
        if recovery is not None and recovery.uid:
            self._reduction(*stop_of(recovery.uid, why))
            self._reduction.wait_for_frames()


def _log_recovery(interrupted: Interrupted, recovery: Recovery, *, goes_on: bool) -> None:
    _log.info("%s files were accepted before, %s are done again", recovery.accepted, recovery.remaining)
    if interrupted.is_damaged and goes_on:
        _log.warning(
            "the journal of what is done was damaged: %s of the last files cannot be known, and are done again",
            recovery.unknown or "some",
        )
