"""The journal file of one run: documents as lines of JSON."""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.support.journal_lines import check, is_sealed, sealed, sync_folder, unsealed, write_synced

NamedDocument = tuple[str, dict[str, Any]]

#: Name of lines that stand for events that were cut off.
CUT_OFF = "cut off"

_ARRAY = "__ndarray__"


def encode(name: str, doc: Mapping[str, Any]) -> bytes:
    """One line of JSON; arrays keep their bits and their type, NaN and infinity are JavaScript's words for them."""
    return sealed(json.dumps([name, doc], default=plain, separators=(",", ":")).encode())


def decode(line: bytes) -> NamedDocument:
    """Read a document back; its arrays are new and may be written to.

    Raises
    ------
    ValueError
        It is damaged; a line without checksum, of an earlier version, may raise others.
    """
    name, doc = json.loads(unsealed(line), object_hook=_array)
    return name, doc


class Glance:
    """A line as far as it is needed to tell what it is, which costs less than to decode it.

    Parameters
    ----------
    line
        The line.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is damaged.
    """

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._doc: dict[str, Any] | None = None
        if is_sealed(line):
            check(line)
            self.name = line[2 : line.index(b'"', 2)].decode("ascii")
        else:
            self.name, doc = decode(line)
            data: Any = doc["data"] if self.name == "event" else {}
            if not isinstance(data, dict):
                raise TypeError("wanted data by their keys, found another value")
            self._doc = doc

    @property
    def doc(self) -> dict[str, Any]:
        """The document."""
        if self._doc is None:
            self._doc = decode(self._line)[1]
        return self._doc

    @property
    def number(self) -> int:
        """Sequence number of an event."""
        # Behind the data, in which no such text can stand: its quotation marks would have backslashes.
        found = self._integer(self._line.rfind(_NUMBER), _NUMBER)
        return int(self.doc["seq_num"]) if found is None else found

    @property
    def frame(self) -> int:
        """Which frame an event of a reduced run is of."""
        found = self._integer(self._line.find(_FRAME), _FRAME)
        return int(self.doc["data"]["frame_index"]) if found is None else found

    @property
    def is_of_frame(self) -> bool:
        """Whether an event tells which frame it is of."""
        return self._line.find(_FRAME) >= 0 or "frame_index" in self.doc["data"]

    @property
    def descriptor(self) -> str:
        """The descriptor of an event."""
        begin = self._line.rfind(_DESCRIPTOR)
        end = self._line.find(b'"', begin + len(_DESCRIPTOR))
        return str(self.doc["descriptor"]) if begin < 0 else self._line[begin + len(_DESCRIPTOR) : end].decode()

    def _integer(self, begin: int, key: bytes) -> int | None:
        if begin < 0:
            return None
        end = begin = begin + len(key)
        while self._line[end : end + 1].isdigit():
            end += 1
        return int(self._line[begin:end]) if self._line[end : end + 1] in (b",", b"}") and end > begin else None


_NUMBER, _FRAME, _DESCRIPTOR = b',"seq_num":', b'"frame_index":', b',"descriptor":"'


def plain(value: Any) -> Any:
    """Make of a value what JSON knows; for ``json.dumps``."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {_ARRAY: [value.dtype.str, list(value.shape), data]}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    return str(value)


def _array(found: dict[str, Any]) -> Any:
    if _ARRAY not in found:
        return found
    dtype, shape, data = found[_ARRAY]
    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape).copy()


class CutOff:
    """Events that are no longer in a file: their numbers and frames, by their descriptors."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, set[int]]] = {}

    def add(self, glance: Glance) -> None:
        """Note an event."""
        sets = self._sets(glance.descriptor)
        sets["numbers"].add(glance.number)
        if glance.is_of_frame:
            sets["frames"].add(glance.frame)

    def merge(self, doc: Mapping[str, Any]) -> None:
        """Note what was cut off before."""
        for name, found in self._sets(doc["descriptor"]).items():
            found.update(numbers_of(doc[name]))

    def lines(self, uid: str) -> list[bytes]:
        """Lines for the journal, one for each descriptor."""
        return [
            encode(
                CUT_OFF, {"run_start": uid, "descriptor": one} | {name: _ranges(found) for name, found in sets.items()}
            )
            for one, sets in self._numbers.items()
        ]

    def _sets(self, descriptor: str) -> dict[str, set[int]]:
        return self._numbers.setdefault(descriptor, {"numbers": set(), "frames": set()})


def numbers_of(ranges: Iterable[Sequence[int]]) -> set[int]:
    """Numbers from ranges: each its first, and the one behind its last."""
    return set(itertools.chain.from_iterable(range(*each) for each in ranges))


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] = number + 1
        else:
            found.append([number, number + 1])
    return found


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
        self._offset = 0
        self._next = 0
        self._moving = threading.Lock()

    @property
    def begun(self) -> bool:
        """Whether this journal's owner has begun to write the run to the catalog."""
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
                    self._keep(opening)
                if complete or opening:
                    os.fsync(file.fileno())
                if not size:
                    sync_folder(self.path.parent)
            except OSError:
                file.truncate(size)
                raise
            self.lines += len(lines)
            self.complete |= complete

    def _keep(self, opening: Iterable[bytes]) -> None:
        kept = self.opening.read_bytes().splitlines(keepends=True) if self.opening.exists() else []
        write_synced(self.opening, [*kept, *opening])

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """Read on: up to so many numbered lines, from where the last call ended."""
        count = min(limit, self.lines - self._next)
        with self._moving, self.path.open("rb") as file:
            file.seek(self._offset)
            found = [(self._next + index, file.readline()) for index in range(count)]
            self._offset = file.tell()
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

    @property
    def bytes_read(self) -> int:
        """Where `read` goes on, from the begin of the file."""
        return self._offset

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
                moved = self._offset - file.tell()
                write_synced(self.path, itertools.chain(kept, file))
            shift = line - len(kept)
            self._offset, self._next = offset + moved, self._next - shift
            self.lines -= shift
            self.cut += shift
        return shift

    def rewind(self) -> None:
        """Read from the first line again."""
        self._offset = self._next = 0

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
