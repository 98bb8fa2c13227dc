"""Going to the background, as POSIX programs do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from saxs_bluesky.cli._output import flush
from saxs_bluesky.errors import OutputError

_READY = b"\0"


class Background:
    """The program behind the terminal, from which somebody waits to hear whether it has begun.

    Parameters
    ----------
    tell
        Where to say so.
    pid_file
        There from when it has begun to its end.
    """

    def __init__(self, tell: int, pid_file: Path) -> None:
        self._tell = tell
        self._pid_file = pid_file
        self._began = False

    def ready(self) -> None:
        """Say that all has begun well."""
        self._pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        self._began = True
        self._say(_READY)

    def failed(self, text: str) -> None:
        """Say why it has not."""
        self._say(text.encode("utf-8", "replace"))

    def end(self) -> None:
        """Leave nothing behind."""
        if self._began:
            self._pid_file.unlink(missing_ok=True)

    def _say(self, what: bytes) -> None:
        if self._tell >= 0:
            with suppress(BrokenPipeError):
                os.write(self._tell, what)
            os.close(self._tell)
            self._tell = -1


def go_to_background(folder: Path, name: str) -> tuple[Background | None, str]:
    """Go on in a process without terminal; before any thread is started.

    Parameters
    ----------
    folder
        For its log, ``name.log``, and the number of its process, ``name.pid``.
    name
        Of the command.

    Returns
    -------
    In the background itself, and "". In the process that was called from the terminal None, and why the background
    has not begun, or "".

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    pid_file = folder / f"{name}.pid"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputError(f"{folder}: wanted a folder for the log, found {error.strerror or error}") from error
    listen, tell = os.pipe()
    flush()
    child = os.fork()
    if child:
        os.close(log)
        os.close(tell)
        os.waitpid(child, 0)
        return None, _answer(listen)
    _leave_terminal(log)
    os.close(listen)
    return Background(tell, pid_file), ""


def _leave_terminal(log: int) -> None:
    os.setsid()
    if os.fork():
        os._exit(0)  # a process that leads no session never gets a terminal again
    nothing = os.open(os.devnull, os.O_RDONLY)
    for end, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(end, number)
    os.close(nothing)
    os.close(log)


def _answer(listen: int) -> str:
    """Wait for what the background says."""
    with os.fdopen(listen, "rb") as pipe:
        said = pipe.read()
    if said == _READY:
        return ""
    return said.decode("utf-8", "replace") or "wanted a server in the background, found that it ended at once"
