"""One merged run that is made row by row."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from saxs_bluesky.callbacks.merge._raw_images import ImageTimes, RawImages
from saxs_bluesky.documents import (
    Document,
    Listed,
    LoggerTable,
    MergeCounts,
    MergedColumn,
    MergedLogger,
    MergedRunComposer,
    NamedDocument,
    clean_names,
    exposure_keys,
    is_text,
    loggable,
    logged_columns,
)
from saxs_bluesky.merge import ImageValues, Lack, image_values

_NS = 1e9
_MOST_AT_ONCE = 200  # images that are joined together
_MOST_LISTED = 100
_EVENT_LATE = 1.0  # seconds by which the event of an image may come later than its curves
_IMAGES = "images"
_HINTS = ("_I0", "_I1", "_I2", "_correlation_length")
_EXPOSURE = "exposure_time"

ExitStatus = Literal["success", "abort", "fail"]


@dataclass(eq=False)
class _Row:
    frame_index: int
    fallback: float  # when it was taken, where its event never comes
    values: Mapping[str, Any]
    times: ImageTimes | None = None
    since: float = field(default_factory=time.monotonic)


class RunMerge:
    """Joins the images of one detector in one stream, in their order, to what the loggers say.

    Parameters
    ----------
    raw
        The raw run.
    stream
        Name of its stream with the images.
    detector
        Name of the detector.
    reduced
        ``uid`` of the reduced run; empty where the images are not reduced.
    keys
        Data keys of the reduced run's events that go along: numbers and texts.
    patience
        For how long an image waits for entries of loggers, seconds.
    """

    def __init__(
        self,
        raw: RawImages,
        stream: str,
        detector: str,
        *,
        reduced: str = "",
        keys: Mapping[str, Document] | None = None,
        patience: float,
    ) -> None:
        self._raw = raw
        self._stream = stream
        self._detector = detector
        self._reduced = reduced
        self._keys = dict(keys or {})
        self._patience = patience
        self._rows: deque[_Row] = deque()
        self._run: MergedRunComposer | None = None
        self._own: dict[str, str] = {}  # data keys of the merged run by those of the images' events
        self._columns: list[MergedColumn] = []
        self._loggers: list[str] = []
        self._without_log = self._beyond = self._lost = self._unknown = 0
        self._named: dict[str, list[str]] = {"without": [], "beyond": []}

    @property
    def waiting(self) -> int:
        """How many images wait for entries of loggers."""
        return len(self._rows)

    def add(self, frame_index: int, fallback: float, values: Mapping[str, Any]) -> None:
        """Take an image in.

        Parameters
        ----------
        frame_index
            Its number in the stream, from 0.
        fallback
            When it was taken, where its own event never comes; seconds since 1970.
        values
            By data key.
        """
        self._rows.append(_Row(frame_index, fallback, values))

    def documents(self, *, all_of_them: bool = False) -> Iterator[NamedDocument]:
        """Yield the documents of the images that are complete, or whose patience has ended.

        Parameters
        ----------
        all_of_them
            Whether nothing more comes that they could wait for.
        """
        ready: list[_Row] = []
        now = time.monotonic()
        while self._rows and (all_of_them or self._is_ready(self._rows[0], now)):
            ready.append(self._rows.popleft())
            if len(ready) == _MOST_AT_ONCE:
                yield from self._merge(ready)
                ready = []
        if ready:
            yield from self._merge(ready)

    def stop(self, exit_status: ExitStatus, reason: str = "") -> Iterator[NamedDocument]:
        """Yield what is left, and the stop document; nothing where there was no image."""
        yield from self.documents(all_of_them=True)
        if self._run is None:
            return
        remarks = []
        if self._lost:
            remarks.append(
                f"{self._lost} images have no event: their exposures are taken to end when they are there to be reduced"
            )
        if self._unknown:
            remarks.append(
                f"the exposure of {self._unknown} images is not in the documents, so their values are those at the "
                "ends of their exposures"
            )
        late = [name for name in self._raw.loggers if name not in self._loggers]
        if late:
            remarks.append(f"streams that began after the first image are left out: {', '.join(late)}")
        counts = MergeCounts(
            images_without_log=Listed(self._without_log, self._named["without"]),
            beyond_tolerance=Listed(self._beyond, self._named["beyond"]),
            remarks=remarks,
        )
        yield self._run.stop(counts, exit_status=exit_status, reason=reason)

    def _is_ready(self, row: _Row, now: float) -> bool:
        waited = now - row.since
        if row.times is None:
            row.times = self._times(row)
        if row.times is None and waited >= _EVENT_LATE:
            row.times = self._assumed(row)  # as in the flights of ophyd-async, which have no events
        if waited >= self._patience:
            return True
        times = row.times
        return times is not None and all(
            one.is_complete(times.start, times.end, waited) for one in self._raw.loggers.values()
        )

    def _times(self, row: _Row) -> ImageTimes | None:
        stream = self._raw.streams.get(self._stream)
        return None if stream is None else stream.take(self._detector, row.frame_index)

    def _assumed(self, row: _Row) -> ImageTimes:
        """When an image was exposed that has no event: by the time at which it was there to be reduced."""
        self._lost += 1
        stream = self._raw.streams.get(self._stream)
        exposure = np.nan if stream is None else exposure_keys(stream.descriptor, self._detector).configured_exposure
        return ImageTimes(row.fallback, float(np.nan_to_num(exposure)), {})

    def _merge(self, rows: list[_Row]) -> Iterator[NamedDocument]:
        exposed = [row.times or self._times(row) or self._assumed(row) for row in rows]
        self._unknown += sum(not one.exposure for one in exposed)
        if self._run is None:
            self._run = self._begin()
            yield self._run.start
            yield self._run.describe()
        start = np.array([one.start for one in exposed])
        end = np.array([one.end for one in exposed])
        middle = (start + end) / 2
        logged = self._logged(start, end, rows)
        for number, (row, one) in enumerate(zip(rows, exposed, strict=True)):
            values = {self._own[key]: value for key, value in one.scalars.items() if key in self._own}
            values |= {key: value for key, value in row.values.items() if key in self._keys}
            values |= {"frame_index": row.frame_index} | ({_EXPOSURE: one.exposure} if one.exposure else {})
            values |= {key: column[number] for key, column in logged.items()}
            yield self._run.event(float(middle[number]), values)

    def _logged(self, start: np.ndarray, end: np.ndarray, rows: list[_Row]) -> dict[str, list[Any]]:
        """Values of the loggers at some images, by data key of the merged run."""
        values: dict[str, list[Any]] = {}
        columns = iter(self._columns)
        starts, ends = (np.round(one * _NS).astype(np.int64) for one in (start, end))
        for name in self._loggers:
            table = self._raw.loggers[name].table(float(start.min()), float(end.max()))
            found = image_values(table, starts, ends)
            self._count(name, found, rows)
            for position in range(found.columns.shape[1]):
                values[next(columns).key] = found.columns.iloc[:, position].tolist()
        return values

    def _count(self, name: str, found: ImageValues, rows: list[_Row]) -> None:
        lacking = np.flatnonzero(found.lacks != Lack.NONE)
        beyond = np.flatnonzero(found.lacks == Lack.BEYOND_TOLERANCE)
        self._without_log += len(lacking)
        self._beyond += len(beyond)
        for what, places in (("without", lacking), ("beyond", beyond)):
            room = _MOST_LISTED - len(self._named[what])
            self._named[what] += [f"{name}: frame {rows[place].frame_index}" for place in places[: max(room, 0)]]

    def _begin(self) -> MergedRunComposer:
        """The run, whose columns are those that are known when the first image is merged."""
        tables = [one.logger for one in self._raw.loggers.values()]
        tables.sort(key=lambda one: not one.table.steps)  # of two of one name, the monitored signal keeps it
        self._loggers = [one.table.name for one in tables]
        own = self._own_columns()
        self._columns = logged_columns(tables, [column.key for column in own])
        return MergedRunComposer(
            self._raw.start,
            [*own, *self._columns],
            [_without_count(one) for one in tables],
            reduced=[self._reduced] if self._reduced else [],
            detector=self._detector,
            metadata={"original_stream": self._stream},
        )

    def _own_columns(self) -> list[MergedColumn]:
        stream = self._raw.streams.get(self._stream)
        scalars = {} if stream is None else stream.scalars
        given = [*self._keys, "frame_index", _EXPOSURE]
        names = [key for key in scalars if key not in given]
        self._own = dict(zip(names, clean_names(names, given), strict=True))
        columns = [_column(key, entry, "reduced run") for key, entry in self._keys.items() if key != "frame_index"]
        columns += [_column(self._own[key], scalars[key], "raw run", name=key) for key in names]
        columns.append(_column("frame_index", {"dtype": "integer"}, "raw run"))
        if _EXPOSURE not in self._keys:
            columns.append(_column(_EXPOSURE, {"dtype": "number", "units": "s"}, "raw run"))
        return columns


def reduced_keys(descriptor: Document) -> dict[str, Document]:
    """Data keys of a reduced run's events that go into a merged run: all but the curves."""
    return loggable(descriptor)


def _column(key: str, entry: Document, source: str, *, name: str = "") -> MergedColumn:
    text = is_text(entry)
    return MergedColumn(
        key=key,
        dtype="string" if text else "number",
        object_name=_IMAGES,
        source=str(entry.get("source") or source),
        name=name,
        units=str(entry.get("units") or ""),
        is_hinted=key.endswith(_HINTS),
    )


def _without_count(one: LoggerTable) -> MergedLogger:
    """The logger, of which nobody can know yet how many entries it will have."""
    return replace(one.logger, entries=None)
