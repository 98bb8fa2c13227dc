"""The thread that has frames reduced, and another in its place where one hangs."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from saxs_bluesky.callbacks.reduction._frame_runner import FrameRunner
from saxs_bluesky.callbacks.reduction._open_files import OpenFiles
from saxs_bluesky.callbacks.reduction._work_item import LEFT_OUT, Pending, WorkItem
from saxs_bluesky.documents import FrameResult, Hdf5Frame
from saxs_bluesky.errors import reason_of

_log = logging.getLogger(__name__)

CLOSE = object()
"""After the last item but those of frames that wait for their file."""

END = object()
"""After the last item."""

_LOOK = object()
_POLL_SECONDS = 1.0  # between looks at a frame that keeps the thread it is reduced in
_SECONDS_TO_TELL = 10.0  # until that is told


class ReducingThread:
    """Has the frames of work items reduced, one after the other, and hands the items on in their order.

    Parameters
    ----------
    items
        What to do: work items, `CLOSE` and `END`.
    runner
        What has a frame reduced.
    open_files
        Frames that wait for their file.
    window
        How many items may be handed on and not yet taken.
    replace
        Starts another thread of `run`, where this one hangs.
    """

    def __init__(
        self,
        items: queue.SimpleQueue[Any],
        runner: FrameRunner,
        open_files: OpenFiles,
        *,
        window: int,
        replace: Callable[[], None],
    ) -> None:
        self._items = items
        self._runner = runner
        self._open_files = open_files
        self._replace = replace
        #: True where nobody takes items any more: then nothing waits for room.
        self.is_abandoned = False
        self._begun: queue.Queue[Any] = queue.Queue(window)
        self._at_work: WorkItem | None = None
        self._giving_up = threading.Lock()

    def run(self) -> None:
        """Be the thread."""
        while (item := self._items.get()) is not END:
            if item is CLOSE:
                self.hand_on(CLOSE)
                continue
            self._at_work = item
            pending = self._begin_frame(item)
            with self._giving_up:
                if self._at_work is not item:
                    return  # it took too long, and another thread goes on
                self._at_work = None
                item.pending = pending
            self.hand_on(item)

    def _begin_frame(self, item: WorkItem) -> Pending | None:
        """Have a frame reduced; None where there is none, or those before it wait for their file."""
        if item.task is None or item.run is None:
            return None
        if self._runner.hurry.is_set():
            return LEFT_OUT
        if isinstance(item.task.reference, Hdf5Frame) and self._open_files.must_wait(item):
            return None
        try:
            return self._runner.begin_frame(item, item.run, item.task)
        # A fault here costs its frame, and must not end the thread; a user's integrator may raise SystemExit.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            return FrameResult(reason_of(error))

    def hand_on(self, item: Any) -> None:
        """Let an item be taken; waits for room."""
        while not self.is_abandoned:
            with suppress(queue.Full):
                self._begun.put(item, timeout=_POLL_SECONDS)
                return
        with suppress(queue.Full):
            self._begun.put_nowait(item)

    # In the thread that takes the items

    def look_now(self) -> None:
        """Let the thread that takes the items look at once whether the program ends."""
        with suppress(queue.Full):
            self._begun.put_nowait(_LOOK)

    def next_item(self, is_over: Callable[[], bool]) -> Any:
        """Take what comes next; a frame that keeps the thread for too long comes as failed.

        Parameters
        ----------
        is_over
            Whether to take `CLOSE` where nothing comes.
        """
        seen: WorkItem | None = None
        waited = 0.0
        while True:
            pause = min(_POLL_SECONDS, self._open_files.look())
            try:
                item = self._begun.get(timeout=pause)
            except queue.Empty:
                if is_over():
                    return CLOSE
            else:
                if item is not _LOOK:
                    return item
            # Looks are counted, and not time, since a program that was stopped meanwhile has not waited.
            now, before = self._at_work, waited
            seen, waited = now, waited + pause if now is seen else pause
            if seen is None or seen.task is None:
                continue
            if self._runner.hurry.is_set() and self._give_up(seen):
                seen.pending = LEFT_OUT
                return seen
            path = self._runner.job(seen.task).describe(seen.task)
            if before < _SECONDS_TO_TELL <= waited:
                _log.warning("this process has been busy with %s for %.0f s", path, _SECONDS_TO_TELL)
            if waited >= self._runner.limit and self._give_up(seen):
                seen.pending = self._runner.hung(path)
                return seen

    def _give_up(self, item: WorkItem) -> bool:
        """Let another thread go on; False where the frame is done meanwhile."""
        with self._giving_up:
            if self._at_work is not item:
                return False
            self._at_work = None
        self._replace()
        return True
