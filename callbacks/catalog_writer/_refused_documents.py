"""What no catalog takes: kept in a folder of the journal, each with its reason."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from saxs_bluesky.documents import Document, as_exact_json
from saxs_bluesky.errors import printable

_log = logging.getLogger(__name__)

_REASONS = "reasons.log"


@dataclass(frozen=True)
class Reason:
    """Why something is set aside.

    Attributes
    ----------
    time
        When, in seconds since the epoch.
    run
        Uid of the run; empty where nobody knows.
    file
        Name of the file in the folder.
    reason
        What the catalog said.
    """

    time: float
    run: str
    file: str
    reason: str


class RefusedDocuments:
    """A folder of what no catalog takes.

    Parameters
    ----------
    journal
        Folder of the journal; the reasons are kept there, and what is set aside below it.
    """

    def __init__(self, journal: Path) -> None:
        self.folder = journal / "rejected"
        self._reasons = journal / _REASONS
        self._told: set[tuple[str, str, str]] = set()
        self._known: dict[str, set[tuple[str, str, int]]] = {}

    def note(self, run: str, file: str, reason: str) -> None:
        """Keep the reason for a file in the folder."""
        found = Reason(time.time(), run, file, printable(reason))
        with self._reasons.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(found)) + "\n")

    def documents(self, run: str, lines: Sequence[bytes], reason: str) -> Path:
        """Keep documents of a run; where they are there already, nothing is done."""
        path = self._made(f"{Path(run).name}-documents.jsonl")
        kept = path.read_bytes() if path.exists() else b""
        new = [line for line in lines if line not in kept]
        if new:
            with path.open("ab") as file:
                file.write(b"".join(new))
            self.note(run, path.name, reason)
        return path

    def value(self, run: str, stream: str, key: str, number: int, value: Any, reason: str) -> bool:
        """Keep a value of an event; whether it was not there yet.

        Parameters
        ----------
        run, stream, key, number
            Which event it is of, and its key.
        value
            The value.
        reason
            Why it is not in the catalog.
        """
        path = self._made(f"{Path(run).name}-values.jsonl")
        known = self._known.setdefault(run, set()) or self._known_in(path)
        self._known[run] = known
        if (stream, key, number) in known:
            return False
        found = {"run": run, "stream": stream, "key": key, "seq_num": number, "reason": reason, "value": value}
        line = json.dumps(found, default=as_exact_json).encode() + b"\n"
        with path.open("ab") as file:
            file.write(line)
        known.add((stream, key, number))
        if (run, stream, key) not in self._told:
            self._told.add((run, stream, key))
            self.note(run, path.name, f"{key} in stream {stream}: {reason}")
            _log.warning(
                "run %s: the value of %s in event %d of stream %s is left out (%s); the rest of the event is written. "
                "Values left out are kept in %s",
                *(printable(str(part)) for part in (run, key)),
                number,
                *(printable(str(part)) for part in (stream, reason, path)),
            )
        return True

    def forget(self, run: str) -> None:
        """Let go of what is known of a run that is over."""
        self._known.pop(run, None)
        self._told = {told for told in self._told if told[0] != run}

    def reasons(self) -> dict[str, list[Reason]]:
        """Reasons by the names of the files in the folder, oldest first."""
        found: dict[str, list[Reason]] = {}
        for each in self._read():
            found.setdefault(each.file, []).append(each)
        return found

    def _read(self) -> Iterator[Reason]:
        try:
            lines = self._reasons.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield Reason(**json.loads(line))
            except (ValueError, TypeError):
                continue  # cut off when the disk was full

    def _made(self, name: str) -> Path:
        self.folder.mkdir(exist_ok=True)
        return self.folder / name

    @staticmethod
    def _known_in(path: Path) -> set[tuple[str, str, int]]:
        if not path.exists():
            return set()
        found = set()
        for line in path.read_bytes().splitlines():
            try:
                doc: Document = json.loads(line)
                found.add((str(doc["stream"]), str(doc["key"]), int(doc["seq_num"])))
            except (ValueError, KeyError, TypeError):
                continue  # cut off
        return found


def when(seconds: float) -> str:
    """A time as people read it, in the time of this computer."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
