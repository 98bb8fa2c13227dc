"""Folders that one program at a time may use."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


def locked(path: Path) -> IO[bytes]:
    """Open a file and lock it, until it is closed or the program ends; it is made where it is missing.

    Raises
    ------
    BlockingIOError
        Another program has it.
    OSError
        It cannot be opened.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def pids_of(path: Path) -> str:
    """Numbers of the processes that have a file locked, as a part of a message: `` (pid 1234)``; empty if unknown."""
    try:
        with path.open("rb") as file:
            found = holders(file.fileno())
    except OSError:
        return ""
    return f" (pid {', '.join(map(str, found))})" if found else ""


def holders(descriptor: int) -> list[int]:
    """Numbers of the other processes of this computer that have a lock on an open file."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    # 1: FLOCK  ADVISORY  WRITE 4711 fd:01:393242 0 EOF
    found = (line.split() for line in lines)
    pids = {int(parts[4]) for parts in found if len(parts) > 5 and parts[1] == "FLOCK" and parts[5] == file}
    return sorted(pids - {os.getpid(), 0, -1})
