"""Paths that clients name, and that never lead out of the server's base directory."""

from __future__ import annotations

import heapq
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
    """Names that lead down from a folder; ``"."`` and empty names, which stay where they are, are left out.

    Raises
    ------
    LeashError
        They are not a list of names, or lead anywhere but down.
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
    """Name of a file or folder, with nothing in it that leads elsewhere.

    Raises
    ------
    LeashError
        It is none.
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
    """Path below the base directory, links resolved; there need be nothing there yet.

    Whoever may make links below the base directory may make one after this has looked.

    Parameters
    ----------
    base
        The base directory, which may be a link itself.
    parts
        Names that lead down from it.

    Raises
    ------
    LeashError
        The names lead anywhere but down, or a link leads out.
    """
    names = checked_parts(parts)
    root = os.path.realpath(base)
    path = Path(os.path.realpath(os.path.join(root, *names)))  # noqa: PTH118, of texts
    if not path.is_relative_to(root):
        raise LeashError(Kind.OS, f"{_shown(names)}: wanted a path below the base directory, found a link out of it")
    return path


def is_within(folder: str | Path, path: str | Path) -> bool:
    """Whether a path, links resolved, is the folder or lies below it; ``user10`` does not lie below ``user1``."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # a NUL
        return False


def listing(base: str | Path, parts: Sequence[str], most: int = 10_000) -> list[dict[str, Any]]:
    """What ``listdir`` answers: names in a folder, folders first, each sorted.

    Hidden files are among them. Links that lead out of the base directory are not, nor are names that are no text.

    Parameters
    ----------
    base
        The base directory.
    parts
        Names that lead down from it.
    most
        Names to list; beyond it, a last entry says how many there are more.

    Raises
    ------
    LeashError
        The names lead out, or to no folder.
    """
    folder = confined(base, parts)
    count = 0

    def counted() -> Iterator[tuple[bool, str]]:
        nonlocal count
        for entry in _entries(folder, Path(os.path.realpath(base))):
            count += 1
            yield entry

    try:
        first = heapq.nsmallest(most, counted())
    except OSError as error:
        raise LeashError(Kind.OS, f"{_shown(parts)}: wanted a folder, found {error.strerror or 'none'}") from None
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
