"""How a log file is laid out: its delimiter, its header, and the column of its times, found in its beginning."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._clocks import MAC_SECONDS, Epoch
from saxs_bluesky.merge._time_texts import CLOCKS, DATES, DAYS, SECONDS

#: Texts of cells that hold no value, as pandas reads them.
MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
BLANKS = " "  # the delimiter that stands for any run of blanks

_SAMPLE = 100  # lines that are looked at
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?inf", re.ASCII)
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_SECONDS, _DATES = re.compile(SECONDS, re.ASCII), re.compile(DATES, re.ASCII)
_DAYS, _CLOCKS = re.compile(DAYS, re.ASCII), re.compile(CLOCKS, re.ASCII)
_TIME_NAME = re.compile(r"#?\s*(?:date\W*time|time\W*stamp|epoch|time|date|zeit|datum)\b.*", re.IGNORECASE)
_YEARS_1990_TO_2100 = (631_152_000, 4_102_444_800)  # seconds since 1970


class TimeKind(Enum):
    """How times are written."""

    SECONDS = "seconds"
    DATES = "dates"
    #: The day in one column, the clock in the next one.
    DAYS_AND_CLOCKS = "dates in two columns"


@dataclass(frozen=True)
class Layout:
    """How a log file is laid out.

    Parameters
    ----------
    delimiter
        Between the cells of a line; `BLANKS` for any run of blanks.
    names
        Of all columns, each once.
    first_line
        Number of the first line with values, from 1.
    time
        Which column holds the times.
    kind
        How times are written.
    decimal_comma
        True if numbers have a comma in place of a point.
    numeric
        For each column: True if it seems to hold numbers.
    header
        The header as it stands in the file; empty without one.
    remarks
        What is not as in most logs, each one sentence without a subject.
    """

    delimiter: str
    names: tuple[str, ...]
    first_line: int
    time: int
    kind: TimeKind
    decimal_comma: bool
    numeric: tuple[bool, ...]
    header: str
    remarks: tuple[str, ...] = ()

    @property
    def time_columns(self) -> range:
        """Columns that hold the times."""
        return range(self.time, self.time + (2 if self.kind is TimeKind.DAYS_AND_CLOCKS else 1))


@dataclass(frozen=True)
class _Rows:
    """The sample, split at one delimiter: rows of values, all with the same number of cells."""

    delimiter: str
    rows: list[list[str]]
    quality: float

    @property
    def width(self) -> int:
        return len(self.rows[0])

    def column(self, number: int) -> list[str]:
        return [row[number].strip() for row in self.rows]


def find_layout(lines: Sequence[str], epoch: Epoch, where: str) -> Layout:
    """Find out how a log file is laid out.

    Parameters
    ----------
    lines
        The first lines of the file.
    epoch
        What its seconds count from, if it has seconds.
    where
        What errors call the file.

    Raises
    ------
    MergeError
        It holds no line with a time.
    """
    sample = [line for line in lines if line.strip()][:_SAMPLE]
    if not sample:
        raise MergeError(f"{where}: the file is empty")
    found = [rows for delimiter in ("\t", ";", ",", BLANKS) if (rows := _rows(sample, delimiter)) is not None]
    if not found:
        # The first line is the header of a file without entries, else what it holds is no log.
        if len(sample) == 1:
            raise MergeError(f"{where}: the file holds a header and no entries")
        raise MergeError(
            f"{where}: line {lines.index(sample[1]) + 1}, column 1: wanted a time in seconds or a date, found "
            f"{sample[1].split(chr(9))[0].strip()[:40]!r}; no line begins with a time"
        )
    rows = max(found, key=lambda rows: rows.quality)  # of equals the first
    first = next(i for i, line in enumerate(lines) if _cells(line, rows.delimiter) == rows.rows[0])
    header = _header(lines[:first], rows)
    names = _names(header, rows)
    time, kind = _time_column(names, rows, epoch)
    comma = any(_COMMA.fullmatch(cell) for row in rows.rows for cell in row) and rows.delimiter != ","
    return Layout(
        delimiter=rows.delimiter,
        names=names,
        first_line=first + 1,
        time=time,
        kind=kind,
        decimal_comma=comma,
        numeric=tuple(_is_numeric(rows.column(i)) for i in range(rows.width)),
        header=header,
        remarks=tuple(_remarks(rows, names, header, time, kind, comma)),
    )


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == BLANKS:
        return line.split()
    return next(csv.reader([line], delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else 0), [])


def _is_time(cell: str) -> bool:
    return any(form.fullmatch(cell.strip()) for form in (_SECONDS, _DATES, _DAYS))


def _is_value(cell: str) -> bool:
    cell = cell.strip()
    return cell in MISSING or _NUMBER.fullmatch(cell) is not None or _DATES.fullmatch(cell) is not None


def _rows(sample: Sequence[str], delimiter: str) -> _Rows | None:
    """The rows with values, and how well the delimiter fits: shares of such lines, and of numbers in them."""
    split = [_cells(line, delimiter) for line in sample]
    times = [row for row in split if row and (_is_time(row[0]) or any(_DATES.fullmatch(cell.strip()) for cell in row))]
    if not times:
        # The times are not in the first column, or behind texts.
        times = [row for row in split if any(_SECONDS.fullmatch(cell.strip()) for cell in row)]
    if not times:
        return None
    width, count = Counter(map(len, times)).most_common(1)[0]
    rows = [row for row in times if len(row) == width]
    numbers = sum(map(_is_value, (cell for row in rows for cell in row))) / (count * width)
    # One column is the last choice: the others are cells of it then.
    return _Rows(delimiter, rows, count / len(sample) * numbers + (width > 1))


def _header(before: Sequence[str], rows: _Rows) -> str:
    """The first of the lines before the values that has as many cells, or else the last one that has several."""
    headers = [line for line in before if line.strip() and not _is_rule(line)]
    fitting = [line for line in headers if len(_cells(line.lstrip("# "), rows.delimiter)) == rows.width]
    others = [line for line in headers if len(_cells(line, rows.delimiter)) > 1]
    return (fitting or others[-1:] or [""])[0]


def _is_rule(line: str) -> bool:
    return not set(line.strip()) - set("-=#*_ ")


def _names(header: str, rows: _Rows) -> tuple[str, ...]:
    """Names of the columns; those of tab-separated files keep their blanks, with which deployed programs know them."""
    cells = _cells(header.removeprefix("#") if header.startswith("#") else header, rows.delimiter)
    if rows.delimiter != "\t" or header.startswith("#"):
        cells = [cell.strip() for cell in cells]
    cells = (cells + [""] * rows.width)[: rows.width]
    names: list[str] = []
    for number, cell in enumerate(cells):
        plain = cell if cell.strip() else (f"Unnamed: {number}" if header else f"Column {number + 1}")
        name, copies = plain, 0
        while name in names:
            copies += 1
            name = f"{plain}.{copies}"
        names.append(name)
    return tuple(names)


def _time_column(names: Sequence[str], rows: _Rows, epoch: Epoch) -> tuple[int, TimeKind]:
    """The first column, unless it holds no times, or another one is called time and fits the epoch better."""
    kinds = {i: kind for i in range(rows.width) if (kind := _time_kind(rows, i)) is not None}
    if not kinds:
        return 0, TimeKind.SECONDS
    first = min(kinds)
    named = [i for i in kinds if _TIME_NAME.fullmatch(names[i])]
    if first == 0 and (kinds[0] is not TimeKind.SECONDS or _is_plausible(rows.column(0), epoch) or not named):
        return 0, kinds[0]
    plausible = [i for i in kinds if kinds[i] is not TimeKind.SECONDS or _is_plausible(rows.column(i), epoch)]
    best = next((i for i in named if i in plausible), None)
    if best is None:
        best = first if first == 0 else next(iter(plausible or named), first)
    return best, kinds[best]


def _time_kind(rows: _Rows, column: int) -> TimeKind | None:
    cells = rows.column(column)
    if _most(_SECONDS, cells):
        return TimeKind.SECONDS
    if _most(_DATES, cells):
        return TimeKind.DATES
    if _most(_DAYS, cells) and column + 1 < rows.width and _most(_CLOCKS, rows.column(column + 1)):
        return TimeKind.DAYS_AND_CLOCKS
    return None


def _most(form: re.Pattern[str], cells: Sequence[str]) -> bool:
    return sum(form.fullmatch(cell) is not None for cell in cells) > 0.8 * len(cells)


def _is_plausible(cells: Sequence[str], epoch: Epoch) -> bool:
    """True if most seconds lie between 1990 and 2100."""
    seconds = [float(cell.replace(",", ".")) for cell in cells if _SECONDS.fullmatch(cell)]
    shift = MAC_SECONDS if epoch is Epoch.MAC else 0
    low, high = _YEARS_1990_TO_2100
    return sum(low <= value - shift <= high for value in seconds) > 0.5 * len(cells)


def _is_numeric(cells: Sequence[str]) -> bool:
    # Only missing cells: texts may follow.
    numbers = [cell for cell in cells if cell not in MISSING]
    return bool(numbers) and all(_NUMBER.fullmatch(cell) for cell in numbers)


_DELIMITER_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", BLANKS: "blanks"}


def _remarks(rows: _Rows, names: Sequence[str], header: str, time: int, kind: TimeKind, comma: bool) -> Iterator[str]:
    if rows.delimiter != "\t" and rows.width > 1:
        yield f"the cells are separated by {_DELIMITER_NAMES[rows.delimiter]}"
    if comma:
        yield "the numbers have decimal commas"
    if not header:
        yield "there is no header: the columns are called by their numbers"
    elif (found := len(_cells(header.removeprefix("#"), rows.delimiter))) != rows.width:
        yield f"the header names {found} columns, the lines hold {rows.width} cells"
    if time != 0:
        yield f"the times are taken from column {time + 1}, {names[time].strip()!r}"
    if kind is not TimeKind.SECONDS:
        yield f"the times are {kind.value}"
