"""Profile of the reduction."""

from __future__ import annotations

import cProfile
import io
import pstats
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

_LINES = 25


class Profiling(Executor):
    """Does each task at once, in the calling thread, under the profiler of the standard library."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do a task."""
        future: Future[Any] = Future()
        try:
            future.set_result(self._profile.runcall(fn, *args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)
        return future

    def report(self) -> str:
        """The functions in which most of the time was spent."""
        text = io.StringIO()
        pstats.Stats(self._profile, stream=text).sort_stats("cumulative").print_stats(_LINES)
        return text.getvalue()
