"""Files that are overwritten before they are reduced: found out, counted, and looked at again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from saxs_bluesky.documents import FileContent, FrameTask, TiffFrame
from saxs_bluesky.reduction import Stamp, superseded
from saxs_bluesky.work import FrameOutcome

_log = logging.getLogger(__name__)


class Contents:
    """Sees to it that the curves of a file are made of the content that its event describes.

    Whoever reads a file compares its stamp. On a computer that sees other stamps than this one, as with some network
    filesystems, size and time have to do, and this computer looks at the stamps when the frame is back.

    Parameters
    ----------
    look_again
        Told the path of each file with newer content, or that has another path now, so that it becomes another event.
    """

    def __init__(self, look_again: Callable[[str], None]) -> None:
        self._look_again = look_again
        self._by_stamp = True
        self._outdated: dict[str, Stamp] = {}
        self._moved: set[str] = set()
        #: How many frames had newer content.
        self.superseded = 0

    @property
    def outdated(self) -> int:
        """How many files have newer content that is not reduced yet."""
        return len(self._outdated)

    def asked(self, task: FrameTask) -> FrameTask:
        """The task as it goes to a worker."""
        frame = task.reference
        if self._by_stamp or not isinstance(frame, TiffFrame) or frame.content is None:
            return task
        return replace(task, reference=replace(frame, content=replace(frame.content, by_stamp=False)))

    def judged(self, task: FrameTask, outcome: FrameOutcome, here: Callable[[], FrameOutcome]) -> FrameOutcome:
        """Outcome of a task by the stamps of this computer.

        Parameters
        ----------
        task
            As it was before it was ``asked``.
        outcome
            Of a worker.
        here
            Does the work in this process.
        """
        content = _content(task)
        if content is None or task.reference is None or task.failure:
            return outcome
        path = task.reference.path
        if outcome.superseded and _holds(path, content):
            if self._by_stamp:
                _log.warning("%s: workers see other inode numbers or times; size and time are compared there", path)
            self._by_stamp = False
            return here()
        if not self._by_stamp and not outcome.failure and not _holds(path, content):
            return FrameOutcome(str(superseded(path)), superseded=True)
        if outcome.failure and not outcome.superseded and not os.path.lexists(path):
            return self._judged_absent(path, content, outcome)
        return outcome

    def _judged_absent(self, path: str, content: FileContent, outcome: FrameOutcome) -> FrameOutcome:
        """Outcome of a file that was gone before it was read: no failure where its folder has another name now."""
        self._look_again(path)
        moved = _moved_to(path, content)
        if moved is None:
            return outcome
        self._look_again(moved)
        self._moved.add(path)
        return FrameOutcome(f"{path}: renamed before it was reduced; it is reduced as {moved}", superseded=True)

    def delivered(self, task: FrameTask, outcome: FrameOutcome) -> None:
        """Note what became of a frame."""
        content = _content(task)
        if content is None or task.reference is None:
            return
        path = task.reference.path
        if path in self._moved:
            self._moved.discard(path)
            self.superseded += 1
        elif outcome.superseded:
            self.superseded += 1
            self._outdated[path] = content.stamp
            self._look_again(path)
        elif self._outdated.get(path, content.stamp) != content.stamp:
            del self._outdated[path]


def _moved_to(path: str, content: FileContent) -> str | None:
    """Where a file is whose folder, or one above, has another name in the same place; None where it is not found."""
    folder, names = Path(path), list[str]()
    while not folder.exists():
        names.insert(0, folder.name)
        folder = folder.parent
    try:
        for beside in folder.iterdir():
            moved = beside.joinpath(*names[1:])
            if len(names) > 1 and _holds(str(moved), content):
                return str(moved)
    except OSError:
        return None
    return None


def _content(task: FrameTask) -> FileContent | None:
    return task.reference.content if isinstance(task.reference, TiffFrame) else None


def _holds(path: str, content: FileContent) -> bool:
    try:
        return content.is_in(Path(path).stat())
    except OSError:
        return False
