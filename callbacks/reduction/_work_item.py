"""What the threads of a reduction hand to each other."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from saxs_bluesky.documents import Document, FrameResult, FrameTask, RawRun, RunReduction

Pending: TypeAlias = "Future[FrameResult] | FrameResult"
"""What came of a frame, or will."""

LEFT_OUT = FrameResult("not reduced: the program ended before")


@dataclass(eq=False)
class RunState:
    """A raw run and the reduced runs made of it, one for each detector."""

    uid: str  # of the raw run
    raw: RawRun
    reduced: RunReduction


@dataclass(eq=False)
class WorkItem:
    """What a document asks for: a frame to reduce, or the end of a run.

    Parameters
    ----------
    accepted
        When the document was accepted, in seconds since 1970.
    run, task
        The frame to reduce, and its run.
    stop
        Stop document of the raw run, where there is one.
    closing
        Whether the run ends.
    done
        Whether this is the last item of its document.
    named_after
        Path that the frame's files are named after; None: none are written.
    pending
        What came of the frame, or will; None: nobody has tried to read it.
    """

    accepted: float
    run: RunState | None = None
    task: FrameTask | None = None
    stop: Document | None = None
    closing: bool = False
    done: bool = False
    named_after: Path | None = None
    pending: Pending | None = None
