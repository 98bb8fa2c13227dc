"""Files that are overwritten before they are reduced: found out, counted, and looked at again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace

from saxs_bluesky.documents import FileContent, FrameTask, TiffFrame, holds, moved_to
from saxs_bluesky.frame_job import FrameResult, renamed
from saxs_bluesky.reduction import Stamp, superseded
from saxs_bluesky.support.latest import keep_latest

_log = logging.getLogger(__name__)

_MOST_REMEMBERED = 10_000


class ContentCheck:
    """Sees to it that the curves of a file are made of the content that its event describes.

    Whoever reads a file compares its stamp. On a computer that sees other stamps than this one, as with some network
    filesystems, size and time have to do, and this computer looks at the stamps when the frame is back.

    Parameters
    ----------
    look_again
        Told the path of each file with newer content, or that has another path now, so that it becomes another event;
        ``anew`` where what was accepted under the other path may be this very content.
    """

    def __init__(self, look_again: Callable[..., None]) -> None:
        self._look_again = look_again
        self._by_stamp = True
        self._outdated: dict[str, Stamp] = {}
        self._moved: set[str] = set()
        self._looked_at_anew: dict[tuple[str, Stamp], None] = {}  # the latest
        self._folders: dict[str, int | None] = {}  # inodes, as they were when an image of each was asked for first
        #: How many frames had newer content.
        self.superseded = 0

    @property
    def outdated(self) -> int:
        """How many files have newer content that is not reduced yet."""
        return len(self._outdated)

    def asked(self, task: FrameTask) -> FrameTask:
        """The task as it goes to a worker."""
        frame = task.reference
        if isinstance(frame, TiffFrame):
            folder = os.path.dirname(frame.path)  # noqa: PTH120 - for each frame
            if folder not in self._folders:
                keep_latest(self._folders, folder, _inode(folder), _MOST_REMEMBERED)
        if self._by_stamp or not isinstance(frame, TiffFrame) or frame.content is None:
            return task
        return replace(task, reference=replace(frame, content=replace(frame.content, by_stamp=False)))

    def judged(self, task: FrameTask, result: FrameResult, here: Callable[[], FrameResult]) -> FrameResult:
        """Outcome of a task by the stamps of this computer.

        Parameters
        ----------
        task
            As it was before it was ``asked``.
        result
            Of a worker.
        here
            Does the work in this process.
        """
        content = _content(task)
        if content is None or task.reference is None or task.failure:
            return result
        path = task.reference.path
        if result.superseded and holds(path, content):
            if self._by_stamp:
                _log.warning("%s: workers see other inode numbers or times; size and time are compared there", path)
            self._by_stamp = False
            return here()
        if not self._by_stamp and not result.failure and not holds(path, content):
            return FrameResult(str(superseded(path)), superseded=True)
        if result.failure and not os.path.lexists(path):
            return self._judged_absent(path, content, result)
        if result.superseded and self._is_replaced(os.path.dirname(path)):  # noqa: PTH120
            self._look_where_it_moved(path, content)
        return result

    def _is_replaced(self, folder: str) -> bool:
        """True if another folder has the name now; cheap, since files may be overwritten all the time."""
        return folder in self._folders and self._folders[folder] != _inode(folder)

    def _look_where_it_moved(self, path: str, content: FileContent) -> None:
        """See to it that a content is reduced whose folder has another name now, and another file its path."""
        key = path, content.stamp
        moved = None if key in self._looked_at_anew else moved_to(path, content)
        if moved is None:
            return
        keep_latest(self._looked_at_anew, key, None, _MOST_REMEMBERED)  # once, and not for each of its pages
        self._look_again(moved, anew=True)

    def _judged_absent(self, path: str, content: FileContent, result: FrameResult) -> FrameResult:
        """Outcome of a file that was gone before it was read: no failure where its folder has another name now."""
        self._look_again(path)
        moved = moved_to(path, content)
        if moved is None:
            return replace(result, superseded=False)
        self._look_again(moved)
        self._moved.add(path)
        return FrameResult(str(renamed(path, moved)), superseded=True)

    def delivered(self, task: FrameTask, result: FrameResult) -> None:
        """Note what became of a frame."""
        content = _content(task)
        if content is None or task.reference is None:
            return
        path = task.reference.path
        if path in self._moved:
            self._moved.discard(path)
            self.superseded += 1
        elif result.superseded:
            self.superseded += 1
            self._outdated[path] = content.stamp
            self._look_again(path)
        elif self._outdated.get(path, content.stamp) != content.stamp:
            del self._outdated[path]


def _inode(folder: str) -> int | None:
    try:
        return os.stat(folder).st_ino  # noqa: PTH116
    except OSError:
        return None


def _content(task: FrameTask) -> FileContent | None:
    return task.reference.content if isinstance(task.reference, TiffFrame) else None
