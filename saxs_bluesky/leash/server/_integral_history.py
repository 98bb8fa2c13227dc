"""Integral parameters of all images of a queue, as deployed clients draw them over time."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

#: Rows (images times curves) that are kept: more than a beam time has; an answer of 14 to 32 MB, depending on paths.
MOST_ROWS = 200_000
_CHUNK = 1000
_WHOLE_SECONDS = len("2026-11-27T10:16:37")
_COLUMNS = ("time", "file", "I0", "I1", "I2")
# Times that pandas can hold; others are of a clock that was never set.
_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1678, 2262))


@dataclass(frozen=True)
class Row:
    """Integral parameters of one image.

    Parameters
    ----------
    taken
        When the image was taken, in seconds since 1970.
    local
        The same as ISO text in local time, without zone.
    curves
        For each curve the file without suffix, I0, I1 and I2, as JSON.
    """

    taken: float
    local: str
    curves: Mapping[str, tuple[str, str, str, str]]

    @classmethod
    def from_values(cls, taken: float, curves: Mapping[str, Sequence[str | float]]) -> Row:
        """Make a row of the file and the three numbers of each curve.

        Raises
        ------
        ValueError
            The values have other types, or the time is out of range.
        """
        if not _EARLIEST < taken < _LATEST:
            raise ValueError(f"time {taken}")
        local = datetime.fromtimestamp(taken, UTC).astimezone().replace(tzinfo=None)
        return cls(
            taken, local.isoformat(timespec="microseconds"), {name: _texts(*values) for name, values in curves.items()}
        )

    def to_json(self) -> list[object]:
        """Values as JSON holds them, for `from_values`."""
        return [self.taken, {name: [json.loads(text) for text in texts] for name, texts in self.curves.items()}]


def _texts(file: object, *numbers: object) -> tuple[str, str, str, str]:
    match file, *numbers:
        case str(), int() | float() as i0, int() | float() as i1, int() | float() as i2:
            return json.dumps(file), number(i0), number(i1), number(i2)
        case _:
            raise ValueError("no integral parameters")


@dataclass
class IntegralHistory:
    """Integral parameters of all images, in the order of processing.

    If there are more than ``most`` images, the newest ``most / 2`` are kept complete, and of the older ones every
    second, then every fourth and so on: the whole time span stays visible. Times are local without zone, all with
    fractions of a second as soon as one has a fraction: pandas needs one form in a list.

    `add` and `clear` may be called beside `text`, which is for one thread at a time.
    """

    curves: int = 1
    most_rows: int = MOST_ROWS
    _rows: list[Row] = field(default_factory=list)
    _first: int = 0  # number of the first row that belongs to the newest, complete ones
    _thinned: int = 0  # rows before those
    _stride: int = 1  # between the numbers of these
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _fraction: bool = False
    _generation: int = 0
    _encoded: int = 0  # generation of the chunks
    _chunks: list[dict[str, list[str]]] = field(default_factory=list)

    @property
    def most(self) -> int:
        """Number of images that are kept at most."""
        return max(4, self.most_rows // max(1, self.curves))

    def __len__(self) -> int:
        """Number of images that are kept now."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        with self._lock:
            return iter(list(self._rows))

    def add(self, row: Row) -> None:
        """Add an image."""
        with self._lock:
            if not self._fraction and row.taken % 1:
                self._fraction = True
                self._generation += 1
            self._rows.append(row)
            if len(self._rows) > self.most:
                self._thin()

    def _thin(self) -> None:
        half = len(self._rows) // 2
        rows = self._rows[: self._thinned]
        # Of the complete ones, those that get old begin with number `_first`.
        for number, row in enumerate(self._rows[self._thinned : half], self._first):
            if number % self._stride == 0:
                rows.append(row)
        self._first += half - self._thinned
        while len(rows) > self.most // 4:
            rows, self._stride = rows[::2], 2 * self._stride
        self._thinned = len(rows)
        self._rows = rows + self._rows[half:]
        self._generation += 1

    def clear(self) -> None:
        """Forget all images."""
        with self._lock:
            self._rows, self._fraction = [], False
            self._first, self._thinned, self._stride = 0, 0, 1
            self._generation += 1

    def text(self) -> str:
        """JSON object with the lists ``time, file, I0, I1, I2`` for each curve."""
        with self._lock:
            if self._encoded != self._generation:
                self._encoded = self._generation
                self._chunks = []
            rows, length = self._rows[_CHUNK * len(self._chunks) :], None if self._fraction else _WHOLE_SECONDS
        whole = len(rows) // _CHUNK * _CHUNK
        self._chunks += [_encode(rows[start : start + _CHUNK], length) for start in range(0, whole, _CHUNK)]
        parts = [*self._chunks, _encode(rows[whole:], length)]
        names = sorted({name for part in parts for name in part})
        return (
            "{"
            + ", ".join(f'"{name}": {_joined([part[name] for part in parts if name in part])}' for name in names)
            + "}"
        )


def _encode(rows: Iterable[Row], length: int | None) -> dict[str, list[str]]:
    """For each curve its columns, each as the inside of a JSON list."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        time = f'"{row.local[:length]}"'
        for name, texts in row.curves.items():
            tables.setdefault(name, []).append((time, *texts))
    return {name: [", ".join(column) for column in zip(*table, strict=True)] for name, table in tables.items()}


def _joined(parts: Sequence[Sequence[str]]) -> str:
    columns = (f'"{key}": [{", ".join(texts)}]' for key, texts in zip(_COLUMNS, zip(*parts, strict=True), strict=True))
    return "{" + ", ".join(columns) + "}"


def time_taken(taken: float, done: float) -> float:
    """Time of an image, or that of its processing if the image's is out of range; in seconds since 1970."""
    return taken if _EARLIEST < taken < _LATEST else done


def number(value: float) -> str:
    """A number as JSON; NaN if it is not finite."""
    return repr(float(value)) if math.isfinite(value) else "NaN"
