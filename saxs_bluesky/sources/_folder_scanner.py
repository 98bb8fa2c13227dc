"""Scanner of a folder: its images, those in subfolders, and what is new since the last scan."""

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
from saxs_bluesky.sources._settings import SourceSettings

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".tif", ".tiff")
"""Ends of the names that are taken for images, in lower or upper case."""
_NEW, _FOLDERS = "new", "folders below"

# A folder that changed so recently may change again within the same tick of its clock. Network filesystems hand out
# the time of a folder from a cache of some seconds.
_TICK = 5_000_000_000  # nanoseconds


def is_image_name(name: str) -> bool:
    """True if a file of this name is taken for an image: a TIFF that is not hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


@dataclass
class _Folder:
    changed: Stamp = -1  # when it was last listed; -1: to be listed again
    subfolders: set[str] = field(default_factory=set)
    other_files: Counter[str] = field(default_factory=Counter)  # how many are not taken, by kind


class FolderScanner:
    """Finds images in a folder and those below it by listing them, which works on every file system.

    `scan` lists the folders whose modification time has changed, which finds new and renamed files; with
    ``every_file`` it looks at each, which finds those that were overwritten in place too.

    Parameters
    ----------
    settings
        ``directory`` is the folder, and with ``recursive`` those below it. With ``follow_links`` symbolic links that
        lead out of the folder are followed. Links inside it name files that have names there already, so links to
        folders are not followed, and links to files are.
    known
        What is accepted already.
    """

    def __init__(self, settings: SourceSettings, known: AcceptedFiles) -> None:
        directory = settings.directory
        # What is above a link is not where its name says.
        self.root = os.path.realpath(directory) if ".." in directory.parts else os.path.normpath(directory)
        self._real_root = os.path.realpath(directory)
        self._known = known
        self._recursive = settings.recursive
        self._follow_links = settings.follow_links
        self._folders: dict[str, _Folder] = {self.root: _Folder()}
        self._warned: set[str] = set()
        self._unreadable: set[str] = set()

    def takes(self, path: str) -> bool:
        """True if a path is that of an image of this folder; ``path`` begins with ``root``, and need not exist."""
        try:
            relative = Path(path).relative_to(self.root)
        except ValueError:
            return False
        *folders, name = relative.parts or ("",)
        if not is_image_name(name) or any(part.startswith(".") or part == ".." for part in folders):
            return False
        if folders and not self._recursive:
            return False
        return self._follow_links or self._is_inside(path)

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(os.path.join(self._real_root, ""))

    @property
    def unreadable_folders(self) -> list[str]:
        """Folders that cannot be listed now."""
        return sorted(self._unreadable)

    @property
    def other_files(self) -> Counter[str]:
        """How many files and folders are not taken, by suffix or kind."""
        found: Counter[str] = Counter()
        for folder in list(self._folders.values()):  # asked for in other threads too
            found.update(folder.other_files)
        return found

    def scan(self, *, every_file: bool = False) -> Iterator[str]:
        """Yield images with names that are not known, in folders that changed since they were last listed.

        They come in the order of their names: those of a folder, then those of each folder in it.

        Parameters
        ----------
        every_file
            Look at every file in every folder, and yield those too whose content is not known.
        """
        folders = [self.root]
        while folders:
            folder = folders.pop()
            yield from self._scan_folder(folder, every_file=every_file)
            if folder in self._folders:
                folders += sorted(self._folders[folder].subfolders, reverse=True)

    def _scan_folder(self, folder: str, *, every_file: bool) -> Iterator[str]:
        state = self._folders[folder]
        try:
            status = os.stat(folder)
            changed = stamp_of(status)
            names = self._known.at(folder, status.st_ino)
            if changed == state.changed and not every_file:
                return
            state.changed = changed if status.st_ctime_ns < time.time_ns() - _TICK else -1
            yield from self._list(folder, state, names, every_file=every_file)
            self._unreadable.discard(folder)
        # Whatever is wrong with one folder, the others go on.
        except Exception as error:  # noqa: BLE001
            self._handle_unreadable(folder, error)

    def _list(self, folder: str, state: _Folder, names: Names, *, every_file: bool) -> Iterator[str]:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        here = {entry.name for entry in listed if is_image_name(entry.name)}
        other_files: Counter[str] = Counter()
        for entry in listed:
            if entry.name not in here:
                other_files[_suffix(entry) if every_file else ""] += 1
            elif entry.name not in names.stamps or every_file:
                kind = self._kind(entry, names.stamps.get(entry.name))
                other_files[kind] += 1
                if kind == _NEW:
                    yield entry.path
        names.see(here)
        subfolders = {entry.path for entry in listed if self._is_folder(entry)}
        if self._recursive:
            self._update_subfolders(state, subfolders)
        else:
            other_files[_FOLDERS] = len(subfolders)
        if every_file:
            other_files.pop("", 0)
            other_files.pop(_NEW, 0)
            state.other_files = other_files

    def _update_subfolders(self, state: _Folder, subfolders: set[str]) -> None:
        for path in subfolders - self._folders.keys():
            self._folders[path] = _Folder()
        for path in state.subfolders - subfolders:
            self._forget(path)
        state.subfolders = subfolders

    def _forget(self, folder: str) -> None:
        """Forget a folder that is gone, and those in it."""
        folders = [folder]
        while folders:
            folder = folders.pop()
            if folder in self._folders:
                folders += self._folders.pop(folder).subfolders
                self._unreadable.discard(folder)
                self._known.leave(folder)

    def _kind(self, entry: os.DirEntry[str], known: Stamp | None) -> str:
        """Kind of a file with the name of an image: new, why it is not taken, or empty for one that is known."""
        try:
            if entry.is_symlink() and not (self._follow_links or self._is_inside(entry.path)):
                return "links that lead out of the folder"
            if entry.is_dir():
                return ""
            if not entry.is_file() and not os.path.exists(entry.path):
                return "links to nothing"
            # What is neither file nor folder is handed on too: it fails with a reason.
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
        # A link to a folder above it never ends.
        return not entry.is_symlink() or not _is_above(entry.path)

    def _handle_unreadable(self, folder: str, error: Exception) -> None:
        """Try to list the folder again at the next scan; warn once."""
        if folder != self.root and isinstance(error, FileNotFoundError):
            self._forget(folder)
            return
        self._unreadable.add(folder)
        self._folders[folder].changed = -1
        if folder not in self._warned:
            self._warned.add(folder)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
            _log.warning("%s: folder cannot be listed (%s); it is tried again", printable(folder), printable(reason))


@lru_cache(maxsize=1024)
def _parts(folder: str) -> list[str]:
    return folder.split(os.sep)


def scan_order(path: str) -> tuple[list[str], str]:
    """Sort key that puts paths of files into the order of a scan: a folder's files before those of its subfolders."""
    folder, name = os.path.split(path)
    return _parts(folder), name


def _suffix(entry: os.DirEntry[str]) -> str:
    """Suffix of a file that is no image by its name; empty for a folder."""
    try:
        if entry.is_dir():
            return ""
    except OSError:  # a link that leads to itself
        return "names of no file"
    if entry.name.startswith("."):
        return "hidden"
    return os.path.splitext(entry.name)[1].lower() or "without suffix"


def _is_above(link: str) -> bool:
    real = os.path.realpath(link)
    return os.path.commonpath([real, os.path.realpath(os.path.dirname(link))]) == real
