"""Memory of the files that a source has accepted, with the stamps of their contents."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from saxs_bluesky.errors import printable
from saxs_bluesky.reduction import Stamp

# How long a file that is gone is remembered, and how many of a folder, or in folders that are gone: so that nothing
# is new which a network filesystem, or a folder that is renamed or unmounted, hides for a while.
_REMEMBERED_SECONDS = 3600.0
_REMEMBERED_FILES = 100_000
_REMEMBERED_FILES_OF_FOLDERS = 1_000_000
_RENAMED_FOLDERS = 1000


@dataclass(eq=False)
class Names:
    """The files of one folder that were accepted.

    Parameters
    ----------
    inode
        Of the folder; None for one that was not there yet.
    stamps
        Of the files, by their names.
    missing
        Since when which are not there any more, by ``time.monotonic``.
    """

    inode: int | None
    stamps: dict[str, Stamp] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)

    def see(self, here: set[str]) -> None:
        """Note which files exist; those that are gone for an hour are forgotten."""
        if not self.missing and len(here) >= len(self.stamps):
            return
        now = time.monotonic()
        for name in here & self.missing.keys():
            del self.missing[name]
        for name in self.stamps.keys() - here - self.missing.keys():
            self.missing[name] = now
        forgotten = [name for name, since in self.missing.items() if now - since > _REMEMBERED_SECONDS]
        forgotten += list(self.missing)[len(forgotten) : max(0, len(self.missing) - _REMEMBERED_FILES)]
        for name in forgotten:
            self.missing.pop(name, None)
            self.stamps.pop(name, None)


class AcceptedFiles:
    """Remembers which contents of which files are accepted; about 200 bytes a file.

    What is known of a folder goes with its inode: it is found again under another name of the folder, and when the
    folder, or the filesystem that it is the root of, is back after another one stood in its place.
    """

    def __init__(self) -> None:
        self._folders: dict[str, Names] = {}
        self._paths: dict[int, str] = {}  # of these folders, by their inodes
        self._aside: dict[int, tuple[str, Names]] = {}  # folders that are gone, or replaced, by their inodes
        self._aside_files = 0
        self._before: dict[str, Names] = {}  # folders that were found again, by what they were called; the latest
        self._homeless: dict[Stamp, str] = {}  # names of files whose folder has another name now, or no readable one

    def get(self, path: str) -> Stamp | None:
        """Stamp of a file that was accepted; None for one that never was."""
        folder, name = os.path.split(path)
        names = self._folders.get(folder) or self._look(folder)
        return None if names is None else names.stamps.get(name)

    def put(self, path: str, stamp: Stamp) -> None:
        """Note that a content of a file is accepted."""
        folder, name = os.path.split(path)
        names = self._folders.get(folder) or self._look(folder)
        if names is None:
            names = self._folders[folder] = Names(None)
        names.stamps[name] = stamp

    def remember(self, path: str, stamp: Stamp) -> None:
        """Take a content for accepted by an earlier program, whatever its folder is called now."""
        self.put(path, stamp)
        folder, name = os.path.split(path)
        # Documents tell names that cannot be written as text with their bytes escaped.
        if self._folders[folder].inode is None or "\\" in name:
            self._homeless[stamp] = name

    def put_all(self, folder: str, stamps: dict[str, Stamp]) -> None:
        """Take contents of many files of a folder for accepted by an earlier program; the dictionary may be kept."""
        names = self._folders.get(folder) or self._look(folder)
        if names is None:
            names = self._folders[folder] = Names(None)
        if names.stamps:
            names.stamps.update(stamps)
        else:
            names.stamps = stamps
        away = names.inode is None
        self._homeless.update((stamp, name) for name, stamp in stamps.items() if away or "\\" in name)

    def drop(self, path: str) -> None:
        """Forget a file that was accepted, and gone before it was done."""
        folder, name = os.path.split(path)
        for known in (self._folders, self._before):
            if folder in known:
                known[folder].stamps.pop(name, None)
        for at, names in self._aside.values():
            if at == folder and names.stamps.pop(name, None) is not None:
                self._aside_files -= 1

    def knows(self, path: str, stamp: Stamp) -> bool:
        """True if this content was accepted under this path, or under the path that the file had before a crash."""
        if self.get(path) == stamp:
            return True
        return bool(self._homeless) and self._homeless.get(stamp) == printable(os.path.basename(path))

    def __iter__(self) -> Iterator[tuple[str, Stamp]]:
        """Paths and stamps of all files."""
        for folder, names in [*self._aside.values(), *self._folders.items()]:
            for name, stamp in names.stamps.items():
                yield os.path.join(folder, name), stamp

    def clear(self) -> None:
        """Forget all."""
        for content in (self._folders, self._paths, self._aside, self._before, self._homeless):
            content.clear()
        self._aside_files = 0

    # Folders

    def at(self, folder: str, inode: int) -> Names:
        """The files of a folder that has this inode now."""
        names = self._folders.get(folder)
        if names is not None and names.inode == inode:
            return names
        if names is not None and names.inode is None:
            names.inode = inode
            self._paths.setdefault(inode, folder)
            return names
        found = self._found_again(inode)
        if found is None:
            # What was accepted since the folder was replaced went to its predecessor: all of it may be here.
            found = Names(inode, {} if names is None else dict(names.stamps))
        if names is not None:
            self._set_aside(folder, names)
        self._folders[folder] = found
        self._paths.setdefault(inode, folder)
        return found

    def leave(self, folder: str) -> None:
        """Note that a folder is gone; its files are remembered in case it is back, or has another name."""
        names = self._folders.get(folder)
        if names is not None and names.inode is not None:
            del self._folders[folder]
            self._set_aside(folder, names)

    def _look(self, folder: str) -> Names | None:
        inode = _inode(folder)
        return None if inode is None else self.at(folder, inode)

    def _found_again(self, inode: int) -> Names | None:
        """Files of a folder that has another name now, or is back."""
        if inode in self._aside:
            last, names = self._aside.pop(inode)
            self._aside_files -= len(names.stamps)
            return self._renamed(last, names)
        before = self._paths.get(inode)
        if before is None or before not in self._folders or _inode(before) == inode:
            return None  # inodes are numbers of one filesystem: another may have the same
        del self._paths[inode]
        return self._renamed(before, self._folders.pop(before))

    def _renamed(self, before: str, names: Names) -> Names:
        self._before[before] = names
        if len(self._before) > _RENAMED_FOLDERS:
            del self._before[next(iter(self._before))]
        return names

    def _set_aside(self, folder: str, names: Names) -> None:
        if names.inode is None or not names.stamps:
            return
        if self._paths.get(names.inode) == folder:
            del self._paths[names.inode]
        if names.inode in self._aside:
            self._aside_files -= len(self._aside.pop(names.inode)[1].stamps)
        self._aside[names.inode] = folder, names
        self._aside_files += len(names.stamps)
        while self._aside_files > _REMEMBERED_FILES_OF_FOLDERS:
            _, forgotten = self._aside.pop(next(iter(self._aside)))
            self._aside_files -= len(forgotten.stamps)


def _inode(folder: str) -> int | None:
    try:
        return os.stat(folder).st_ino
    except OSError:
        return None
