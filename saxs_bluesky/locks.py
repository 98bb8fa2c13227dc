"""Folders that one program at a time may use."""

from __future__ import annotations

import fcntl
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
