"""The images in a folder and those below it, and what is new since the last look."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from saxs_bluesky.errors import printable, reason_of
from saxs_bluesky.reduction import Stamp, has_stamp, stamp_of
from saxs_bluesky.sources._accepted_files import AcceptedFiles, Names

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".tif", ".tiff")
"""Ends of the names that are taken for images, in lower or upper case."""
_NEW, _FOLDERS = "new", "folders below"

# A folder that changed so recently may change again within the same tick of its clock. Network filesystems hand out
# the time of a folder from a cache of some seconds.
_TICK = 5_000_000_000  # nanoseconds


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image: visible, and a TIFF."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


@dataclass
class _Folder:
    changed: Stamp = -1  # when it was last listed; -1: to be listed again
    below: set[str] = field(default_factory=set)
    others: Counter[str] = field(default_factory=Counter)  # files that are no images to take, by kind


class FolderScanner:
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

    def __init__(
        self, root: str | Path, known: AcceptedFiles, *, below: bool = True, follow_links: bool = False
    ) -> None:
        # What is above a link is not where its name says.
        self.root = os.path.realpath(root) if ".." in Path(root).parts else os.path.normpath(root)
        self._real_root = os.path.realpath(root)
        self._known = known
        self._below = below
        self._follow_links = follow_links
        self._folders: dict[str, _Folder] = {self.root: _Folder()}
        self._told: set[str] = set()
        self._unlisted: set[str] = set()

    def takes(self, path: str) -> bool:
        """Whether a file is an image of this tree, by its name and place; it need not exist.

        ``path`` must begin with the root as it was given.
        """
        try:
            relative = Path(path).relative_to(self.root)
        except ValueError:
            return False
        *folders, name = relative.parts or ("",)
        if not is_image_name(name) or any(part.startswith(".") or part == ".." for part in folders):
            return False
        if folders and not self._below:
            return False
        return self._follow_links or self._is_inside(path)

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(os.path.join(self._real_root, ""))

    @property
    def unlisted(self) -> list[str]:
        """Folders that cannot be listed now."""
        return sorted(self._unlisted)

    @property
    def others(self) -> Counter[str]:
        """How many files and folders were seen that are not taken: by suffix, or what else they are."""
        found: Counter[str] = Counter()
        for folder in list(self._folders.values()):  # asked for in other threads too
            found.update(folder.others)
        return found

    def scan(self) -> Iterator[str]:
        """Yield images with names that are not known, in folders that changed since they were last listed.

        They come in the order of their names: those of a folder, then those of each folder in it.
        """
        yield from self._each(sweep=False)

    def sweep(self) -> Iterator[str]:
        """Yield images that are not known as they are now, in the order of their names."""
        yield from self._each(sweep=True)

    def _each(self, *, sweep: bool) -> Iterator[str]:
        folders = [self.root]
        while folders:
            folder = folders.pop()
            yield from self._look(folder, sweep=sweep)
            if folder in self._folders:
                folders += sorted(self._folders[folder].below, reverse=True)

    def _look(self, folder: str, *, sweep: bool) -> Iterator[str]:
        state = self._folders[folder]
        try:
            status = os.stat(folder)
            changed = stamp_of(status)
            names = self._known.at(folder, status.st_ino)
            if changed == state.changed and not sweep:
                return
            state.changed = changed if status.st_ctime_ns < time.time_ns() - _TICK else -1
            yield from self._list(folder, state, names, sweep=sweep)
            self._unlisted.discard(folder)
        # Whatever is wrong with one folder, the others go on.
        except Exception as error:  # noqa: BLE001
            self._gone(folder, error)

    def _list(self, folder: str, state: _Folder, names: Names, *, sweep: bool) -> Iterator[str]:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        here = {entry.name for entry in listed if is_image_name(entry.name)}
        others: Counter[str] = Counter()
        for entry in listed:
            if entry.name not in here:
                others[_suffix(entry) if sweep else ""] += 1
            elif entry.name not in names.stamps or sweep:
                kind = self._kind(entry, names.stamps.get(entry.name))
                others[kind] += 1
                if kind == _NEW:
                    yield entry.path
        names.see(here)
        below = {entry.path for entry in listed if self._is_folder(entry)}
        if self._below:
            self._know_below(state, below)
        else:
            others[_FOLDERS] = len(below)
        if sweep:
            state.others = Counter({kind: number for kind, number in others.items() if kind not in ("", _NEW)})

    def _know_below(self, state: _Folder, below: set[str]) -> None:
        for path in below - self._folders.keys():
            self._folders[path] = _Folder()
        for path in state.below - below:
            self._forget(path)
        state.below = below

    def _forget(self, folder: str) -> None:
        """Let go of a folder that is gone, and of those in it."""
        folders = [folder]
        while folders:
            folder = folders.pop()
            if folder in self._folders:
                folders += self._folders.pop(folder).below
                self._unlisted.discard(folder)
                self._known.leave(folder)

    def _kind(self, entry: os.DirEntry[str], known: Stamp | None) -> str:
        """What a file is that is an image by its name: new, not to be taken, or neither."""
        try:
            if entry.is_symlink() and not (self._follow_links or self._is_inside(entry.path)):
                return "links that lead out of the folder"
            if entry.is_dir():
                return ""
            if not entry.is_file() and not os.path.exists(entry.path):
                return "links to nothing"
            # What is neither file nor folder is handed on too, to be refused in words.
            return _NEW if known is None or not has_stamp(entry.stat(), known) else ""
        except OSError:
            return ""  # gone between the listing and this look

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
            self._forget(folder)
            return
        self._unlisted.add(folder)
        self._folders[folder].changed = -1
        if folder not in self._told:
            self._told.add(folder)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
            _log.warning("%s: wanted to list a folder, found %s; trying again", printable(folder), printable(reason))


@lru_cache(maxsize=1024)
def place(folder: str) -> list[str]:
    """Where a folder is in the order of a scan: before those in it, and these before the next beside it."""
    return folder.split(os.sep)


def in_order(path: str) -> tuple[list[str], str]:
    """Where a file is in the order of a scan: by the place of its folder, and by its name."""
    folder, name = os.path.split(path)
    return place(folder), name


def _suffix(entry: os.DirEntry[str]) -> str:
    """Suffix of a file that is no image by its name; empty for a folder."""
    try:
        if entry.is_dir():
            return ""
    except OSError:  # a link that leads round in circles
        return "names of no file"
    if entry.name.startswith("."):
        return "hidden"
    return os.path.splitext(entry.name)[1].lower() or "without suffix"


def _is_above(link: str) -> bool:
    real = os.path.realpath(link)
    return os.path.commonpath([real, os.path.realpath(os.path.dirname(link))]) == real
