"""Progress journal: which files are accepted and done, on disk, to continue after a crash."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from saxs_bluesky.errors import OutputError, system_reason
from saxs_bluesky.file_pipeline._interrupted_runs import VERSION, Interrupted, known_lines
from saxs_bluesky.file_pipeline._journal_reader import BEGUN, TAIL, read_interrupted
from saxs_bluesky.sources import accepted_in
from saxs_bluesky.support import journal_lines
from saxs_bluesky.support.journal_lines import made
from saxs_bluesky.support.locks import locked, pids_of

_log = logging.getLogger(__name__)

_KNOWN, _LOCK = "known-*.jsonl", "lock"

_LONG = 4096  # events, from which on their files are put among those that are known
_BLOATED = 200  # bytes for each known file, from which on their list is written anew


class ProgressJournal:
    """A journal of one raw run of files after the other, in a folder that one program at a time may use.

    Documents of the run stand in ``progress.jsonl`` until their frames are safe; of each file then only its name and
    stamp are kept, in a file ``known-*.jsonl`` that is added to. ``begun.jsonl`` says that there is a run, and repeats
    its start and descriptor.

    Lines are handed to the operating system as they come, which the end of the program, however sudden, does not
    undo; a power failure may cost the last seconds. Each has a checksum: one that is damaged costs itself, and is put
    aside. Where the disk takes no more, a warning says so, nothing more is noted until the next run, and after a
    crash more would be done again than needed.

    Its methods may be called from several threads.

    Parameters
    ----------
    folder
        Made where it is missing.

    Raises
    ------
    OutputError
        It cannot be written, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / TAIL
        self._warned = False
        self._has_gap = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = locked(folder / _LOCK)
        except BlockingIOError as error:
            raise OutputError(
                f"{folder}: the journal folder is used by another process{pids_of(folder / _LOCK)}"
            ) from error
        except OSError as error:
            raise OutputError(f"{folder}: the journal cannot be written here: {system_reason(error)}") from error
        self._file: IO[bytes] | None = None
        self._using = threading.RLock()
        self._header: dict[str, bytes] = {}
        self._generation = ""  # name of the list of known files
        self._tail: deque[tuple[int, str, int, bytes]] = deque()
        self._sizes: deque[tuple[int, int]] = deque()
        self._last = 0  # number of the last event
        self._void = 0  # number of the last event before all was asked for again
        self._long = _LONG
        #: The run of a program that was killed; None if there is none.
        self.interrupted = read_interrupted(folder)
        self._generation_is_void = False
        self._run_id = ""
        #: Folders whose images were asked for again, and whether those below belong to it.
        self.asked: list[tuple[str, bool]] = []
        if self.interrupted is not None:
            self.asked = list(self.interrupted.asked)
            self._generation, self._last = self.interrupted.generation, self.interrupted.last
        self._forgets = False  # all was asked for again, while what was left is being completed

    def adopt(self, identity_before: str, identity: str) -> None:
        """Take a journal of the first version for one of this task, whose identity was another text then."""
        interrupted = self.interrupted
        if interrupted is not None and not interrupted.run_id and interrupted.identity == identity_before:
            interrupted.identity = identity

    # What is done

    def begin(
        self,
        identity: str,
        known: Collection[tuple[str, int]] = (),
        *,
        before: int | None = None,
        asked: Iterable[tuple[str, bool]] = (),
    ) -> None:
        """Begin the journal of a run; only the ``known`` files of earlier runs are kept.

        Parameters
        ----------
        identity
            Of what is to be done.
        known
            Files that are not to be done again, and their stamps.
        before
            How many files were accepted before; None: those that are known.
        asked
            Folders whose images were asked for again, and whether those below belong to it.
        """
        with self._using:
            try:
                self._generation = self._write_known(known_lines(known))
                self._begin(identity, len(known) if before is None else before, asked)
            except OSError as error:
                self._warn(error)

    def go_on(self, identity: str, interrupted: Interrupted, before: int) -> None:
        """Begin another run of the same task: the files of the last one are known."""
        with self._using:
            if self._forgets:
                self.begin(identity, before=before, asked=self.asked)
            elif not interrupted.generation or interrupted.forgets or self._is_bloated(interrupted):
                self.begin(identity, interrupted.files, before=before, asked=self.asked)
            else:
                try:
                    self._add_known(known_lines(interrupted.accepted()))
                    self._begin(identity, before, self.asked)
                except OSError as error:
                    self._warn(error)

    def _is_bloated(self, interrupted: Interrupted) -> bool:
        """True if files that were overwritten or removed make the list of known files long."""
        try:
            size = (self._folder / interrupted.generation).stat().st_size
        except OSError:
            return True
        return size > _BLOATED * (1000 + sum(len(names) for names in interrupted.known.values()))

    def _begin(self, identity: str, before: int, asked: Iterable[tuple[str, bool]]) -> None:
        self.asked, self._forgets = list(asked), False
        self._run_id = uuid4().hex
        self._header = {"identity": made("identity", identity), "before": made("before", before)}
        self._tail.clear()
        self._sizes.clear()
        self._last = self._void = 0
        (self._folder / BEGUN).unlink(missing_ok=True)
        self._write_tail(())
        self._write_begun()
        self._has_gap = False
        self._remove_known(but=self._generation)

    def note_document(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note a document of the raw run, before anybody gets it."""
        line = made(name, doc)
        with self._using:
            if not self._append(line):
                return
            if name == "event":
                self._last = doc["seq_num"]
                self._tail.append((self._last, *accepted_in(doc["data"]), line))
            else:
                self._header[name] = line
            if name == "descriptor":
                try:
                    self._write_begun()
                except OSError as error:
                    self._warn(error)

    def note_done(self, frames: int, list_size: int) -> None:
        """Note that so many frames are done, and how long the list of curves is now."""
        line = journal_lines.sealed(b'["done",%d,%d]' % (frames, list_size))  # quicker than made
        with self._using:
            if self._append(line):
                self._sizes.append((frames, list_size))

    def note_catalogued(self, runs: Mapping[str, Iterable[tuple[int, int]]]) -> None:
        """Note which frames, from one number up to another, are in which reduced runs that get no more."""
        with self._using:
            self._append(made("catalogued", {uid: list(ranges) for uid, ranges in runs.items()}))

    def note_asked_again(self, folder: str | Path, *, recursive: bool = True) -> None:
        """Note that all images in a folder were asked for again: what was accepted before is forgotten."""
        with self._using:
            self._append(made("again", str(folder), recursive, self._last))
            self._void = self._last
            self._generation_is_void = True
            self._forgets |= self.interrupted is not None
            if (str(folder), recursive) not in self.asked:
                self.asked.append((str(folder), recursive))

    def note_end(self) -> None:
        """Note that nothing but stop documents is to come."""
        with self._using:
            self._append(2 * made("end"))  # without it, all would be told to the catalog again

    def clear(self) -> None:
        """Empty the journal: the program came to its end."""
        with self._using:
            self._close_file()
            for path in (self._folder / BEGUN, self._path):
                path.unlink(missing_ok=True)
            self._remove_known()

    def set_aside(self, why: str) -> None:
        """Forget all, and keep the files under other names: they cannot be used."""
        with self._using:
            self._close_file()
            for path in (self._path, self._folder / BEGUN, *self._folder.glob(_KNOWN)):
                if path.exists() and ".damaged-" not in path.name:
                    journal_lines.set_aside(path, why)
            self._generation = ""
            self.asked = []

    def close(self) -> None:
        """Release the folder for another program."""
        with self._using:
            self._close_file()
            self._lock.close()

    # A journal that stays small

    @property
    def is_long(self) -> bool:
        """True if it is time to `compact` it."""
        return len(self._tail) >= self._long

    def compact(self, frames: int) -> None:
        """Keep only the names and stamps of the files of the first so many frames, which are stored elsewhere."""
        with self._using:
            if self._has_gap:
                return
            safe = self._safe(frames)
            if not safe:
                return
            compacted, files = safe[-1][0], [(path, stamp) for number, path, stamp, _ in safe if number > self._void]
            sizes = self._sizes_from(compacted)
            generation = self._generation
            try:
                if self._generation_is_void or not generation:
                    self._generation = self._write_known(known_lines(files))
                else:
                    self._add_known(known_lines(files))
                events = (line for number, _, _, line in self._tail if number > compacted)
                self._write_tail([made("compacted", *sizes[0]), *(made("done", *size) for size in sizes[1:]), *events])
                if self._generation != generation:
                    self._write_begun()
                    self._remove_known(but=self._generation)
            except OSError as error:
                self._generation = generation
                self._long *= 2
                _log.warning("%s: the journal cannot be compacted (%s), and grows", self._path, system_reason(error))
                return
            self._generation_is_void = False
            self._sizes = deque(sizes)
            for _ in safe:
                self._tail.popleft()

    def _safe(self, frames: int) -> list[tuple[int, str, int, bytes]]:
        """Events that may go: not those of the last file, of which there may be more to come."""
        last = self._tail[-1][1:3] if self._tail else None
        end = len(self._tail)
        while end and self._tail[end - 1][1:3] == last:
            end -= 1
        return [event for event in islice(self._tail, end) if event[0] <= frames]

    def _sizes_from(self, frames: int) -> list[tuple[int, int]]:
        """How long the list was after so many frames, and after each that was done since."""
        before = [size for number, size in self._sizes if number <= frames]
        return [(frames, before[-1] if before else 0), *(mark for mark in self._sizes if mark[0] > frames)]

    def _write_known(self, lines: Iterator[bytes]) -> str:
        """Begin another list of known files; none where there are none."""
        first = next(lines, None)
        if first is None:
            return ""
        name = _KNOWN.replace("*", uuid4().hex[:8])
        journal_lines.write_synced(self._folder / name, chain([first], lines))
        return name

    def _add_known(self, lines: Iterator[bytes]) -> None:
        with (self._folder / self._generation).open("ab") as file:
            size = file.tell()
            try:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def _remove_known(self, but: str = "") -> None:
        for path in self._folder.glob(_KNOWN):
            if path.name != but:
                path.unlink(missing_ok=True)

    @property
    def _opening(self) -> list[bytes]:
        journal = made("journal", VERSION, self._generation, self._run_id)
        asked = [made("asked", folder, recursive) for folder, recursive in self.asked]
        return [journal, *self._header.values(), *asked]

    def _write_tail(self, lines: Iterable[bytes]) -> None:
        self._close_file()
        void = [made("void", self._void)] if self._void else []
        journal_lines.write_synced(self._path, [*self._opening, *void, *lines])

    def _write_begun(self) -> None:
        journal_lines.write_synced(self._folder / BEGUN, self._opening)

    def _append(self, line: bytes) -> bool:
        """Add a line, with the lock held; True if it is written."""
        if self._has_gap:
            return False  # or the frames behind it would be taken for those before them
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            written = self._file.write(line)
            if written != len(line):
                self._file.truncate(self._file.tell() - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._warn(error)
            return False
        return True

    def _warn(self, error: OSError) -> None:
        self._has_gap = True
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s: the journal cannot be written (%s): after a crash, more images are done again than needed",
                self._path,
                system_reason(error),
            )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
