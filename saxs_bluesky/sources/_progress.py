"""What was accepted and done, on disk: so that a program that was killed goes on where it was."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from saxs_bluesky.errors import OutputError
from saxs_bluesky.locks import locked
from saxs_bluesky.sources._file_run import Named

_log = logging.getLogger(__name__)

_FILE, _LOCK = "progress.jsonl", "lock"


@dataclass
class Interrupted:
    """What a program that was killed has left.

    Parameters
    ----------
    identity
        Of what it was asked to do.
    known
        Files that were accepted in runs before the last, and their stamps.
    documents
        Those of the last raw run, in their order; no stop document.
    list_sizes
        How long the list of curves was after each frame that was done, from 0 frames on.
    catalogued
        How many frames are known to be in reduced runs that are complete.
    ended
        Whether all was done but for stop documents.
    """

    identity: str = ""
    known: list[tuple[str, int]] = field(default_factory=list)
    documents: list[Named] = field(default_factory=list)
    list_sizes: list[int] = field(default_factory=lambda: [0])
    catalogued: int = 0
    ended: bool = False

    @property
    def done(self) -> int:
        """How many frames were done."""
        return len(self.list_sizes) - 1

    @property
    def files(self) -> list[tuple[str, int]]:
        """All files that were accepted, with their stamps."""
        events = [doc["data"] for name, doc in self.documents if name == "event"]
        return self.known + [(data["image_path"], data["file_stamp"]) for data in events]


class Progress:
    """A journal of one raw run of files after the other, in a folder that one program at a time may use.

    Lines are handed to the operating system as they come, which the end of the program, however sudden, does not
    undo; a power failure may cost the last seconds. Where the disk takes no more, a warning says so, nothing more is
    noted until the next run, and after a crash more would be done again than needed.

    Parameters
    ----------
    folder
        Made where it is missing.

    Raises
    ------
    OutputError
        It cannot be written, or another program is at work with it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._told = False
        self._has_gap = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = locked(folder / _LOCK)
        except BlockingIOError as error:
            raise OutputError(f"{folder}: wanted a journal of one's own, found another program at work") from error
        except OSError as error:
            raise OutputError(f"{folder}: wanted a folder for a journal, found {error.strerror or error}") from error
        self._file: IO[bytes] | None = None
        #: What a program left that did not come to its end; None where there is nothing.
        self.left = self._read()

    def _read(self) -> Interrupted | None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        left = Interrupted()
        whole = 0
        for line in content.splitlines(keepends=True):
            try:
                kind, *rest = json.loads(line) if line.endswith(b"\n") else ["cut short"]
            except (ValueError, TypeError):
                break  # a disk that was full, or a power failure
            if not _take(left, kind, rest):
                break
            whole += len(line)
        if whole < len(content):
            _log.warning("%s: the last %d bytes are cut short and left out", self._path, len(content) - whole)
            os.truncate(self._path, whole)
        return left if left.documents or left.known else None

    def begin(self, identity: str, known: Iterable[tuple[str, int]] = ()) -> None:
        """Forget what was there; what is ``known`` stays, in place of the runs that it came in."""
        draft = self._path.with_suffix(".draft")
        self._close_file()
        try:
            with draft.open("wb") as file:
                file.write(_line("identity", identity))
                file.writelines(_line("known", path, stamp) for path, stamp in known)
            draft.replace(self._path)
            self._has_gap = False
        except OSError as error:
            self._warn(error)

    def note(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note a document of the raw run, before anybody gets it."""
        self._append(_line(name, doc))

    def done(self, frames: int, list_size: int) -> None:
        """Note that so many frames are done, and how long the list of curves is now."""
        self._append(_line("done", frames, list_size))

    def catalogued(self, frames: int) -> None:
        """Note that so many frames are in reduced runs that get no more."""
        self._append(_line("catalogued", frames))

    def end(self) -> None:
        """Note that nothing but stop documents is to come."""
        self._append(_line("end"))

    def clear(self) -> None:
        """Forget all: the program came to its end."""
        self._close_file()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another program have the folder."""
        self._close_file()
        self._lock.close()

    def _append(self, line: bytes) -> None:
        if self._has_gap:
            return  # or the frames behind it would be taken for those before them
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            written = self._file.write(line)
            if written != len(line):
                self._file.truncate(self._file.tell() - written)
                raise OSError(28, "No space left on device")
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        self._has_gap = True
        if not self._told:
            self._told = True
            _log.warning(
                "%s: wanted to note what is done, found %s; after a crash, more is done again than needed",
                self._path,
                error.strerror or error,
            )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(kind: str, *rest: Any) -> bytes:
    return json.dumps([kind, *rest], separators=(",", ":")).encode() + b"\n"


def _take(left: Interrupted, kind: str, rest: list[Any]) -> bool:
    """Take a line in; whether it was one."""
    match kind, rest:
        case "identity", [str(identity)]:
            left.identity = identity
        case "known", [str(path), int(stamp)]:
            left.known.append((path, stamp))
        case (("start" | "descriptor"), [dict(doc)]):
            left.documents.append((kind, doc))
        case "event", [{"data": {"image_path": str(), "file_stamp": int()}} as doc]:
            left.documents.append((kind, doc))
        case "done", [int(frames), int(size)] if frames > 0:
            # A frame may be done twice, and a mark may be missing where the disk was full.
            del left.list_sizes[frames:]
            left.list_sizes += [size] * (frames + 1 - len(left.list_sizes))
        case "catalogued", [int(frames)]:
            left.catalogued = frames
        case "end", []:
            left.ended = True
        case _:
            return False
    return True
