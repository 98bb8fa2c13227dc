"""Standard output and standard error, which may be closed, full, or without a reader."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any

from saxs_bluesky.errors import printable_lines, system_reason


class UndeliveredError(Exception):
    """The result of a command cannot be written to standard output."""


def hold_standard_descriptors() -> None:
    """Open those of 0, 1 and 2 that are closed to nothing, so that no file of the program gets their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            while os.open(os.devnull, os.O_RDWR) < number:  # the lowest number that is free
                pass


def is_terminal() -> bool:
    """True if standard output is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # closed
        return False


def print_result(text: str) -> None:
    """Print a result of the command to standard output; nothing in it acts on a terminal.

    Raises
    ------
    BrokenPipeError
        The reader has gone, as ``head`` does: that is its right.
    UndeliveredError
        It cannot be written.
    """
    error = _write("stdout", printable_lines(text) + "\n")
    if isinstance(error, BrokenPipeError):
        raise error
    if error is not None:
        raise UndeliveredError(f"standard output cannot be written ({system_reason(error)})") from error


def print_status(text: str) -> None:
    """Print a status to standard output; if it cannot be written, the work goes on."""
    _write("stdout", printable_lines(text) + "\n")


def write_to_terminal(text: str) -> None:
    """Write signs for a terminal to standard output, as they are."""
    _write("stdout", text)


def print_error(text: str) -> None:
    """Print an error to standard error, if it can be written; nothing in it acts on a terminal."""
    _write("stderr", printable_lines(text) + "\n")


def flush() -> None:
    """Hand all that was written to the system, before a fork or the end."""
    for name in ("stdout", "stderr"):
        _write(name, "")


def _write(name: str, text: str) -> OSError | None:
    """Write to a standard stream; return what went wrong."""
    stream = getattr(sys, name)
    if stream is None:
        return OSError(errno.EBADF, "it is closed")
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except ValueError:
        setattr(sys, name, None)
        return OSError(errno.EBADF, "it is closed")
    except OSError as error:
        _drop_unwritten(name, stream, error)
        return error
    return None


def _drop_unwritten(name: str, stream: Any, error: OSError) -> None:
    """Drop what a stream could not write, which it would try again with each line, and at the end of the program."""
    if error.errno in (errno.EPIPE, errno.EBADF):
        setattr(sys, name, None)
        return
    with suppress(OSError, ValueError):  # a stream that is no file stays
        descriptor = stream.fileno()
        setattr(sys, name, open(descriptor, "w", encoding=stream.encoding, errors="backslashreplace", closefd=False))  # noqa: SIM115
