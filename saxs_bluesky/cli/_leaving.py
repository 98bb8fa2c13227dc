"""End of a command's process, whatever its threads and workers wait for."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

_SECONDS_TO_LEAVE = 10.0  # for threads, workers and exit handlers, after the command itself has ended


def end_at_once(code: int, text: str) -> None:
    """End this process now, without a look at its threads; journals are made for that.

    May be called in a signal's handler: it takes no lock and waits for nobody.

    Parameters
    ----------
    code
        Exit code.
    text
        Line for standard error, left out where nobody reads there.
    """
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="replace"))
    workers = sys.modules.get("saxs_bluesky.workers")  # a command that has none does not load it now
    if workers is not None:
        workers.kill_hanging_workers()
    os._exit(code)


def leave(name: str, code: int) -> None:
    """Let the interpreter end in bounded time, and at once at a signal; called last.

    A thread inside a request to a catalog, or a library's exit handler that waits for one, may take for ever.

    Parameters
    ----------
    name
        Of the command.
    code
        Exit code.
    """
    # What is there goes with the process. The interpreter would look through all of it several times, which takes
    # seconds where a catalog was loaded.
    gc.freeze()
    if threading.active_count() == 1:
        return

    def now(_number: int, _frame: FrameType | None) -> None:
        end_at_once(code, f"{name}: interrupted while it ended")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, now)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is ending

    def watch() -> None:
        threading.main_thread().join()  # until the interpreter begins to end
        time.sleep(_SECONDS_TO_LEAVE)
        there = ", ".join(sorted(thread.name for thread in threading.enumerate() if thread.name != "leaving"))
        end_at_once(code, f"{name}: ended without waiting any longer for its threads ({there})")

    threading.Thread(target=watch, name="leaving", daemon=True).start()
