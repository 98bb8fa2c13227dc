"""The lines of a run's journal: documents as JSON with a checksum, and what stands for events that were cut off."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from saxs_bluesky.documents import Document, NamedDocument, as_exact_json, from_exact_json
from saxs_bluesky.support.journal_lines import check, is_sealed, sealed, unsealed

#: Name of lines that stand for events that were cut off.
CUT_OFF = "cut off"


def encode(name: str, doc: Document) -> bytes:
    """One line of JSON; arrays keep their bits and their type, NaN and infinity are JavaScript's words for them."""
    return sealed(json.dumps([name, doc], default=as_exact_json, separators=(",", ":")).encode())


def decode(line: bytes) -> NamedDocument:
    """Read a document back; its arrays are new and may be written to.

    Raises
    ------
    ValueError
        It is damaged; a line without checksum, of an earlier version, may raise others.
    """
    name, doc = json.loads(unsealed(line), object_hook=from_exact_json)
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
        """True if an event tells which frame it is of."""
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

    def merge(self, doc: Document) -> None:
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
