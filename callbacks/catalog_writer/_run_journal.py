"""The journal file of one run: documents as lines of JSON."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from saxs_bluesky.callbacks.catalog_writer._document_lines import CUT_OFF, CutOff, Glance, decode
from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.support.journal_lines import sync_folder, write_synced


class RunJournal:
    """The documents of one run, a line each.

    Lines are handed to the operating system as they come, so that they survive the end of this process, and are
    synced to the disk at the begin and with the run's stop document: a power failure may cost the last lines of an
    open run. Start and descriptors stand in a file ``.opening`` too: without them the others are worth nothing.

    Parameters
    ----------
    path
        The file; it may be one that another process left.
    uid
        The run's.
    """

    def __init__(self, path: Path, uid: str) -> None:
        self.path = path
        self.uid = uid
        self.lines = 0
        #: How many documents were cut off, since the catalog has them.
        self.cut = 0
        self.complete = False
        #: Whether an earlier owner of the journal began it.
        self.left_over = False
        #: Where `read` goes on, from the begin of the file.
        self.bytes_read = 0
        self._next = 0
        self._moving = threading.Lock()

    @property
    def begun(self) -> bool:
        """True if this journal's owner has begun to write the run to the catalog."""
        return self.path.with_suffix(".begun").exists()

    def mark_begun(self) -> None:
        """Note that what the catalog has of this run is ours."""
        if not self.begun:
            self.path.with_suffix(".begun").touch()
            sync_folder(self.path.parent)

    @property
    def opening(self) -> Path:
        """File with the start and the descriptors."""
        return self.path.with_suffix(".opening")

    def append(self, lines: list[bytes], *, complete: bool, opening: Sequence[bytes] = ()) -> None:
        """Add documents; ``complete`` says that the stop document is among them, ``opening`` are those kept twice.

        Raises
        ------
        OSError
            The disk takes no more; nothing was added.
        """
        with self._moving, self.path.open("ab") as file:
            size = file.tell()
            try:
                file.write(b"".join(lines))
                file.flush()
                if opening:
                    self._keep_opening(opening)
                if complete or opening:
                    os.fsync(file.fileno())
                if not size:
                    sync_folder(self.path.parent)
            except OSError:
                file.truncate(size)
                raise
            self.lines += len(lines)
            self.complete |= complete

    def _keep_opening(self, opening: Iterable[bytes]) -> None:
        kept = self.opening.read_bytes().splitlines(keepends=True) if self.opening.exists() else []
        write_synced(self.opening, [*kept, *opening])

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """Read on: up to so many numbered lines, from where the last call ended."""
        count = min(limit, self.lines - self._next)
        with self._moving, self.path.open("rb") as file:
            file.seek(self.bytes_read)
            found = [(self._next + index, file.readline()) for index in range(count)]
            self.bytes_read = file.tell()
        self._next += count
        return found

    def documents(self) -> Iterator[NamedDocument]:
        """Yield the documents that are in the file now, apart from `read`."""
        for line in self._all_lines():
            yield decode(line)

    def glances(self) -> Iterator[Glance]:
        """Yield what the lines are that are in the file now, without decoding all of them."""
        for line in self._all_lines():
            yield Glance(line)

    def _all_lines(self) -> Iterator[bytes]:
        with self._moving:
            file, lines = self.path.open("rb"), self.lines
        with file:
            for _ in range(lines):
                yield file.readline()

    def trim(self, line: int, is_cut: Callable[[Glance], bool]) -> int:
        """Cut off events before a line, which has been read; what they were stays in the file as ranges of numbers.

        Returns
        -------
        By how much the numbers of all later lines are lower now.

        Raises
        ------
        OSError
            The disk has no room for the rest; nothing was cut off.
        """
        with self._moving:
            kept, cut = [], CutOff()
            with self.path.open("rb") as file:
                for _ in range(line):
                    each = file.readline()
                    glance = Glance(each)
                    if glance.name == CUT_OFF:
                        cut.merge(glance.doc)
                    elif glance.name == "event" and is_cut(glance):
                        cut.add(glance)
                    else:
                        kept.append(each)
                kept += cut.lines(self.uid)
                offset = sum(map(len, kept))
                moved = self.bytes_read - file.tell()
                write_synced(self.path, itertools.chain(kept, file))
            shift = line - len(kept)
            self.bytes_read, self._next = offset + moved, self._next - shift
            self.lines -= shift
            self.cut += shift
        return shift

    def rewind(self) -> None:
        """Read from the first line again."""
        self.bytes_read = self._next = 0

    def move(self, folder: Path) -> None:
        """Put the file elsewhere; what comes later is added to it there."""
        beside = (self.path.with_suffix(".begun"), self.opening)
        folder.mkdir(exist_ok=True)
        with self._moving:
            self.path = self.path.replace(folder / self.path.name)
        for path in beside:
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the file: the catalog has it all."""
        for path in (self.path, self.path.with_suffix(".begun"), self.opening):
            path.unlink(missing_ok=True)
