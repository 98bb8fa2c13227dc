"""From documents to what they ask for: frames to reduce, and ends of runs."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from saxs_bluesky.callbacks.reduction._work_item import RunState, WorkItem
from saxs_bluesky.documents import (
    ASSETS,
    Assets,
    Document,
    FrameTask,
    Handler,
    InlineFrame,
    RawRun,
    RunLookup,
    RunReduction,
    SpilledFrame,
    is_merged,
)
from saxs_bluesky.errors import reason_of

_log = logging.getLogger(__name__)

FINISH = "finish"
"""In place of a document's name: the run of which ``run_start`` is the uid gets no more documents."""


class FrameExtractor:
    """Follows the documents of any number of runs, and keeps what their events bring along.

    Images of events wait in memory up to a limit and in files beyond it.

    Parameters
    ----------
    put
        What gets the work items, in order.
    detectors
        Whose images count; None: all do.
    inline_limit
        How many bytes of images may wait in memory.
    reduction
        Makes the reduced runs of a raw run, by its start document.
    handlers
        What reads files by the ``spec`` of their resource, before all that is known here.
    """

    def __init__(
        self,
        put: Callable[[WorkItem], None],
        detectors: frozenset[str] | None,
        inline_limit: int,
        reduction: Callable[[Document], RunReduction],
        *,
        handlers: Mapping[str, Handler] = MappingProxyType({}),
    ) -> None:
        self._put = put
        self._detectors = detectors
        self._reduction = reduction
        self._handlers = handlers
        #: Whether files must still have the content that their events describe, in runs that begin from now on.
        self.live = False
        self._inline_limit = inline_limit
        self._inline_bytes = 0
        self._folder: Path | None = None
        self._lock = threading.Lock()
        self._assets = Assets()
        self._runs: RunLookup[RunState] = RunLookup()

    def follow(self, accepted: float, name: str, doc: Document) -> None:
        """Take a document in, and put what it asks for."""
        last = WorkItem(accepted)
        try:
            for item in self._items(accepted, name, doc):
                if last.run is not None:
                    self._put(last)
                last = item
        # A document that is no document must not stop the reduction.
        except Exception:  # noqa: BLE001
            _log.warning("a %s document could not be followed", name, exc_info=True)
        last.done = True
        self._put(last)

    def _items(self, accepted: float, name: str, doc: Document) -> Iterator[WorkItem]:
        if name == "start":
            if "original_run_uid" not in doc and not is_merged(doc):
                raw = RawRun(doc, self._detectors, live=self.live, assets=self._assets, handlers=self._handlers)
                self._runs.note(doc["uid"], RunState(doc["uid"], raw, self._reduction(doc)))
            return
        if name in ASSETS:
            self._assets.note(name, doc)
            return
        run = self._runs.get(doc["run_start"]) if name == FINISH else self._runs.run_of(name, doc)
        if run is None:
            return
        if name == "descriptor":
            self._runs.note(doc["uid"], run)
        if name in ("stop", FINISH):
            yield from self._ending(accepted, run, doc if name == "stop" else None)
            return
        for task in run.raw.frames(name, doc):
            yield WorkItem(
                accepted, run, self._with_image_stored(task) if isinstance(task.reference, InlineFrame) else task
            )

    def _ending(self, accepted: float, run: RunState, stop: Document | None) -> Iterator[WorkItem]:
        """What is left of a run, and its end; without a stop document where it never comes."""
        self._runs.forget(run)
        for task in run.raw.rest():
            yield WorkItem(accepted, run, self._with_image_stored(task))
        yield WorkItem(accepted, run, stop=stop, closing=True)

    def close(self) -> None:
        """End the runs that have not stopped."""
        for run in self._runs.runs():
            for item in self._ending(time.time(), run, None):
                self._put(item)

    def _with_image_stored(self, task: FrameTask) -> FrameTask:
        """Task whose image waits in memory where there is room, and in a file where there is none."""
        if not isinstance(task.reference, InlineFrame):
            return task
        try:
            return self._stored(task, task.reference)
        # Such as a full disk: it costs this frame, and not the others of its document.
        except Exception as error:  # noqa: BLE001
            return replace(task, reference=None, failure=reason_of(error))

    def _stored(self, task: FrameTask, inline: InlineFrame) -> FrameTask:
        image = inline.read().image
        if image.size < np.size(inline.array):
            image = image.copy()  # or the whole stack would stay in memory for its last image
        with self._lock:
            fits = self._inline_bytes + image.nbytes <= self._inline_limit
            if fits:
                self._inline_bytes += image.nbytes
        if fits:
            return replace(task, reference=InlineFrame(image, 0))
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="saxs-bluesky-"))
        return replace(task, reference=SpilledFrame.write(self._folder, image))

    def release(self, task: FrameTask) -> None:
        """Let go of a frame that is done with."""
        if isinstance(task.reference, InlineFrame):
            with self._lock:
                self._inline_bytes -= task.reference.array.nbytes
        elif isinstance(task.reference, SpilledFrame):
            Path(task.reference.file).unlink(missing_ok=True)

    def clean_up(self) -> None:
        """Take the folder of waiting images away."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
