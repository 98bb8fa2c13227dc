"""Folders that results are written to, opened so that no link leads what is written elsewhere.

A folder is opened component by component, never through a symbolic link that was not looked at, and from then on
written to by its descriptor: whoever exchanges it for a link between two files gains nothing.

Which links are followed, the `LinkRule` says: for a server, those that stay below its base directory, whoever made
them; for a user's command, those that the user, or the system's administrator, made, and no others.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from saxs_bluesky.errors import OutputError

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_IN_DRAFT = 200  # bytes of a name that a temporary name holds whole
_MOST_LINKS = 40  # on one path, as Linux has it
_REMEMBERED = 64  # folders that stay open


class LinkError(OutputError):
    """A symbolic link leads what should be written to a place that is not trusted."""


@dataclass(frozen=True)
class LinkRule:
    """Which symbolic links are followed on the way to an output folder; small, to travel to workers.

    Parameters
    ----------
    within
        No link leads out of this folder, whoever made it; None: links are followed that the user of this process, or
        root, made, or that are in a folder which is the user's and nobody else may write to.
    """

    within: Path | None = None

    def check_owner(self, link: os.stat_result, folder: os.stat_result, where: str) -> None:
        """Check a link by who made it.

        Raises
        ------
        LinkError
            Somebody else made it.
        """
        if self.within is not None:
            return
        user = os.geteuid()
        if link.st_uid in (user, 0):
            return
        if folder.st_uid == user and not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return
        raise LinkError(
            f"{where}: a symbolic link of {_user(link.st_uid)}, which is not followed for {_user(user)}: "
            "put a folder in its place, or name another one (-o)"
        )


class OutputFolder:
    """An open folder; made by `open_folder`.

    Parameters
    ----------
    descriptor
        Of the folder, which is closed with this object.
    path
        What errors call it.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self.path = path
        status = os.fstat(descriptor)
        self._key = (status.st_dev, status.st_ino)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def is_at(self, path: str) -> bool:
        """True if a path leads to this folder now."""
        try:
            status = os.stat(path)  # noqa: PTH116 - asked for each frame
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._key

    def has(self, name: str) -> bool:
        """True if there is anything of that name."""
        try:
            os.lstat(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        return True

    def target(self, name: str, rule: LinkRule) -> Path:
        """Where a link in it leads that may be followed; its last component only.

        Raises
        ------
        LinkError
            It may not.
        OSError
            It is no link.
        """
        link = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        try:
            rule.check_owner(os.fstat(link), os.fstat(self._descriptor), f"{self.path}/{name}")
            return Path(self.path, os.readlink("", dir_fd=link))
        finally:
            os.close(link)

    def open(self, name: str, flags: int) -> int:
        """Descriptor of a file in it; what is a link is not opened.

        Raises
        ------
        OSError
            It cannot be opened; ELOOP where it is a link.
        """
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=self._descriptor)

    def write(self, name: str, content: bytes) -> None:
        """Write a file; it appears under its name only when it is whole, in place of whatever had the name.

        Raises
        ------
        OSError
            It cannot be written; what was there stays.
        """
        with self._draft(name) as file:
            _write_all(file, content)

    @contextmanager
    def replacing(self, name: str) -> Iterator[BinaryIO]:
        """Give a new file, open for writing, that takes the name when the block ends, or goes when it fails.

        Libraries that want a path open it by `path_of_open`.

        Raises
        ------
        OSError
            It cannot be written; what was there stays.
        """
        with self._draft(name) as draft, os.fdopen(draft, "w+b", closefd=False) as file:
            yield file

    @contextmanager
    def _draft(self, name: str) -> Iterator[int]:
        folder, draft = self._descriptor, draft_name(name)
        try:
            file = os.open(draft, _NEW_FILE, 0o666, dir_fd=folder)
        except FileExistsError:  # left by a process that had this one's number
            os.unlink(draft, dir_fd=folder)
            file = os.open(draft, _NEW_FILE, 0o666, dir_fd=folder)
        try:
            try:
                yield file
            finally:
                os.close(file)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise

    def remove_drafts(self, names: list[str]) -> None:
        """Remove what writers left that were killed while they wrote files of these names."""
        drafts = re.compile(
            "|".join(rf"\.{re.escape(one)}\.[^.]+\.tmp" for name in names for one in (name, _short(name)))
        )
        with suppress(OSError):  # they are no obstacle
            listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor)
            try:
                left = [name for name in os.listdir(listed) if drafts.fullmatch(name)]  # noqa: PTH208
            finally:
                os.close(listed)
            for name in left:
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._descriptor)


def path_of_open(file: BinaryIO) -> str:
    """Path that opens the same file once more, wherever its name leads by then."""
    return f"/proc/self/fd/{file.fileno()}"


def draft_name(name: str) -> str:
    """Temporary name of a file while it is written: hidden, and short however long its own name is."""
    return f".{_short(name)}.{os.getpid()}-{threading.get_ident()}.tmp"


def _short(name: str) -> str:
    if len(name) <= _LONGEST_IN_DRAFT and name.isascii():
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:20]


def _write_all(file: int, content: bytes) -> None:
    written = os.write(file, content)
    while written < len(content):  # a disk that is full says so at the next call
        written += os.write(file, content[written:])


_open: OrderedDict[tuple[str, LinkRule], OutputFolder] = OrderedDict()
_opening = threading.Lock()


def open_folder(
    path: Path, rule: LinkRule, *, make: bool = True, check: Callable[[], None] | None = None
) -> OutputFolder:
    """Open a folder to write to, and make it and those above it where they are missing.

    It stays open for the next time; then it costs one call of the system to see that the path still leads to it.

    Parameters
    ----------
    path
        The folder.
    rule
        Which links are followed.
    make
        Whether to make what is missing.
    check
        Called before a folder is made or opened that was not open; what it raises prevents that.

    Raises
    ------
    LinkError
        A link is in the way.
    OSError
        It cannot be opened or made.
    """
    name = str(path)
    known = _open.get((name, rule))
    if known is not None and known.is_at(name):
        return known
    if check is not None:
        check()
    found = OutputFolder(_Way(name, rule, make=make).follow(), name)
    with _opening:
        _open[name, rule] = found
        _open.move_to_end((name, rule))
        if len(_open) > _REMEMBERED:
            _open.popitem(last=False)
    return found


def open_file(path: Path, rule: LinkRule, flags: int) -> int:
    """Open a file of an output folder for writing in place, which is made with ``O_CREAT``; return its descriptor.

    Raises
    ------
    LinkError
        A link is in the way.
    OSError
        It cannot be opened, or is no regular file.
    """
    make = True
    link = path
    for _ in range(_MOST_LINKS):
        try:
            folder = open_folder(path.parent, rule, make=make)
        except LinkError as error:
            if path == link:
                raise
            raise LinkError(f"{link}: a symbolic link is not followed: {error}") from error
        try:
            file = folder.open(path.name, flags | os.O_NONBLOCK)  # opening a pipe would wait for a reader
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path, make = folder.target(path.name, rule), False
            continue
        kind = os.fstat(file).st_mode
        if not (stat.S_ISREG(kind) or (stat.S_ISCHR(kind) and rule.within is None)):  # /dev/null is a user's affair
            os.close(file)
            raise OSError(errno.EINVAL, "something that is no regular file")
        return file
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


class _Way:
    """The way to a folder, one component after the other, by descriptors."""

    def __init__(self, path: str, rule: LinkRule, *, make: bool) -> None:
        self._rule = rule
        self._make = make
        self._path = path
        root = "/" if rule.within is None else str(rule.within)
        self._root = root
        # Parts of the way that are left, the next one last; whether they may be made.
        self._left = [(part, True) for part in reversed(self._below_root(os.path.abspath(path), path))]  # noqa: PTH100
        self._names: list[str] = []
        self._links = 0

    def follow(self) -> int:
        """Descriptor of the folder at its end."""
        # The root is trusted, and whatever leads to it.
        if self._make:
            Path(self._root).mkdir(parents=True, exist_ok=True)
        self._descriptors = [os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        try:
            while self._left:
                part, may_make = self._left.pop()
                if part == "..":
                    self._go_up()
                elif part not in ("", "."):
                    self._go_down(part, may_make=may_make)
            return self._descriptors.pop()
        finally:
            for descriptor in self._descriptors:
                os.close(descriptor)

    @property
    def _here(self) -> str:
        return os.path.join(self._root, *self._names)  # noqa: PTH118

    def _below_root(self, path: str, where: str) -> list[str]:
        if self._root == "/":
            return path.split("/")
        if path != self._root and not path.startswith(self._root.rstrip("/") + "/"):
            raise LinkError(f"{where}: leads out of {self._root}: nothing is written there")
        return path[len(self._root.rstrip("/")) :].split("/")

    def _below_real_root(self, target: str, where: str) -> list[str]:
        real, root = os.path.realpath(target), os.path.realpath(self._root)
        if real != root and not real.startswith(root.rstrip("/") + "/"):
            raise LinkError(f"{where}: a symbolic link that leads out of {self._root}: nothing is written there")
        return real[len(root.rstrip("/")) :].split("/")

    def _go_up(self) -> None:
        if self._names:
            self._names.pop()
            os.close(self._descriptors.pop())
        elif self._root != "/":
            raise LinkError(f"{self._path}: a symbolic link on its way leads out of {self._root}")

    def _go_down(self, part: str, *, may_make: bool) -> None:
        above = self._descriptors[-1]
        try:
            found = self._opened(part, above, may_make=may_make)
        except NotADirectoryError:
            self._go_through_link(part, above)
            return
        self._descriptors.append(found)
        self._names.append(part)

    def _opened(self, part: str, above: int, *, may_make: bool) -> int:
        try:
            return os.open(part, _FOLDER, dir_fd=above)
        except FileNotFoundError:
            if not (self._make and may_make):
                raise
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=above)
            return os.open(part, _FOLDER, dir_fd=above)

    def _go_through_link(self, part: str, above: int) -> None:
        where = f"{self._here.rstrip('/')}/{part}"
        # By a descriptor of the link itself, so that it cannot become another between two looks.
        link = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            status = os.fstat(link)
            if not stat.S_ISLNK(status.st_mode):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), where)
            self._rule.check_owner(status, os.fstat(above), where)
            target = os.readlink("", dir_fd=link)
        finally:
            os.close(link)
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), where)
        if target.startswith("/"):
            parts = self._below_root(target, where) if self._root == "/" else self._below_real_root(target, where)
            for descriptor in self._descriptors[1:]:
                os.close(descriptor)
            del self._descriptors[1:], self._names[:]
        else:
            parts = target.split("/")
        # What a link promises is not made: it may be a disk that is not mounted.
        self._left += [(one, False) for one in reversed(parts)]


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"
