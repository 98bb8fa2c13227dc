"""The end of a program: what is in hand is delivered or kept before the interpreter stops the threads that do it.

The interpreter stops threads of executors and of embedded catalogs first, and calls what is registered with ``atexit``
after that: too late for a catalog, which then refuses all work.
"""

from __future__ import annotations

import concurrent.futures.process
import concurrent.futures.thread  # noqa: F401 - come after ours
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from types import FrameType

_log = logging.getLogger(__name__)


class Turn(IntEnum):
    """Who ends first: what makes documents, then what makes others of them, then what writes them."""

    REDUCTIONS = 0
    MERGES = 1
    WRITERS = 2


_SECONDS = {Turn.REDUCTIONS: 1.5, Turn.WRITERS: 2.5}  # since the end began: people leave a session, and wait
_SECONDS_OF_WRITERS = 0.5  # at least
_SECONDS_OF_SCRIPTS = 60.0  # for what would be lost; nobody waits for scripts at a prompt

_EXIT_CODE = 1  # of a program that cannot be waited for

Leave = Callable[[float, float], object]

_leavers: dict[Leave, Turn] = {}
_lock = threading.Lock()
_signalled = _registered = False


def at_program_end(leave: Leave, turn: Turn) -> None:
    """Call ``leave(until, at_most)`` when the program ends, while its threads and catalogs still work.

    That is: at the end of a script or session, ``sys.exit``, an exception that nobody catches, SIGTERM and SIGHUP
    (a closed terminal) where the program does not handle these itself. To be called from where they work.

    Parameters
    ----------
    leave
        Gets two moments, by ``time.monotonic``: when it should be done, and until when it may go on with what would be
        lost otherwise. Called again, with moments that are past, where the user interrupts it.
    turn
        When.
    """
    with _lock:
        _leavers[leave] = turn
        first = not _registered
    if first:
        end_first()
    handle_signals()


def forget(leave: Leave) -> None:
    """Call it no more."""
    with _lock:
        _leavers.pop(leave, None)


def end_first() -> None:
    """Run the callbacks before the threads that exist now end, such as those of an embedded catalog."""
    # Python has no public way in between; Tiled's client and anyio take this one too. It fails where the program
    # is ending already.
    global _registered  # noqa: PLW0603 - of the program, as its end is
    _registered = True
    with suppress(RuntimeError):
        threading._register_atexit(_end)  # type: ignore[attr-defined] # noqa: SLF001


def end_at_once_after(seconds: float) -> None:
    """End the program if it has not ended by then, as a thread that never answers keeps it from that."""

    def end() -> None:
        time.sleep(seconds)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(_EXIT_CODE)

    threading.Thread(target=end, name="saxs-bluesky-end", daemon=True).start()


def _end() -> None:
    with _lock:
        leavers = [[leave for leave, turn in _leavers.items() if turn is wanted] for wanted in Turn]
        _leavers.clear()
    is_script = not (_signalled or hasattr(sys, "ps1"))
    begin = time.monotonic()
    until = begin + _SECONDS[Turn.REDUCTIONS]
    for leave in [*leavers[Turn.REDUCTIONS], *leavers[Turn.MERGES]]:
        _call(leave, until, begin + _SECONDS_OF_SCRIPTS if is_script else until)
    now = time.monotonic()
    until = max((now if is_script else begin) + _SECONDS[Turn.WRITERS], now + _SECONDS_OF_WRITERS)
    for leave in leavers[Turn.WRITERS]:
        _call(leave, until, now + _SECONDS_OF_SCRIPTS if is_script else until)


def _call(leave: Leave, until: float, at_most: float) -> None:
    for moments in ((until, at_most), (0.0, 0.0)):
        try:
            leave(*moments)
        except KeyboardInterrupt:
            continue
        except Exception:  # noqa: BLE001 - the others have their turn
            _log.exception("what was in hand at the end of the program could not be brought to an end")
        return


def handle_signals() -> None:
    """Make SIGTERM and SIGHUP end the program as ``sys.exit`` does, where it does not handle them itself.

    Signals can be handled by the main thread only; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _on_signal)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """End as with ``sys.exit``; at once where that is going on already."""
    global _signalled  # noqa: PLW0603 - of the program, as signals are
    signal.signal(number, signal.SIG_DFL)
    _signalled = True
    raise SystemExit(128 + number)
