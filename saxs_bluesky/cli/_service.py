"""What commands share that run until a signal stops them: how they stand, warnings, and signals."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from saxs_bluesky.cli._command import complain, say

_CLEAR = "\r\x1b[K"


class StatusLine:
    """Shows a text when it has changed: on a terminal in one line that is refreshed, elsewhere in lines of their own.

    Parameters
    ----------
    seconds
        How long a text stands at least before the next.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._shown = ""
        self._since = -seconds
        self._terminal = sys.stdout.isatty()

    def show(self, text: str, *, now: bool = False) -> None:
        """Show a text, if it is another and the time has come, or ``now``."""
        moment = time.monotonic()
        if text == self._shown or (moment - self._since < self._seconds and not now):
            return
        self._shown, self._since = text, moment
        if self._terminal:
            sys.stdout.write(_CLEAR + text)
            sys.stdout.flush()
        else:
            say(text)

    def clear(self) -> None:
        """Make room for other lines; the text comes again with the next change."""
        if self._terminal and self._shown:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()
        self._shown = "" if self._terminal else self._shown

    def end(self) -> None:
        """Leave the text where it is."""
        if self._terminal and self._shown:
            say("")


class _Complaints(logging.Handler):
    """Log records as lines on standard error that do not run into the status line."""

    def __init__(self, command: str, line: StatusLine, but_not: Sequence[str]) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(lambda record: record.name not in but_not)
        self._command = command
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self._line.clear()
        complain(f"{self._command}: {self.format(record)}")


class Stop:
    """Whether a signal asked to stop: a mere flag, since a handler that waits for a lock may wait for itself."""

    asked = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Note the first SIGINT or SIGTERM; the second interrupts."""
    stop = Stop()

    def note(_number: int, _frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def complaints(command: str, line: StatusLine, *, but_not: Sequence[str] = ()) -> Iterator[None]:
    """Show warnings beside the status line, except those of the loggers ``but_not``, which are told otherwise."""
    handler = _Complaints(command, line, but_not)
    logger = logging.getLogger("saxs_bluesky")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
