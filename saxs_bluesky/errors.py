"""Errors that a user can act on: each message says what was wanted, what was found, and where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Control characters; what ends a line elsewhere than in ASCII; what changes the direction of what follows it; and
# surrogates, which stand for bytes that are no UTF-8.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text that does nothing to a terminal or a log, and can be written in UTF-8.

    Control characters, marks of direction and surrogates become ``\xNN`` and ``\uNNNN``; all else stays.
    """
    return text if text.isprintable() else _ACTING.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """Text of several lines that does nothing else to a terminal than begin lines."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class SaxsError(Exception):
    """Base of all errors of saxs-bluesky; commands print its message as one line."""


class SchemaError(SaxsError):
    """A JSON document does not fit its schema."""


class CalibrationError(SaxsError):
    """A calibration is unreadable or contradicts itself."""


class GeometryError(SaxsError):
    """A detector geometry for which the formulas do not hold."""


class MaskError(SaxsError):
    """A mask is unreadable or does not fit its detector."""


class FrameError(SaxsError):
    """An image is unreadable, incomplete, or does not fit its calibration."""


class SupersededError(FrameError):
    """A file has been overwritten since: it holds newer content than the one that was meant."""


class UnfilledError(FrameError):
    """An image may not be filled with pixels yet."""


class HandlerError(FrameError):
    """No handler reads the files of a spec, or not with these arguments."""


class StillOpenError(FrameError):
    """A file may not be readable before the program that writes it closes it."""


class CurveFileError(SaxsError):
    """A ``.chi`` file is unreadable."""


class OutputError(SaxsError):
    """A result cannot be written where it belongs."""


class CatalogError(SaxsError):
    """A catalog cannot be opened, or does not hold what was asked of it."""


class MergeError(SaxsError):
    """Images and logs cannot be merged as asked."""


class PlanError(SaxsError):
    """A plan was asked for what cannot be done."""


class PipelineError(SaxsError):
    """The reduction of files ended before its time, of a fault in the program."""


class PluginError(SaxsError):
    """A sink or integrator of another package cannot be had."""


class WorkerDiedError(SaxsError):
    """A worker process died of a task each time it was tried."""


class WorkerHungError(SaxsError):
    """A task was not done in its time, each time it was tried."""


def one_line(error: BaseException, longest: int | None = None) -> str:
    """Text of an error on one line, of at most so many characters; its type where it has no text."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def system_reason(error: OSError) -> str:
    """What the system says of an error, without the path: ``Permission denied``; else the text of the error."""
    return error.strerror or str(error)


@contextmanager
def system_errors_as(kind: type[SaxsError], text: Callable[[str], str]) -> Iterator[None]:
    """Raise what the system refuses in this block as an error that a user can act on.

    Parameters
    ----------
    kind
        Type of the error to raise in place of an `OSError`.
    text
        Makes its text of what `system_reason` says.

    Raises
    ------
    SaxsError
        Of that type: the block raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise kind(text(system_reason(error))) from error


def reason_of(error: BaseException) -> str:
    """Text of an error that costs a frame or its files, as it is recorded.

    Errors that a user can act on say everything themselves; any other is a fault of the program or of a user's
    integrator, and its type is named.
    """
    if isinstance(error, SaxsError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"
