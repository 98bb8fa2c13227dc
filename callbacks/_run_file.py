"""The journal file of one run: documents as lines of JSON."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Named = tuple[str, dict[str, Any]]

_ARRAY = "__ndarray__"


def encode(name: str, doc: Mapping[str, Any]) -> bytes:
    """One line of JSON; arrays keep their bits and their type, NaN and infinity are JavaScript's words for them."""
    return json.dumps([name, doc], default=_plain, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Named:
    """Read a document back; its arrays are new and may be written to."""
    name, doc = json.loads(line, object_hook=_array)
    return name, doc


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {_ARRAY: [value.dtype.str, list(value.shape), data]}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    return str(value)


def _array(found: dict[str, Any]) -> Any:
    if _ARRAY not in found:
        return found
    dtype, shape, data = found[_ARRAY]
    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape).copy()


class RunFile:
    """The documents of one run, a line each.

    Lines are handed to the operating system as they come, so that they survive the end of this process, and are
    synced to the disk with the run's stop document: a power failure may cost the last lines of an open run.

    Parameters
    ----------
    path
        The file; it may be one that another process left.
    uid
        The run's.
    """

    def __init__(self, path: Path, uid: str) -> None:
        self.path = path
        self.uid = uid
        self.lines = 0
        self.complete = False
        self._offset = 0
        self._next = 0
        self._moving = threading.Lock()

    @property
    def begun(self) -> bool:
        """Whether this journal's owner has begun to write the run to the catalog."""
        return self.path.with_suffix(".begun").exists()

    def mark_begun(self) -> None:
        """Note that what the catalog has of this run is ours."""
        self.path.with_suffix(".begun").touch()

    def append(self, lines: list[bytes], *, complete: bool) -> None:
        """Add documents; ``complete`` says that the stop document is among them.

        Raises
        ------
        OSError
            The disk takes no more; nothing was added.
        """
        with self._moving, self.path.open("ab") as file:
            size = file.tell()
            try:
                file.write(b"".join(lines))
                file.flush()
                if complete:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        self.lines += len(lines)
        self.complete |= complete

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """Read on: up to so many numbered lines, from where the last call ended."""
        count = min(limit, self.lines - self._next)
        with self._moving, self.path.open("rb") as file:
            file.seek(self._offset)
            found = [(self._next + index, file.readline()) for index in range(count)]
            self._offset = file.tell()
        self._next += count
        return found

    def documents(self) -> Iterator[Named]:
        """Yield the documents that are in the file now, apart from `read`."""
        with self.path.open("rb") as file:
            for _ in range(self.lines):
                yield decode(file.readline())

    def rewind(self) -> None:
        """Read from the first line again."""
        self._offset = self._next = 0

    def move(self, folder: Path) -> None:
        """Put the file elsewhere; what comes later is added to it there."""
        marker = self.path.with_suffix(".begun")
        folder.mkdir(exist_ok=True)
        with self._moving:
            self.path = self.path.replace(folder / self.path.name)
        marker.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the file: the catalog has it all."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".begun").unlink(missing_ok=True)
