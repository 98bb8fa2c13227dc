"""Parts of commands that run until a signal stops them: status line, warnings, signals, catalog."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from saxs_bluesky.cli._command import Exit, print_error, print_status
from saxs_bluesky.cli._leaving import end_at_once
from saxs_bluesky.cli._output import is_terminal, write_to_terminal
from saxs_bluesky.errors import printable

if TYPE_CHECKING:
    from saxs_bluesky.callbacks import CatalogWriter

_log = logging.getLogger(__name__)

_SECONDS_TO_CLOSE = 5.0  # for an embedded catalog
_CLEAR = "\r\x1b[K"
_MOST_WORKERS = 16  # unless asked for


def default_workers() -> int:
    """Default number of frames to reduce at a time: one less than there are cores, 16 at most."""
    return min(_MOST_WORKERS, max(1, (os.cpu_count() or 2) - 1))


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
        self._terminal = is_terminal()

    def show(self, text: str) -> None:
        """Show a text, if it is another and the time has come."""
        now = time.monotonic()
        if text == self._shown or now - self._since < self._seconds:
            return
        self._shown, self._since = text, now
        if self._terminal:
            write_to_terminal(_CLEAR + text)
        else:
            print_status(text)

    def clear(self) -> None:
        """Make room for other lines; the text comes again with the next change."""
        if self._terminal and self._shown:
            write_to_terminal(_CLEAR)
        self._shown = "" if self._terminal else self._shown

    def end(self, text: str) -> None:
        """Show the last text at once, and leave it where it is."""
        self._since = -math.inf
        self.show(text)
        if self._terminal and self._shown:
            print_status("")


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
        print_error(f"{self._command}: {self.format(record)}")


def open_writer(where: str | None, journal: Path | None, stack: ExitStack) -> CatalogWriter | None:
    """Make the writer of a command's catalog, closed with the stack; None where there is no catalog.

    Parameters
    ----------
    where
        A folder, or the URI of a Tiled server.
    journal
        Where runs wait for it, also over a restart; None: in a temporary folder.
    stack
        What closes the writer, and then the catalog.

    Raises
    ------
    OutputError
        The journal cannot be written, or another process uses it.
    """
    if where is None:
        return None
    from saxs_bluesky.callbacks import CatalogWriter
    from saxs_bluesky.catalog import close_catalog, without_key

    is_folder = "://" not in where
    if is_folder:
        where = str(Path(where).expanduser().absolute())  # the current folder may go while the command works
    elif (shown := without_key(where)) != where:
        _log.warning(
            "--catalog %s: all users of this computer see the key in the list of processes; set TILED_API_KEY instead",
            printable(shown),
        )
    catalog = where
    writer = CatalogWriter(catalog, journal=journal)
    looking = (catalog, printable(str(writer.journal)))
    threading.Thread(target=_tell_if_away, args=looking, name="look for the catalog", daemon=True).start()

    def close() -> None:
        writer.close(0)
        # Never under a thread that is still inside a request: both would wait for ever.
        if writer.has_ended and is_folder:
            closing = threading.Thread(target=close_catalog, args=(catalog,), name="close the catalog", daemon=True)
            closing.start()
            closing.join(_SECONDS_TO_CLOSE)

    stack.callback(close)
    return writer


def _tell_if_away(where: str, journal: str) -> None:
    """Warn at the start, not at the first run, if a catalog cannot be reached."""
    from saxs_bluesky.catalog import why_away

    if trouble := why_away(where):
        _log.warning("the catalog is away (%s): documents will wait in %s", trouble, journal)


class Stop:
    """True in ``asked`` if a signal asked to stop: only a flag, since a handler must not wait for a lock."""

    asked = False


@contextmanager
def stop_signals(command: str) -> Iterator[Stop]:
    """Note the first SIGINT or SIGTERM; the second ends the process at once, whatever it waits for.

    SIGHUP is noted too, unless it is ignored (``nohup``): a terminal that is closed may send it several times.
    """
    stop = Stop()

    def note(_number: int, _frame: FrameType | None) -> None:
        if stop.asked:
            end_at_once(Exit.INTERRUPTED, f"{command}: interrupted, and ended at once by a second signal")
        stop.asked = True

    def note_hang_up(_number: int, _frame: FrameType | None) -> None:
        stop.asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, note_hang_up)
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
