"""Going to the background, as POSIX programs do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from saxs_bluesky.cli._output import flush
from saxs_bluesky.errors import OutputError, system_reason

_READY = b"\0"


class Background:
    """The program in the background; the program at the terminal waits until it has begun.

    Parameters
    ----------
    descriptor
        Of the pipe to the program that waits.
    pid_file
        Exists from when the program has begun to its end.
    """

    def __init__(self, descriptor: int, pid_file: Path) -> None:
        self._descriptor = descriptor
        self._pid_file = pid_file
        self._began = False

    def ready(self) -> None:
        """Tell that it has begun."""
        self._pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        self._began = True
        self._answer(_READY)

    def failed(self, text: str) -> None:
        """Tell why it has not begun."""
        self._answer(text.encode("utf-8", "replace"))

    def end(self) -> None:
        """Remove the pid file."""
        if self._began:
            self._pid_file.unlink(missing_ok=True)

    def _answer(self, what: bytes) -> None:
        if self._descriptor >= 0:
            with suppress(BrokenPipeError):
                os.write(self._descriptor, what)
            os.close(self._descriptor)
            self._descriptor = -1


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
        raise OutputError(f"{folder}: the folder for the log cannot be written: {system_reason(error)}") from error
    listen, descriptor = os.pipe()
    flush()
    child = os.fork()
    if child:
        os.close(log)
        os.close(descriptor)
        os.waitpid(child, 0)
        return None, _wait_for_answer(listen)
    _leave_terminal(log)
    os.close(listen)
    return Background(descriptor, pid_file), ""


def _leave_terminal(log: int) -> None:
    os.setsid()
    if os.fork():
        os._exit(0)  # a process that leads no session never gets a terminal again
    nothing = os.open(os.devnull, os.O_RDONLY)
    for end, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(end, number)
    os.close(nothing)
    os.close(log)


def _wait_for_answer(listen: int) -> str:
    """Wait for the answer of the background; return why it has not begun, or ""."""
    with os.fdopen(listen, "rb") as pipe:
        said = pipe.read()
    if said == _READY:
        return ""
    return said.decode("utf-8", "replace") or "the server in the background ended at once: see its log"
