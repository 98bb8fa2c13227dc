"""The latest entries of one logger of a run that goes on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from saxs_bluesky.documents import Document, LoggerTable, first_entry, is_monitor, log_column, loggable
from saxs_bluesky.merge import LONG_EXPOSURE, LogTable, Method

_NS = 1e9
_KEPT = 100_000  # entries
_AROUND = 50  # entries before an exposure, which tell how often the logger logs
_SETTLING = 0.2  # seconds in which what a monitored signal sends has come


class LoggerEntries:
    """Keeps the latest entries of a stream, and makes a table of those around some images.

    Parameters
    ----------
    descriptor
        Of the stream.
    run_uid
        Of its run.
    method
        How values at images are found; None: the mean of what a monitored signal holds, and `Method.AUTO` of others.
    tolerance, offset
        As in `LogTable`.
    """

    def __init__(
        self,
        descriptor: Document,
        run_uid: str,
        *,
        method: Method | None,
        tolerance: float | None,
        offset: float,
    ) -> None:
        self.keys = loggable(descriptor)
        self._stamp = next(iter(self.keys)) if is_monitor(descriptor["name"]) and len(self.keys) == 1 else ""
        steps = is_monitor(descriptor["name"])
        empty = {key: log_column([], entry) for key, entry in self.keys.items()}
        table = LogTable(
            name=descriptor["name"],
            times=np.empty(0, dtype=np.int64),
            columns=pd.DataFrame(empty),
            offset=offset,
            method=method or (Method.MEAN if steps else Method.AUTO),
            tolerance=tolerance,
            steps=steps,
            units={key: str(entry["units"]) for key, entry in self.keys.items() if entry.get("units")},
        )
        sources = {key: str(entry.get("source", "")) for key, entry in self.keys.items()}
        #: The logger, without entries.
        self.logger = LoggerTable(table, {"stream": descriptor["name"], "run": run_uid}, sources)
        self._times: list[float] = []
        self._values: dict[str, list[Any]] = {key: [] for key in self.keys}
        first = first_entry(descriptor)
        if first is not None:
            self._add(*first)

    def add(self, event: Document) -> None:
        """Take the values of an event in."""
        stamp = (event.get("timestamps") or {}).get(self._stamp)
        self._add(float(event["time"] if stamp is None else stamp), event["data"])

    def _add(self, time: float, data: Mapping[str, Any]) -> None:
        place = len(self._times)
        if self._times and time < self._times[-1]:
            place = bisect_right(self._times, time)
        self._times.insert(place, time)
        for key, values in self._values.items():
            values.insert(place, data.get(key))
        if len(self._times) > 2 * _KEPT:
            del self._times[:_KEPT]
            for values in self._values.values():
                del values[:_KEPT]

    def is_complete(self, start: float, end: float, waited: float) -> bool:
        """Whether no further entry can change the value at an image.

        Parameters
        ----------
        start, end
            Of its exposure, seconds since 1970.
        waited
            For how long all else of the image has been there, seconds.
        """
        table = self.logger.table
        until = self._needed_until(start, end)
        if until is None or (self._times and self._times[-1] - table.offset >= until):
            return True
        # A monitored signal says nothing as long as nothing changes.
        return table.steps and waited >= _SETTLING

    def _needed_until(self, start: float, end: float) -> float | None:
        """Up to when entries count by the images' clock; None where what is there is enough."""
        method, steps = self.logger.table.method, self.logger.table.steps
        if method is Method.PREVIOUS or not self.keys:
            return None
        if method in (Method.LINEAR, Method.NEAREST):
            return (start + end) / 2
        averages = method is Method.MEAN or (end - start >= LONG_EXPOSURE and not steps)
        if averages and not steps:
            latest = self._times[-_AROUND:]
            averages = len(latest) > 1 and median(after - before for before, after in pairwise(latest)) <= end - start
        return end if averages else None

    def table(self, start: float, end: float) -> LogTable:
        """A table of the entries that matter between two times of the images' clock."""
        own = self.logger.table
        first = max(0, bisect_left(self._times, start + own.offset) - _AROUND)
        last = bisect_right(self._times, end + own.offset) + _AROUND
        times = np.round(np.array(self._times[first:last], dtype=np.float64) * _NS).astype(np.int64)
        columns = {key: log_column(values[first:last], self.keys[key]) for key, values in self._values.items()}
        return replace(own, times=times, columns=pd.DataFrame(columns))
