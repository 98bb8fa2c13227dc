"""The interrupted run in a progress journal, and the lines that tell of it."""

from __future__ import annotations

import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.reduction import has_stamp
from saxs_bluesky.sources import accepted_in
from saxs_bluesky.support import journal_lines

VERSION = 2

_NAMES_IN_A_LINE = 64  # of which a byte that is flipped may cost as many
_MASK = 0x7FFF_FFFF_FFFF_FFFF

# What can be read in a line that is damaged elsewhere.
_PATH = re.compile(rb'"image_path":("(?:[^"\\]|\\.)*")')
_STAMP = re.compile(rb'"file_stamp":(\d+)')
_PAGES = re.compile(rb'"image_pages":(\d+)')
_NUMBER = re.compile(rb'"seq_num":(\d+)')
_MANY_PAGES = re.compile(rb'"image_pages":(?!1\b)')


class NewerVersionError(ValueError):
    """A journal of a version of this program that is not yet known here."""


@dataclass
class Interrupted:
    """What the journal of a program that was killed says of its last run.

    Parameters
    ----------
    identity
        Of what it was asked to do.
    before
        How many files were accepted in the runs before the last.
    known
        Names and stamps, by folder, of the files that were accepted in runs before the last, and of those whose
        frames of the last run are safe for good.
    asked
        Folders whose images were asked for again, and whether those below them belong to it.
    start, descriptor
        Of the last raw run.
    events
        Of that run, by their numbers; not those of its first ``compacted`` frames.
    compacted
        How many frames are safe for good.
    sizes
        How long the list of curves was after so many frames.
    catalogued
        Ranges of frames by the uids of the reduced runs that they are in, which are complete; of the first version
        of the journal without uid.
    ended
        True if all was done except the stop documents.
    forgets
        Whether all was asked for again in the last run, so that files which were known before are not.
    is_damaged
        True if lines are damaged or missing.
    void
        Number of the last event before all was asked for again.
    verified
        Files of events, by their numbers, whose lines are damaged but name a file that is as they say.
    named
        Files of which nothing is known but that they were accepted, or were about to be.
    run_id, generation
        Tell the files of the journal that belong together: of the last run, and of the list of known files.
    """

    identity: str = ""
    before: int = 0
    known: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: list[tuple[str, bool]] = field(default_factory=list)
    start: dict[str, Any] | None = None
    descriptor: dict[str, Any] | None = None
    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    compacted: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    catalogued: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    ended: bool = False
    forgets: bool = False
    is_damaged: bool = False
    named: list[str] = field(default_factory=list)
    run_id: str = field(default="", repr=False)
    generation: str = field(default="", repr=False)
    void: int = 0
    verified: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """True if the journal says nothing."""
        return not (self.start or self.descriptor or self.events or self.known or self.asked or self.before)

    @property
    def done(self) -> int:
        """How many frames were done."""
        return max(self.compacted, min(self.sizes[-1][0], self.last) if self.sizes else 0)

    @property
    def last(self) -> int:
        """Number of the last event that is known."""
        return max([self.compacted, *self.events, *self.verified])

    @property
    def documents(self) -> list[NamedDocument]:
        """Those of the last raw run that are here, in their order; no stop document."""
        opening = [("start", self.start), ("descriptor", self.descriptor)]
        found = [(name, doc) for name, doc in opening if doc is not None]
        return found + [("event", self.events[number]) for number in sorted(self.events)]

    def list_size(self, frames: int) -> int:
        """Length of the list of curves in bytes when so many frames were done, or less if that is not known."""
        place = bisect_right(self.sizes, frames, key=lambda mark: mark[0])
        return self.sizes[place - 1][1] if place else 0

    def accepted(self) -> Iterator[tuple[str, int]]:
        """Files of the last run whose events are here, and which were not asked for again since, with their stamps."""
        for number in sorted(self.events):
            if number > self.void:
                yield accepted_in(self.events[number]["data"])
        for number, file in self.verified.items():
            if number > self.void and number not in self.events:
                yield file

    @property
    def files(self) -> list[tuple[str, int]]:
        """All files that were accepted, with their stamps."""
        known = [
            (os.path.join(folder, name), stamp) for folder, names in self.known.items() for name, stamp in names.items()
        ]
        return known + list(self.accepted())

    def remember(self, path: str, stamp: int) -> None:
        """Note that a content of a file need not be done again."""
        folder, name = os.path.split(path)
        self.known.setdefault(folder, {})[name] = stamp

    def missing(self) -> list[int]:
        """Numbers of the events that there were, and that nothing is known of."""
        known = self.events.keys() | self.verified.keys()
        if len(known) == self.last - self.compacted:
            return []
        return [number for number in range(self.compacted + 1, self.last + 1) if number not in known]

    def complete(self, begun: Interrupted) -> None:
        """Take over what a copy of the beginning of the journal says, where the journal does not."""
        for name in ("identity", "generation", "before", "start", "descriptor", "asked"):
            setattr(self, name, getattr(self, name) or getattr(begun, name))

    def know(self, listed: Interrupted) -> None:
        """Take over the list of known files."""
        for folder, names in self.known.items():
            listed.known.setdefault(folder, {}).update(names)
        self.known = listed.known
        self.is_damaged |= listed.is_damaged

    def read_line(self, line: bytes) -> bool:
        """Read a line; False if it is damaged, or not a line of a journal.

        Raises
        ------
        NewerVersionError
            It says that the journal is of one.
        """
        try:
            return self.read_record(journal_lines.read(line))
        except NewerVersionError:
            raise
        except (ValueError, TypeError):
            return False

    def read_record(self, elements: list[Any]) -> bool:  # noqa: C901 - a table
        """Read the content of a line; False if it is not a line of a journal.

        Raises
        ------
        NewerVersionError
            The line says that the journal is one.
        """
        match elements:
            case ["journal", int(version), str(generation), str(run_id)]:
                if version > VERSION:
                    raise NewerVersionError(f"version {version}")
                self.generation, self.run_id = generation, run_id
            case ["journal", int(version), *_] if version > VERSION:
                raise NewerVersionError(f"version {version}")
            case ["identity", str(identity)]:
                self.identity = identity
            case ["before", int(number)] if number >= 0:
                self.before = number
            case ["known", str(path), int(stamp)]:  # of the first version: one file a line
                self.remember(path, stamp)
                self.before += 1
            case ["known", str(folder), str(names), str(stamps)]:
                return self._read_known(folder, names.split("/"), stamps)
            case ["again", str(folder), bool(recursive), int(last)]:
                self.known.clear()
                self.forgets = True
                self.void = max(self.void, last)
                self._add_asked(folder, recursive)
            case ["void", int(last)]:
                self.void = max(self.void, last)
            case ["asked", str(folder), bool(recursive)]:
                self._add_asked(folder, recursive)
            case ["start", {"uid": str()} as doc]:
                self.start = doc
            case ["descriptor", {"uid": str(), "run_start": str()} as doc]:
                self.descriptor = doc
            case ["event", {"seq_num": int(number), "data": {"image_path": str(), "file_stamp": int()}} as doc]:
                self.events.setdefault(number, doc)
            case ["compacted", int(frames), int(size)] if frames >= 0:
                self.compacted = frames
                self.sizes = [(frames, size)]
            case ["done", int(frames), int(size)] if frames > 0:
                # A frame may be done twice.
                while self.sizes and self.sizes[-1][0] >= frames:
                    self.sizes.pop()
                self.sizes.append((frames, size))
            case ["catalogued", int(frames)]:  # of the first version
                self.catalogued = {"": [(0, frames)]}
            case ["catalogued", dict(runs)]:
                self.catalogued = {uid: [(int(begin), int(end)) for begin, end in runs[uid]] for uid in runs}
            case ["end"]:
                self.ended = True
            case _:
                return False
        return True

    def _read_known(self, folder: str, names: list[str], stamps: str) -> bool:
        try:
            numbers = struct.unpack(f">{len(names)}Q", bytes.fromhex(stamps))
        except (ValueError, struct.error):
            return False
        self.known.setdefault(folder, {}).update(zip(names, numbers, strict=True))
        return True

    def _add_asked(self, folder: str, recursive: bool) -> None:
        if (folder, recursive) not in self.asked:
            self.asked.append((folder, recursive))

    def guess(self, line: bytes) -> None:
        """Read what can be read in a damaged line."""
        self.is_damaged = True
        path, stamp, number = _PATH.search(line), _STAMP.search(line), _NUMBER.search(line)
        if line.startswith(b'["known"'):
            # A name or a stamp that is wrong fits no file, and costs no more than that this file is done again.
            with suppress(ValueError, TypeError):
                self.read_record(journal_lines.loads(line)[:4])
        if path is None:
            return
        with suppress(ValueError, OSError):
            name = journal_lines.loads(path[1])
            # Which pages of a file with several were accepted, the events of the others tell.
            if stamp and number and not _MANY_PAGES.search(line) and has_stamp(os.stat(name), int(stamp[1])):
                self.verified[int(number[1])] = (name, int(stamp[1]))
            else:
                self.named.append(name)


def known_lines(files: Iterable[tuple[str, int]]) -> Iterator[bytes]:
    """Lines for files that are known; about 40 bytes each."""
    folder = ""
    names: list[str] = []
    stamps: list[int] = []
    for path, stamp in files:
        where, name = os.path.split(path)
        if names and (where != folder or len(names) >= _NAMES_IN_A_LINE):
            yield _known(folder, names, stamps)
            names, stamps = [], []
        folder = where
        if names and names[-1] == name:  # another page of the same file
            stamps[-1] = stamp
            continue
        names.append(name)
        stamps.append(stamp)
    if names:
        yield _known(folder, names, stamps)


def _known(folder: str, names: list[str], stamps: list[int]) -> bytes:
    packed = struct.pack(f">{len(stamps)}Q", *(stamp & _MASK for stamp in stamps))
    return journal_lines.made("known", folder, "/".join(names), packed.hex())
