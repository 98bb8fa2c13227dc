"""Lines of journals: arrays of JSON with a checksum at their end, and what becomes of those that are damaged."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from saxs_bluesky.errors import system_reason

_log = logging.getLogger(__name__)

_ENCODER = json.JSONEncoder(separators=(",", ":"))
# What a checksum adds to an array: ,"0a1b2c3d"] and a new line.
_SEAL_LENGTH = 13


class DamagedLineError(ValueError):
    """A line whose content is not what its checksum says."""


def sealed(array: bytes) -> bytes:
    """Make a line of an array of JSON: its CRC-32 becomes the last element, so that the line is JSON still."""
    head = array[:-1]
    return b'%b,"%08x"]\n' % (head, crc32(head))


def is_sealed(line: bytes) -> bool:
    """True if a line carries a checksum, right or wrong."""
    return line[-_SEAL_LENGTH : -_SEAL_LENGTH + 2] == b',"' and line[-3:] == b'"]\n'


def unsealed(line: bytes) -> bytes:
    """Return the array of a line; one without checksum, of an earlier version, as it is.

    Raises
    ------
    DamagedLineError
        The checksum is wrong.
    """
    if not line.endswith(b"\n"):
        line += b"\n"
    if not is_sealed(line):
        return line
    check(line)
    return line[:-_SEAL_LENGTH] + b"]"


def check(line: bytes) -> None:
    """Compare a line that is sealed with its checksum.

    Raises
    ------
    DamagedLineError
        The checksum is wrong.
    """
    try:
        right = crc32(memoryview(line)[:-_SEAL_LENGTH]) == int(line[-11:-3], 16)
    except ValueError:
        right = False
    if not right:
        raise DamagedLineError("wanted a line that fits its checksum, found another")


def made(*elements: Any) -> bytes:
    """Make a line of values."""
    return sealed(_ENCODER.encode(elements).encode())


def loads(text: bytes) -> Any:
    """Read a value of JSON.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        return json.loads(text)
    except RecursionError as error:  # so many brackets stand in no journal
        raise DamagedLineError("wanted a value, found brackets") from error


def read(line: bytes) -> list[Any]:
    """Read a line back.

    Raises
    ------
    ValueError
        It is damaged.
    """
    found = loads(unsealed(line))
    if not isinstance(found, list) or not found:
        raise DamagedLineError("wanted an array, found another value")
    return found


@dataclass
class Damage:
    """Lines of one file that could not be used.

    Parameters
    ----------
    path
        The file.
    lines
        How many there were.
    cut
        Length of a last line without its end, in bytes: the program ended in the middle of it.
    content
        The lines themselves.
    """

    path: Path
    lines: int = 0
    cut: int = 0
    content: list[bytes] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """Note a line."""
        self.lines += 1
        self.content.append(line)

    def __bool__(self) -> bool:
        return bool(self.lines or self.cut)


def whole_lines(file: IO[bytes], damage: Damage) -> Iterator[bytes]:
    """Yield the lines of a file that have an end; the rest behind them is noted."""
    for line in file:
        if line.endswith(b"\n"):
            yield line
        elif line.strip(b"\0"):
            damage.cut = len(line)
            damage.content.append(line)
        else:
            damage.cut = len(line)  # nothing is in it: the disk had no time to write it


def aside(path: Path) -> Path:
    """Name beside a file for what cannot be used of it; no file has it."""
    stamp = time.strftime("%Y%m%dT%H%M%S")
    number, free = 0, path.with_name(f"{path.name}.damaged-{stamp}")
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    return free


def set_aside(path: Path, why: str) -> Path | None:
    """Move a file, or what stands in its place, out of the way and tell so; None where that is impossible."""
    target = aside(path)
    try:
        path.rename(target)
    except OSError as error:
        _log.warning("%s: %s; it cannot be moved out of the way (%s)", path, why, system_reason(error))
        return None
    _log.warning("%s: %s; it is set aside as %s", path, why, target.name)
    return target


def keep(damage: Damage, folder: Path | None = None) -> str:
    """Write the lines that could not be used to a file of their own; return in words where they are.

    Parameters
    ----------
    damage
        The lines.
    folder
        Where to put the file; None: beside the damaged one.
    """
    if not damage.content:
        return "nothing was in it"
    path = damage.path if folder is None else folder / damage.path.name
    try:
        if folder is not None:
            folder.mkdir(exist_ok=True)
        target = aside(path)
        with target.open("wb") as file:
            file.writelines(damage.content)
    except OSError as error:
        return f"not kept, since they cannot be written ({system_reason(error)})"
    return f"set aside in {target}"


def write_synced(path: Path, lines: Iterable[bytes]) -> None:
    """Put a file in place of another, so that after a power failure one of both is there, whole.

    Raises
    ------
    OSError
        It cannot be written; the other is there still.
    """
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder to disk, so that its file names survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
