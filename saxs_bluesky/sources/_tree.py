"""The images in a folder and those below it, and what is new since the last look."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from saxs_bluesky.errors import printable, reason_of
from saxs_bluesky.reduction import Stamp, has_stamp

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".tif", ".tiff")

# A folder that changed so recently may change again within the same tick of its clock. Network filesystems hand out
# the time of a folder from a cache of some seconds.
_TICK = 5_000_000_000  # nanoseconds


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image: visible, and a TIFF."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


class Known:
    """Which contents of which files are accepted already; about 200 bytes a file."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, Stamp]] = {}

    def get(self, path: str) -> Stamp | None:
        """Stamp of a file that was accepted; None for one that never was."""
        folder, name = os.path.split(path)
        return self._folders.get(folder, {}).get(name)

    def put(self, path: str, stamp: Stamp) -> None:
        """Note that a content of a file is accepted."""
        folder, name = os.path.split(path)
        self._folders.setdefault(folder, {})[name] = stamp

    def put_all(self, folder: str, names: dict[str, Stamp]) -> None:
        """Note contents of many files of a folder; the dictionary may be kept."""
        own = self._folders.setdefault(folder, names)
        if own is not names:
            own.update(names)

    def __iter__(self) -> Iterator[tuple[str, Stamp]]:
        """Paths and stamps of all files."""
        for folder, names in self._folders.items():
            for name, stamp in names.items():
                yield os.path.join(folder, name), stamp

    def names(self, folder: str) -> dict[str, Stamp]:
        """Files of a folder."""
        return self._folders.get(folder, {})

    def forget(self, folder: str, names: set[str]) -> None:
        """Let go of files that are gone."""
        for name in names:
            del self._folders[folder][name]

    def clear(self) -> None:
        """Forget all."""
        self._folders.clear()


@dataclass
class _Folder:
    changed: int = -1  # st_mtime_ns when it was last listed; -1: to be listed again
    below: set[str] = field(default_factory=set)


class Tree:
    """Finds images in a folder and those below it by listing them: the truth, on every filesystem.

    `scan` lists the folders whose time of change has moved, which finds new and renamed files; `sweep` looks at every
    file, which finds those that were overwritten in place too.

    Parameters
    ----------
    root
        The folder.
    known
        What is accepted already.
    below
        Whether to go into folders below.
    follow_links
        Whether to go where symbolic links lead out of the root. Links between places inside it name files that have
        names there already, so links to folders are not followed, and links to files are.
    """

    def __init__(self, root: str | Path, known: Known, *, below: bool = True, follow_links: bool = False) -> None:
        # What is above a link is not where its name says.
        self.root = os.path.realpath(root) if ".." in Path(root).parts else os.path.normpath(root)
        self._real_root = os.path.realpath(root)
        self._known = known
        self._below = below
        self._follow_links = follow_links
        self._folders: dict[str, _Folder] = {self.root: _Folder()}
        self._told: set[str] = set()

    def takes(self, path: str) -> bool:
        """Whether a file is an image of this tree, by its name and place; it need not exist.

        ``path`` must begin with the root as it was given.
        """
        try:
            relative = Path(path).relative_to(self.root)
        except ValueError:
            return False
        *folders, name = relative.parts or ("",)
        if not (is_image_name(name) and name.isprintable()) or any(
            part.startswith(".") or part == ".." for part in folders
        ):
            return False
        if folders and not self._below:
            return False
        return self._follow_links or self._is_inside(path)

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(os.path.join(self._real_root, ""))

    def scan(self) -> Iterator[str]:
        """Yield images with names that are not known, in folders that changed since they were last listed."""
        for folder in list(self._folders):
            yield from self._scan(folder, sweep=False)

    def sweep(self) -> Iterator[str]:
        """Yield images that are not known as they are now."""
        for folder in list(self._folders):
            yield from self._scan(folder, sweep=True)

    def _scan(self, folder: str, *, sweep: bool) -> Iterator[str]:
        state = self._folders.get(folder)
        if state is None:
            return
        try:
            changed = os.stat(folder).st_mtime_ns
        except OSError as error:
            self._gone(folder, error)
            return
        if changed == state.changed and not sweep:
            return
        state.changed = changed if changed < time.time_ns() - _TICK else -1
        try:
            yield from self._list(folder, state, sweep=sweep)
        # Whatever is wrong with one folder, the others go on.
        except Exception as error:  # noqa: BLE001
            self._gone(folder, error)

    def _list(self, folder: str, state: _Folder, *, sweep: bool) -> Iterator[str]:
        known = self._known.names(folder)
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        here = set()
        for entry in listed:
            if is_image_name(entry.name) and self._is_text(entry):
                here.add(entry.name)
                if (entry.name not in known or sweep) and self._is_new(entry, known):
                    yield entry.path
        if len(here) < len(known):
            self._known.forget(folder, known.keys() - here)
        if self._below:
            below = {entry.path for entry in listed if self._is_folder(entry)}
            for path in sorted(below - self._folders.keys()):
                self._folders[path] = _Folder()
                yield from self._scan(path, sweep=sweep)
            for path in state.below - below:
                self._folders.pop(path, None)
            state.below = below

    def _is_text(self, entry: os.DirEntry[str]) -> bool:
        """Whether a name can stand in a document: those of other encodings than UTF-8 cannot."""
        if entry.name.isprintable():
            return True
        if entry.path not in self._told:
            self._told.add(entry.path)
            _log.warning("%r: wanted a name that can be printed, found another; the image is left out", entry.path)
        return False

    def _is_new(self, entry: os.DirEntry[str], known: dict[str, Stamp]) -> bool:
        try:
            if entry.is_symlink() and not (self._follow_links or self._is_inside(entry.path)):
                return False
            # What is neither file nor folder is handed on too, to be refused in words.
            if not entry.is_file() and (entry.is_dir() or not os.path.exists(entry.path)):
                return False
            stamp = known.get(entry.name)
            return stamp is None or not has_stamp(entry.stat(), stamp)
        except OSError:
            return False  # gone between the listing and this look

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith("."):
            return False
        try:
            if not entry.is_dir(follow_symlinks=self._follow_links):
                return False
        except OSError:
            return False
        # A link to a folder above would lead round in circles.
        return not entry.is_symlink() or not _is_above(entry.path)

    def _gone(self, folder: str, error: Exception) -> None:
        """A folder that cannot be listed: tried again at the next look, and told once."""
        if folder != self.root and isinstance(error, FileNotFoundError):
            self._folders.pop(folder, None)
        elif folder not in self._told:
            self._told.add(folder)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
            _log.warning("%s: wanted to list a folder, found %s; trying again", printable(folder), printable(reason))
        if folder in self._folders:
            self._folders[folder].changed = -1


def _is_above(link: str) -> bool:
    real = os.path.realpath(link)
    return os.path.commonpath([real, os.path.realpath(os.path.dirname(link))]) == real
