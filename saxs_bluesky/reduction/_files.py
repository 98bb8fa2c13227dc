"""Where results go: names of output files, safe replacement, the list of written curves."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from saxs_bluesky.reduction._curve import Curve

_BLOCK = 65536  # bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends, or goes when it fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class OutputNames:
    """Names of the files made from an image.

    Parameters
    ----------
    relative
        Output folder relative to the folder of the image.
    folder
        One output folder for all images in place of ``relative``; the names then carry the
        image's whole path, with the separators replaced by underscores.
    base
        Folder whose own path is left out of these names, where an image lies below it.
    """

    relative: str = "../work"
    folder: Path | None = None
    base: Path | None = None

    def stem(self, image: Path) -> Path:
        """Path of the output files of ``image`` up to where their names differ."""
        if self.folder is not None:
            named = image.relative_to(self.base) if self.base and image.is_relative_to(self.base) else image
            whole = os.path.normpath(named.with_suffix("")).replace(os.sep, "_")
            return self.folder / whole
        return Path(os.path.normpath(image.parent / self.relative)) / image.stem

    def chi(self, image: Path, position: int, curve: str) -> Path:
        """Path of the ``.chi`` file of the curve of that name, at ``position`` among those of the image.

        The first has the image's name; the others add ``_cR1``, ``_cS2`` and so on. As in SAXSdog,
        curves over the azimuth go by R too.
        """
        stem = self.stem(image)
        if position == 0:
            return stem.with_name(f"{stem.name}.chi")
        return stem.with_name(f"{stem.name}_c{re.sub(r'^P(?=[0-9]+$)', 'R', curve)}.chi")


class FileList:
    """The live list of written curves, ``../results/filelist_<directory>.log`` beside a directory.

    One line a curve: its path below the parent of the directory, then I0, I1 and I2. Lines may be
    added from several threads.
    """

    def __init__(self, directory: Path, *, keep: bool) -> None:
        directory = directory.absolute()
        self._parent = directory.parent
        self.path = self._parent / "results" / f"filelist_{directory.name}.log"
        self._lock = threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not keep:
            self.path.write_text("", encoding="utf-8")

    @property
    def size(self) -> int:
        """Length in bytes."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def line(self, chi: Path, curve: Curve) -> str:
        """The line of one curve."""
        integral = curve.integral
        below = os.path.relpath(chi.absolute(), self._parent)
        return f"{below}, {integral.I0}, {integral.I1}, {integral.I2}\n"

    def lines_after(self, size: int) -> list[str]:
        """Lines that stand after so many bytes; none in a list that is shorter.

        Raises
        ------
        OSError
            There is no list, or it cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(size)
            return file.read().decode(errors="replace").splitlines(keepends=True)

    def mend(self) -> int:
        """Cut off what stands after the last whole line; return how many bytes that were.

        Raises
        ------
        OSError
            There is no list, or it cannot be written.
        """
        with self.path.open("r+b") as file:
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
        OSError
            It cannot be written.
        """
        data = line.encode()
        # Opened for each line, since somebody may move the list away meanwhile; and without what Python's files
        # ask of the system besides, as this is done for every curve.
        with self._lock:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                written = os.write(file, data)
                if written != len(data):
                    os.ftruncate(file, os.fstat(file).st_size - written)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(file)

    def add(self, chi: Path, curve: Curve) -> None:
        """Append the line of one written curve."""
        self.append(self.line(chi, curve))
