"""The live list of written curves, which several processes may add to and none empties under another."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from saxs_bluesky.reduction._curve import Curve
from saxs_bluesky.support.locks import holders
from saxs_bluesky.support.output_folders import LinkRule, open_file, open_folder

_log = logging.getLogger(__name__)

_BLOCK = 2**16  # bytes
_ADD = os.O_RDWR | os.O_APPEND | os.O_CREAT
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of some network file systems


class FileList:
    """The live list of written curves, ``../results/filelist_<directory>.log`` beside a directory.

    One line a curve: its path below the parent of the directory, which stands for the ``/`` that it begins with as in
    SAXSdog's lists; then I0, I1 and I2. For a directory that is not there yet nothing is made.

    Lines may be added from several threads and processes. Each that adds has a shared lock on the file; it is begun
    anew only by one that is alone.

    Parameters
    ----------
    directory
        The directory.
    keep
        Whether what is in the list stays.
    within
        Folder that nothing is written out of: as in `OutputNames`. The list of this folder itself is inside it.

    Raises
    ------
    LinkError
        A symbolic link is in the way.
    OSError
        The list cannot be begun.
    """

    def __init__(self, directory: Path, *, keep: bool, within: Path | None = None) -> None:
        directory = directory.absolute()
        self._parent = directory if directory == within else directory.parent
        self._rule = LinkRule(within)
        self.path = self._parent / "results" / f"filelist_{directory.name}.log"
        self._lock = threading.Lock()
        self._file: _ListFile | None = None
        self._size: int | None = None  # after the last line: asking the system for each curve takes longer
        results = self.path.parent
        is_free = results.is_dir() or not os.path.lexists(results)
        if is_free and not directory.exists() and not os.path.lexists(self.path):
            return  # made with the first line: there may never be an image
        folder = open_folder(self.path.parent, self._rule)
        if not keep:
            try:
                file, _ = self._opened()
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.EINVAL):
                    raise
                folder.write(self.path.name, b"")  # in place of a pipe
                file, _ = self._opened()
            if not file.empty():
                others = holders(file.descriptor)
                _log.warning(
                    "%s: the list is written by another process%s too: it is not begun anew",
                    self.path,
                    f" (pid {', '.join(map(str, others))})" if others else "",
                )

    def _opened(self) -> tuple[_ListFile, int]:
        """The file that has the list's name now, which somebody may have moved away; and its size."""
        size = None if self._file is None else self._file.size_at(self.path)
        if self._file is None or size is None:
            self._file = _ListFile.open(self.path, self._rule)
            size = os.fstat(self._file.descriptor).st_size
        return self._file, size

    @property
    def size(self) -> int:
        """Length in bytes, after the line that was added last."""
        if self._size is not None:
            return self._size
        try:
            return os.stat(self.path).st_size  # noqa: PTH116 - asked for each frame
        except OSError:
            return 0

    def line(self, chi: str | Path, curve: Curve) -> str:
        """The line of one curve."""
        integral = curve.integral
        path = os.path.normpath(chi)
        above = f"{self._parent}/"
        below = path.removeprefix(above) if path.startswith(above) else os.path.relpath(path, self._parent)
        return f"/{below.translate(_ESCAPED)}, {integral.I0}, {integral.I1}, {integral.I2}\n"

    def lines_after(self, size: int) -> list[str]:
        """Lines that stand after so many bytes; none in a list that is shorter.

        Raises
        ------
        OSError
            There is no list, or it cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(size)
            return file.read().decode(errors="surrogateescape").splitlines(keepends=True)

    def mend(self) -> int:
        """Cut off what stands after the last whole line; return how many bytes that were.

        Raises
        ------
        LinkError
            A symbolic link is in the way.
        OSError
            There is no list, or it cannot be written.
        """
        self._size = None
        with os.fdopen(open_file(self.path, self._rule, os.O_RDWR), "r+b") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end:
                begin = max(0, end - _BLOCK)
                file.seek(begin)
                found = file.read(end - begin).rfind(b"\n")
                if found >= 0:
                    end = begin + found + 1
                    break
                end = begin
            if end < size:
                file.truncate(end)
            return size - end

    def append(self, line: str) -> None:
        """Append a line, whole or not at all.

        Raises
        ------
        LinkError
            A symbolic link is in the way.
        OSError
            It cannot be written.
        """
        data = os.fsencode(line)
        with self._lock:
            file, size = self._opened()
            file.append(data)
            self._size = size + len(data)

    def add(self, chi: Path, curve: Curve) -> None:
        """Append the line of one written curve."""
        self.append(self.line(chi, curve))


# One line a curve, whatever is in its name.
_ESCAPED = {number: repr(chr(number))[1:-1] for number in (*range(32), 127)}


class _ListFile:
    """The open file of a list, with a shared lock; one in a process, however many lists have it."""

    _known: ClassVar[WeakValueDictionary[tuple[int, int], _ListFile]] = WeakValueDictionary()
    _opening: ClassVar = threading.Lock()

    def __init__(self, descriptor: int, key: tuple[int, int]) -> None:
        self.descriptor = descriptor
        self._key = key
        self._share()

    def __del__(self) -> None:
        os.close(self.descriptor)

    @classmethod
    def open(cls, path: Path, rule: LinkRule) -> _ListFile:
        """Open the file of that name; one that has another name too is copied, since that name may be of elsewhere."""
        descriptor = open_file(path, rule, _ADD)
        status = os.fstat(descriptor)
        if status.st_nlink > 1:
            content = os.pread(descriptor, status.st_size, 0)
            os.close(descriptor)
            open_folder(path.parent, rule).write(path.name, content)
            descriptor = open_file(path, rule, _ADD)
            status = os.fstat(descriptor)
        key = (status.st_dev, status.st_ino)
        with cls._opening:
            known = cls._known.get(key)
            if known is not None:
                os.close(descriptor)
                return known
            return cls._known.setdefault(key, cls(descriptor, key))

    def size_at(self, path: Path) -> int | None:
        """Size of this file, where a path leads to it now; None where it does not."""
        try:
            status = os.stat(path)  # noqa: PTH116 - asked for each curve
        except OSError:
            return None
        return status.st_size if (status.st_dev, status.st_ino) == self._key else None

    def _lock(self, kind: int) -> bool:
        """Take a lock, or go without on a file system that has none; False if another process is in the way."""
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def _share(self) -> None:
        """Take the shared lock; another process has the file for itself for a moment only."""
        for _ in range(50):
            if self._lock(fcntl.LOCK_SH):
                return
            time.sleep(0.02)

    def empty(self) -> bool:
        """Begin anew, if no other process has the file; whether that was so."""
        if not self._lock(fcntl.LOCK_EX):
            self._share()
            return False
        if stat.S_ISREG(os.fstat(self.descriptor).st_mode):
            os.ftruncate(self.descriptor, 0)
        self._share()
        return True

    def append(self, data: bytes) -> None:
        """Append bytes, all or none."""
        written = os.write(self.descriptor, data)
        if written != len(data):
            with suppress(OSError):
                os.ftruncate(self.descriptor, os.fstat(self.descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
