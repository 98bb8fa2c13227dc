"""A merge in a process of its own: it takes no time from the program that asked, and can be ended at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from saxs_bluesky.errors import MergeError, SaxsError, reason_of
from saxs_bluesky.merge._merge import MergeJob, MergeResult, carry_out

_NICENESS = 19  # images that are reduced at the same time come first
_END_SECONDS = 5.0  # for a process that is told to end


class MergeProcess:
    """A merge that goes on beside this program.

    Parameters
    ----------
    job
        What is merged, and where to.
    on_text
        Called with each line of what is done, in a thread of this object.
    on_end
        Called once, in that thread, with the result, or with the error for which there is none.
    """

    def __init__(
        self, job: MergeJob, on_text: Callable[[str], None], on_end: Callable[[MergeResult | SaxsError], None]
    ) -> None:
        self._on_text = on_text
        self._on_end = on_end
        self._logs_read = threading.Event()
        self._outcome: MergeResult | SaxsError | None = None
        self._is_cancelled = False
        context = get_context("spawn")  # a fork would take over locks that threads of this program hold
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_merge, args=(job, sender), name="saxs-bluesky-merge", daemon=True)
        self._process.start()
        sender.close()
        self._thread = threading.Thread(target=self._listen, name="saxs-bluesky-merge", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """True until the result, or the error, is there."""
        return self._outcome is None

    def wait_for_logs(self, seconds: float) -> SaxsError | None:
        """Wait until the logs are read.

        Parameters
        ----------
        seconds
            For how long at most.

        Returns
        -------
        The error of a merge that has failed already; else None.
        """
        self._logs_read.wait(seconds)
        return self._outcome if isinstance(self._outcome, SaxsError) else None

    def cancel(self) -> None:
        """End the merge; files that are written by then stay, and are whole."""
        self._is_cancelled = True
        self._process.terminate()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
        self._thread.join(_END_SECONDS)

    def join(self, seconds: float | None = None) -> bool:
        """Wait until `on_end` was called; False if that takes longer."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _listen(self) -> None:
        outcome: MergeResult | SaxsError | None = None
        with suppress(EOFError, OSError):
            while outcome is None:
                what, content = self._receiver.recv()
                if what == "text":
                    self._on_text(content)
                elif what == "logs":
                    self._logs_read.set()
                else:
                    outcome = content
        self._process.join()
        self._receiver.close()
        if outcome is None:
            outcome = MergeError(
                "the merge was cancelled"
                if self._is_cancelled
                else f"the process of the merge ended with code {self._process.exitcode}, without a result: "
                "it may have been killed for want of memory"
            )
        self._outcome = outcome
        self._logs_read.set()
        self._on_end(outcome)


def _merge(job: MergeJob, pipe: Connection) -> None:
    """Carry out a job; in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the program that asked, which ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a file that is being written goes
    with suppress(OSError):  # not where niceness does not exist
        os.nice(_NICENESS)

    def send(what: str, content: Any = None) -> None:
        pipe.send((what, content))

    try:
        result = carry_out(job, lambda text: send("text", text), on_logs=lambda: send("logs"))
    except BrokenPipeError:  # the program that asked has ended
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must know
        send("end", error if isinstance(error, SaxsError) else MergeError(reason_of(error)))
    else:
        send("end", result)
