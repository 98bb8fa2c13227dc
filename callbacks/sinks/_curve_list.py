"""The list of written curves, as reduced runs tell of them."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from saxs_bluesky.documents import Document, ReducedRunReader
from saxs_bluesky.errors import OutputError, system_reason
from saxs_bluesky.reduction import Curve, FileList

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
    within
        Folder that nothing is written out of, as in `OutputNames`.

    Attributes
    ----------
    failed
        Number of lines that could not be written.

    Raises
    ------
    LinkError
        A symbolic link is in the way.
    OSError
        The list cannot be begun.
    """

    def __init__(self, directory: Path, *, keep: bool, within: Path | None = None) -> None:
        self._list = FileList(directory, keep=keep, within=within)
        self._runs = ReducedRunReader()
        self._there: Counter[str] = Counter()
        self.failed = 0

    @property
    def path(self) -> Path:
        """Where the list is."""
        return self._list.path

    @property
    def size(self) -> int:
        """Length of the list in bytes."""
        return self._list.size

    def expect(self, size: int) -> None:
        """Go on with a list after a crash: do not write again the lines that stand after ``size`` bytes.

        A line that was cut short is removed. A list that was removed, cut or is no file meanwhile costs the lines of
        what was done before, which a warning tells.
        """
        path = self._list.path
        try:
            cut = self._list.mend()
            left = self._list.size
            # Lists of former versions have lines without the separator.
            self._there = Counter(f"/{line.removeprefix('/')}" for line in self._list.lines_after(size))
        except FileNotFoundError:
            if size:
                _log.warning("%s: the list is gone; curves that were listed before are not listed again", path)
        except OSError as error:
            _log.warning(
                "%s: the list of curves cannot be read (%s); curves may be listed twice, or not at all",
                path,
                system_reason(error),
            )
        else:
            if cut:
                _log.warning("%s: the last line was cut short; its %d bytes are removed", path, cut)
            if left < size:
                _log.warning(
                    "%s: wanted at least %d bytes of the list, found %d; curves that were listed before are not "
                    "listed again",
                    path,
                    size,
                    left,
                )

    def __call__(self, name: str, doc: Document) -> None:
        """Take a document in; list the curves that it tells of."""
        for frame in self._runs.frames(name, doc):
            written = () if frame.files is None else frame.files.curves
            for path, curve in zip(written, frame.curves, strict=False):
                if path:
                    self._list_or_count(path, curve)

    def _list_or_count(self, path: str, curve: Curve) -> None:
        try:
            self.add(path, curve)
        except (OSError, OutputError) as error:
            if not self.failed:
                reason = getattr(error, "strerror", None) or error
                _log.warning("%s: a curve cannot be listed (%s)", self._list.path, reason)
            self.failed += 1

    def add(self, path: str | Path, curve: Curve) -> None:
        """Add the line of a curve, unless it stands there already from before a crash.

        Parameters
        ----------
        path
            The curve's file.
        curve
            The curve, for its integral parameters.

        Raises
        ------
        OSError, OutputError
            The line cannot be written.
        """
        line = self._list.line(path, curve)
        if self._there[line]:
            self._there[line] -= 1
        else:
            self._list.append(line)
