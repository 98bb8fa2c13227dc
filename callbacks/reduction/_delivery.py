"""What came of frames on its way to the sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from saxs_bluesky.callbacks.reduction._work_item import RunState
from saxs_bluesky.documents import FrameResult, FrameTask, NamedDocument
from saxs_bluesky.frame_job import FrameRemarks

_log = logging.getLogger(__name__)

FRAMES_LOG = "saxs_bluesky.callbacks.reduction.frames"
"""Logger of the frames that fail, for programs that name these in their own words."""

_frames_log = logging.getLogger(FRAMES_LOG)

Sink: TypeAlias = Callable[[str, dict[str, Any]], Any]


class Delivery:
    """Makes documents of what came of frames, counts it, and hands them to the sinks; in one thread.

    Parameters
    ----------
    sinks
        What gets the documents; may be added to.

    Attributes
    ----------
    reduced, failed
        How many frames have curves, and how many have none, without those whose file was overwritten.
    unwritten
        How many frames lack a file.
    left_out
        How many frames are not reduced any more, since the program ends.
    sink_errors
        How many documents a sink did not take.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._remarks = FrameRemarks()
        self._failing: set[int] = set()
        self.reduced = self.failed = self.unwritten = self.left_out = self.sink_errors = 0

    def deliver_frame(self, run: RunState, task: FrameTask, result: FrameResult) -> None:
        """Hand out the documents of a frame."""
        for what in filter(None, (result.failure, result.files.failure)):
            level = logging.INFO if result.superseded else logging.WARNING
            _frames_log.log(level, "frame %s of run %s failed: %s", task.index, run.uid, what)
        if result.remark or result.coordinates:
            self._remarks.tell(run.uid, task, result)
        self.hand_out(run.reduced.frame(task, result))
        self.failed += bool(result.failure) and not result.superseded
        self.reduced += not result.failure
        self.unwritten += bool(result.files.failure)

    def leave_out(self, run: RunState, task: FrameTask) -> None:
        """Count a frame that is not reduced any more."""
        run.reduced.leave_out(task)
        self.left_out += 1

    def hand_out(self, documents: Iterable[NamedDocument]) -> None:
        """Hand documents to the sinks."""
        for document in documents:
            for sink in self._sinks:
                try:
                    sink(*document)
                # One sink's fault must neither reach the others nor stop the reduction.
                except (Exception, SystemExit):  # noqa: BLE001
                    # It may fail for every frame of a day: the first time is told, the others are counted.
                    level = logging.DEBUG if id(sink) in self._failing else logging.WARNING
                    self._failing.add(id(sink))
                    _log.log(level, "sink %r failed on a %s document", sink, document[0], exc_info=True)
                    self.sink_errors += 1
