"""Reader of the files of a progress journal."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from saxs_bluesky.errors import system_reason
from saxs_bluesky.file_pipeline._interrupted_runs import Interrupted, NewerVersionError
from saxs_bluesky.support import journal_lines
from saxs_bluesky.support.journal_lines import Damage

_log = logging.getLogger(__name__)

TAIL, BEGUN = "progress.jsonl", "begun.jsonl"


def read_interrupted(folder: Path) -> Interrupted | None:
    """Read what a program that did not come to its end left in a journal; None if there is nothing.

    Damaged lines are left out and put aside, with a warning.
    """
    begun, interrupted = _read_file(folder / BEGUN, mend=False), _read_file(folder / TAIL, mend=True)
    if interrupted is None and begun is None:
        return None
    if interrupted is None:
        assert begun is not None
        _log.warning(
            "%s: the journal of a run that had begun is gone or empty; what was done is known in part", folder / TAIL
        )
        interrupted, begun.is_damaged = begun, True
    elif begun is not None and interrupted.run_id in ("", begun.run_id):
        interrupted.complete(begun)
    name = interrupted.generation
    if name and name == Path(name).name and not interrupted.forgets:
        known = _read_file(folder / name, mend=True)
        if known is None:
            interrupted.is_damaged = True
            _log.warning("%s: the list of known files is gone or empty; they are done again", folder / name)
        else:
            interrupted.know(known)
    return interrupted


def _read_file(path: Path, *, mend: bool) -> Interrupted | None:
    """Read one of the files; None where nothing is in it."""
    interrupted, damage, found = Interrupted(), Damage(path), False
    try:
        with path.open("rb") as file:
            for line in journal_lines.whole_lines(file, damage):
                if interrupted.read_line(line):
                    found = True
                else:
                    damage.add(line)
                    interrupted.guess(line)
    except FileNotFoundError:
        return None
    except (OSError, NewerVersionError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        journal_lines.set_aside(path, f"the journal cannot be read: {reason or error}")
        return None
    if damage and mend:
        _mend(path, damage)
    return interrupted if found else None


def _mend(path: Path, damage: Damage) -> None:
    """Leave the good lines alone in a file, and tell where the others are."""
    where = journal_lines.keep(damage)
    try:
        if damage.lines:
            bad = set(damage.content)
            with path.open("rb") as file:
                journal_lines.write_synced(path, (line for line in file if line.endswith(b"\n") and line not in bad))
        else:
            os.truncate(path, path.stat().st_size - damage.cut)
    except OSError as error:
        where += f"; the file cannot be mended ({system_reason(error)})"
    if damage.lines:
        _log.warning("%s: %d lines are damaged, %s", path, damage.lines, where)
    if damage.cut:
        _log.warning("%s: the last %d bytes are cut short and left out, %s", path, damage.cut, where)
