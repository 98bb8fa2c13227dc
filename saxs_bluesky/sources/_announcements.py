"""Announcements of a feeder: which files they name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._folder_scanner import FolderScanner, is_image_name
from saxs_bluesky.sources._path_text import is_text
from saxs_bluesky.sources._settings import SourceSettings

NEW_FILE = "new file"

_LONGEST_PATH, _LONGEST_NAME = 4095, 255  # bytes, as Linux has them


def announced_path(parts: Sequence[bytes]) -> str | None:
    """Path in a message; None where the message is another command.

    Raises
    ------
    ValueError, TypeError, RecursionError
        The message is no command, or its argument no path.
    """
    if len(parts) != 1:
        raise ValueError(f"wanted a message of one part, found {len(parts)}")
    message = json.loads(parts[0].decode())
    if not isinstance(message, dict) or not isinstance(message.get("command"), str):
        raise TypeError(f"wanted an object with a command, found {parts[0][:80]!r}")
    if message["command"] != NEW_FILE:
        return None
    path = message.get("argument")
    if not isinstance(path, str):
        raise TypeError(f"wanted a path as the argument, found {parts[0][:80]!r}")
    if not path or not is_text(path):
        raise ValueError(f"wanted a path, found {path[:80]!r}")
    if len(path.encode()) > _LONGEST_PATH or any(len(name.encode()) > _LONGEST_NAME for name in path.split("/")):
        raise ValueError(f"wanted a path that a file can have, found a longer one: {path[:80]!r}")
    return path


class AnnouncedFiles:
    """Tells which announced paths are images of the folder, and what they are called there.

    Parameters
    ----------
    settings
        ``directory``, ``base`` and ``follow_links`` count.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._scanner = FolderScanner(settings, AcceptedFiles())
        self._base = (settings.directory if settings.base is None else settings.base).absolute()
        self._root = settings.directory.absolute()
        self._real_root = Path(os.path.realpath(settings.directory))
        self._follow_links = settings.follow_links

    def classify(self, text: str) -> tuple[str, str]:
        """Give the kind of an announced path, a field of `FeederCounters`, and its name below the folder as given."""
        path = self._base / text
        if not is_image_name(path.name):
            return "ignored", ""
        relative = self._relative(path)
        if relative is None:
            return "outside", ""
        if any(part.startswith(".") for part in relative.parts):
            return "ignored", ""
        name = os.path.join(self._scanner.root, relative)
        return ("announced" if self._scanner.takes(name) else "outside"), name

    def _relative(self, path: Path) -> Path | None:
        """Path relative to the folder: the one that listing it finds, whatever links the feeder came by."""
        if self._follow_links and os.pardir not in path.parts and path.is_relative_to(self._root):
            return path.relative_to(self._root)
        real = Path(os.path.realpath(path.parent), path.name)
        return real.relative_to(self._real_root) if real.is_relative_to(self._real_root) else None
