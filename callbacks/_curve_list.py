"""The list of written curves, as reduced runs tell of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saxs_bluesky.callbacks._reduced_frames import ReducedRuns
from saxs_bluesky.reduction import FileList

_log = logging.getLogger(__name__)


class CurveList:
    """A sink for the documents of reduced runs that lists the curves which the reduction has written.

    One line a curve is added to ``../results/filelist_<directory>.log`` beside the directory. A list that cannot be
    written costs nothing but its lines: they are counted, and told once.

    Parameters
    ----------
    directory
        The directory that all images are below.
    keep
        Whether to keep what is in the list already.

    Raises
    ------
    OSError
        The list cannot be begun.

    Attributes
    ----------
    failed
        Number of lines that could not be written.
    """

    def __init__(self, directory: Path, *, keep: bool) -> None:
        self._list = FileList(directory, keep=keep)
        self._runs = ReducedRuns()
        self._there: Counter[str] = Counter()
        self.failed = 0

    @property
    def size(self) -> int:
        """Length of the list in bytes."""
        return self._list.size

    def expect(self, size: int) -> None:
        """Do not write again the lines that stand after ``size`` bytes; each of them once."""
        self._there = Counter(self._list.lines_after(size))

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document in; list the curves that it tells of."""
        for frame in self._runs.frames(name, doc):
            if frame.files is not None:
                self._add(
                    [(path, curve) for path, curve in zip(frame.files.curves, frame.curves, strict=False) if path]
                )

    def _add(self, curves: Iterable[tuple[str, Any]]) -> None:
        for path, curve in curves:
            line = self._list.line(Path(path), curve)
            if self._there[line]:
                self._there[line] -= 1
                continue
            try:
                self._list.append(line)
            except OSError as error:
                if not self.failed:
                    _log.warning("%s: wanted to list a curve, found %s", self._list.path, error.strerror or error)
                self.failed += 1
