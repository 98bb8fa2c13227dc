"""Journal files of runs that an earlier program left, as far as they are whole."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saxs_bluesky.callbacks.catalog_writer._document_lines import CUT_OFF, Glance, numbers_of
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal
from saxs_bluesky.documents import REFERRED_TO, RUN_REFERENCES, Document, RunLookup
from saxs_bluesky.errors import OutputError, system_reason
from saxs_bluesky.support.journal_lines import Damage, keep, whole_lines, write_synced

_log = logging.getLogger(__name__)

_ONCE = ("start", "descriptor", "stop")


@dataclass
class _Lines:
    """What a look through a file has found.

    Parameters
    ----------
    damage
        What cannot be used.
    good
        How many lines can.
    left_out
        Numbers of the lines that cannot, or stand there twice.
    documents
        Those that others refer to, and the stop document, as lines and in their order.
    in_order
        Whether the start is the first line, and the stop document the last.
    """

    damage: Damage
    good: int = 0
    left_out: set[int] = field(default_factory=set)
    documents: list[tuple[str, Document, bytes]] = field(default_factory=list)
    in_order: bool = True

    def named(self, *names: str) -> list[bytes]:
        return [line for name, _, line in self.documents if name in names]

    @property
    def uid(self) -> str:
        """The run's; empty where its start is not there."""
        return next((str(doc["uid"]) for name, doc, _ in self.documents if name == "start"), "")

    @property
    def complete(self) -> bool:
        return any(name == "stop" for name, _, _ in self.documents)


def recovered(path: Path, rejected: Path, runs: RunLookup[RunJournal]) -> RunJournal | None:
    """Read the journal file of a run; None where nothing of it is of use.

    Lines that are damaged are put aside, and what is left is in the file. A run without its start document is put
    aside as a whole.

    Parameters
    ----------
    path
        The file; it need not be there, where others tell of it.
    rejected
        Folder for what is put aside.
    runs
        Learns the documents that others refer to.
    """
    lines, trouble = _looked_through(path)
    opening = path.with_suffix(".opening")
    kept, _ = _looked_through(opening)
    if trouble:
        _move(path, rejected, trouble)
        lines = _Lines(Damage(path))
    if lines.uid or kept.uid:
        return _mended(path, rejected, lines, kept, runs)
    for beside in (opening, path.with_suffix(".begun")):
        beside.unlink(missing_ok=True)
    if lines.good or lines.damage.lines:
        _move(path, rejected, "the start document of the run is missing")
    elif path.exists() and not lines.damage.cut:
        path.unlink()
        _log.warning("%s: the journal of a run is empty; what the catalog has of it gets no stop document", path)
    elif path.exists():
        path.unlink()  # the program ended when it had just begun to write
    elif not trouble:
        _log.warning("%s: the journal of a run is gone; what the catalog has of it gets no stop document", path)
    return None


def _looked_through(path: Path) -> tuple[_Lines, str]:
    """Look through a file; with the reason where it cannot be read."""
    lines = _Lines(Damage(path))
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    number = -1
    try:
        with path.open("rb") as file:
            for number, line in enumerate(whole_lines(file, lines.damage)):
                if not _look_at(line, lines, numbers):
                    lines.left_out.add(number)
    except FileNotFoundError:
        pass
    except OSError as error:
        return lines, f"the documents of the run cannot be read ({system_reason(error)})"
    return lines, ""


def _look_at(line: bytes, lines: _Lines, numbers: Mapping[str, set[int]]) -> bool:
    """True if a line is to be kept."""
    try:
        glance = Glance(line)
        name = glance.name
        if name == "event":
            own, number = numbers[glance.descriptor], glance.number
            if number in own:
                return False
            own.add(number)
        elif name == CUT_OFF:
            numbers_of(glance.doc["numbers"])
        elif name == "start" or name in RUN_REFERENCES:
            if name in _ONCE and line in lines.named(name):
                return False
            if name in REFERRED_TO or name == "stop":
                glance.doc["uid"]
                lines.documents.append((name, glance.doc, line if name in _ONCE else b""))
        else:
            raise ValueError("wanted a document, found none")
    # Lines of earlier versions have no checksum: what is made of them may be anything.
    except Exception:  # noqa: BLE001
        lines.damage.add(line)
        return False
    lines.in_order &= (name == "start") == (lines.good == 0) and (name == "stop" or not lines.complete)
    lines.good += 1
    return True


def _mended(path: Path, rejected: Path, lines: _Lines, kept: _Lines, runs: RunLookup[RunJournal]) -> RunJournal:
    run = RunJournal(path, lines.uid or kept.uid)
    run.left_over = True
    known = set(lines.named("start", "descriptor"))
    missing = [line for line in kept.named("start", "descriptor") if line not in known]
    if not path.exists() or (missing and not lines.good):
        _log.warning("%s: the journal of run %s is gone or empty; it gets what else is known of it", path, run.uid)
    if lines.damage.lines:
        where = keep(lines.damage, rejected)
        _log.warning("%s: %d lines are damaged, %s", path, lines.damage.lines, where)
    try:
        if missing or lines.left_out or not lines.in_order:
            write_synced(path, _in_order(path, lines, [*lines.named("start", "descriptor"), *missing]))
        elif lines.damage.cut:
            os.truncate(path, path.stat().st_size - lines.damage.cut)
    except OSError as error:
        raise OutputError(f"{path}: the journal of a run cannot be mended ({system_reason(error)})") from error
    run.lines = lines.good + len(missing)
    run.complete = lines.complete
    for name, doc, _ in [*lines.documents, *kept.documents]:
        if name != "stop":
            runs.note(doc["uid"], run)
    return run


def _in_order(path: Path, lines: _Lines, opening: list[bytes]) -> Iterator[bytes]:
    """The lines of a file that are of use: the start first, the stop document last."""
    yield from sorted(opening, key=lambda line: Glance(line).name != "start")
    apart = set(lines.named("start", "descriptor", "stop"))
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(whole_lines(file, Damage(path))):
                if number not in lines.left_out and line not in apart:
                    yield line
    yield from lines.named("stop")[:1]


def _move(path: Path, rejected: Path, why: str) -> None:
    target = rejected / path.name
    try:
        rejected.mkdir(exist_ok=True)
        path.rename(target)
    except OSError as error:
        _log.warning("%s: %s; it cannot be set aside (%s)", path, why, system_reason(error))
    else:
        _log.warning("%s: %s; it is set aside in %s", path, why, rejected)
