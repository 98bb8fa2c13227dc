"""Paths in requests, which must not lead out of the server's base directory."""

from __future__ import annotations

import heapq
import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from saxs_bluesky.leash.protocol._errors import Kind, LeashError
from saxs_bluesky.leash.protocol._messages import is_text

_LONGEST_NAME = 255  # bytes, of every file system in use
_LONGEST_PATH = 4000  # bytes
_MOST_PARTS = 64
# Control characters, halves of surrogate pairs, and ends of lines and paragraphs.
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_SEPARATORS = {"/", "\\"}


def checked_parts(parts: Any, where: str = "path") -> tuple[str, ...]:
    """Check the parts of a path, and leave out ``"."`` and empty parts.

    Parameters
    ----------
    parts
        From a request: anything.
    where
        What errors call the path.

    Raises
    ------
    LeashError
        They are not a list of names, or one of them leads out of its folder.
    """
    if not isinstance(parts, list | tuple):
        raise LeashError(Kind.VALIDATION, f"{where}: wanted a list of names, found a {type(parts).__name__}")
    if len(parts) > _MOST_PARTS:
        raise LeashError(Kind.VALUE, f"{where}: wanted at most {_MOST_PARTS} names, found {len(parts)}")
    names = [checked_name(part, f"{where}[{i}]") for i, part in enumerate(parts)]
    inner = tuple(name for name in names if name not in ("", "."))
    if inner and names[0] == "":
        raise LeashError(Kind.VALUE, f"{where}: wanted a path below the base directory, found an absolute one")
    if sum(len(os.fsencode(name)) + 1 for name in inner) > _LONGEST_PATH:
        raise LeashError(Kind.VALUE, f"{where}: wanted at most {_LONGEST_PATH} bytes, found more")
    return inner


def checked_name(name: Any, where: str) -> str:
    """Check the name of a file or folder: it must not lead out of its folder.

    Raises
    ------
    LeashError
        It is no such name.
    """
    if not isinstance(name, str):
        raise LeashError(Kind.VALIDATION, f"{where}: wanted a name, found a {type(name).__name__}")
    if name == "..":
        raise LeashError(Kind.VALUE, f"{where}: wanted a name, found one that leads out of its folder")
    if not _SEPARATORS.isdisjoint(name):
        raise LeashError(Kind.VALUE, f"{where}: wanted one name, found a separator in it")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in name):
        raise LeashError(Kind.VALUE, f"{where}: wanted a name, found a control character in it")
    if len(name.encode("utf-8")) > _LONGEST_NAME:
        raise LeashError(Kind.VALUE, f"{where}: wanted a name of at most {_LONGEST_NAME} bytes, found a longer one")
    return name


def confined(base: str | Path, parts: Sequence[str]) -> Path:
    """Path below the base directory, with links resolved; it need not exist.

    A link that is made below the base directory after the check is not noticed.

    Parameters
    ----------
    base
        The base directory; may be a link.
    parts
        Parts of the path below it.

    Raises
    ------
    LeashError
        A part or a link leads out of the base directory.
    """
    names = checked_parts(parts)
    root = os.path.realpath(base)
    path = Path(os.path.realpath(os.path.join(root, *names)))  # noqa: PTH118, of texts
    if not path.is_relative_to(root):
        raise LeashError(Kind.OS, f"{_shown(names)}: wanted a path below the base directory, found a link out of it")
    return path


def is_within(folder: str | Path, path: str | Path) -> bool:
    """True if a path, with links resolved, is the folder or lies below it; ``user10`` is not below ``user1``."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # a NUL
        return False


def listing(base: str | Path, parts: Sequence[str], most: int = 10_000) -> list[dict[str, Any]]:
    """List a folder for ``listdir``: folders first, then files, both sorted.

    Hidden files are listed; links that lead out of the base directory are not, nor names that are not UTF-8.

    Parameters
    ----------
    base
        The base directory.
    parts
        Parts of the folder's path below it.
    most
        Highest number of names; if there are more, a last entry says how many.

    Returns
    -------
    Entries with the keys ``isdir`` and ``path``.

    Raises
    ------
    LeashError
        The path leads out of the base directory, or is no folder.
    """
    folder = confined(base, parts)
    numbers = itertools.count()
    entries = _entries(folder, Path(os.path.realpath(base)))
    try:
        first = heapq.nsmallest(most, (entry for entry, _ in zip(entries, numbers, strict=False)))
    except OSError as error:
        raise LeashError(Kind.OS, f"{_shown(parts)}: wanted a folder, found {error.strerror or 'none'}") from None
    count = next(numbers)
    found = [{"isdir": not is_file, "path": name} for is_file, name in first]
    if count > most:
        found.append({"isdir": False, "path": f"... and {count - most} more"})
    return found


def _entries(folder: Path, root: Path) -> Iterator[tuple[bool, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_text(entry.name):
                continue
            if entry.is_symlink() and not is_within(root, entry.path):
                continue
            try:
                yield not entry.is_dir(), entry.name
            except OSError:  # a link in a circle
                continue


def _shown(names: Sequence[str]) -> str:
    return "/".join(names) or "."
