"""Log files of loggers: text tables with a column of times, read into one table of entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
from numpy.typing import NDArray

from saxs_bluesky.errors import MergeError, printable, system_errors_as
from saxs_bluesky.merge._clocks import MAC_SECONDS, Epoch, Localised, from_wall
from saxs_bluesky.merge._log_layout import BLANKS, MISSING, Layout, TimeKind, find_layout
from saxs_bluesky.merge._settings import TableSettings
from saxs_bluesky.merge._tables import NS, LogTable, Times
from saxs_bluesky.merge._time_texts import ReadTimes, plain_time, read_dates, read_seconds

_HEAD = 1 << 16  # bytes at the beginning of a file that its layout is found in
_BLOCK = 1 << 25  # bytes that are parsed at once
_SHOWN = 3  # bad lines that are named; the others are counted
_LONGEST_TIME = 10 * 365 * 86_400 * NS  # ns between an entry and the middle one of its file: another clock, or none
_SMALLEST_GAP = 10 * NS
_GAP_INTERVALS = 20  # so many times the usual interval is a gap
_UNIT = re.compile(r"\[([^\[\]]+)\]\s*$")
_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$|^[+-]?(?i:inf)$"


@dataclass(frozen=True)
class LogSource:
    """A log file to read.

    Parameters
    ----------
    path
        Where it is, checked and resolved.
    name
        What errors and remarks call it; empty: its path.
    """

    path: Path
    name: str = ""

    def __str__(self) -> str:
        return self.name or str(self.path)


@dataclass(frozen=True)
class Logs:
    """The tables of all loggers.

    Parameters
    ----------
    tables
        Those that hold an entry, in the order of the configuration.
    errors
        Of tables that hold none.
    """

    tables: tuple[LogTable, ...]
    errors: tuple[MergeError, ...] = ()


@dataclass(frozen=True, eq=False)
class _Entries:
    """Entries of one file in the order of its lines."""

    times: Times
    columns: dict[str, NDArray[Any]]
    remarks: list[str]
    left_out: list[str]  # those of the remarks that tell of a loss


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of good lines: times as texts, the other columns as values, or as texts where numbers are not sure."""

    times: pa.Array
    columns: dict[str, NDArray[Any] | pa.Array]
    lines: NDArray[np.int64]
    bad_lines: list[tuple[int, str]] = field(default_factory=list)
    bad_cells: list[_BadCells] = field(default_factory=list)
    repeated_headers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _BadCells:
    """Cells of a column that are no numbers: how many, and the line and the text of the first."""

    column: str
    count: int
    line: int
    text: str


def read_logs(
    tables: Iterable[tuple[TableSettings, Sequence[LogSource]]],
    time_offset: float = 0.0,
    progress: Callable[[str], None] | None = None,
) -> Logs:
    """Read the logs of all tables; what is wrong with one costs no other.

    Parameters
    ----------
    tables
        Settings and files of each table.
    time_offset
        Seconds, for all tables: clock of the loggers minus clock of the images.
    progress
        Called with the name of each file before it is read; it may raise an error to end the reading.
    """
    found: list[LogTable] = []
    errors: list[MergeError] = []
    for settings, sources in tables:
        try:
            found.append(read_log(sources, settings, time_offset, progress))
        except MergeError as error:
            errors.append(error)
    return Logs(tuple(found), tuple(errors))


def read_log(
    sources: Sequence[LogSource],
    settings: TableSettings,
    time_offset: float = 0.0,
    progress: Callable[[str], None] | None = None,
) -> LogTable:
    """Read the files of one table.

    Lines that are no entries are left out, counted, and the first of them named in the remarks. Entries are sorted by
    time; of several at the same time the last value of each column stays.

    Parameters
    ----------
    sources
        The files; one that cannot be read costs no other.
    settings
        Of the table.
    time_offset
        Seconds, beside that of the table.
    progress
        Called with the name of each file before it is read.

    Returns
    -------
    The table, with at least one entry.

    Raises
    ------
    MergeError
        No file holds an entry: for each file its name, line and column, and what was found there.
    """
    parts: list[_Entries] = []
    errors: list[str] = []
    for source in sources:
        if progress is not None:
            progress(str(source))
        try:
            parts.append(_read_file(source, settings))
        except MergeError as error:
            errors.append(str(error))
    if not parts:
        raise MergeError(f"table {settings.name}: " + ("; ".join(errors) or "wanted at least one file, found none"))
    times, columns, remarks = _joined(parts)
    steps = settings.are_steps(columns.columns)
    left_out = [*errors, *(remark for part in parts for remark in part.left_out)]
    all_remarks = [*errors, *(remark for part in parts for remark in part.remarks), *remarks]
    if not steps:
        all_remarks += _gaps(times)
    return LogTable(
        name=settings.name,
        times=times,
        columns=columns,
        offset=settings.offset + time_offset,
        method=settings.method,
        tolerance=settings.tolerance,
        steps=steps,
        units={name: match[1] for name in columns.columns if (match := _UNIT.search(name))},
        remarks=tuple(f"{settings.name}: {printable(remark)}" for remark in all_remarks),
        left_out=tuple(f"{settings.name}: {printable(remark)}" for remark in left_out),
    )


def _read_file(source: LogSource, settings: TableSettings) -> _Entries:
    with system_errors_as(MergeError, lambda reason: f"{source}: the log cannot be read: {reason}"):
        content = source.path.read_bytes()
    content, remarks = _plain_text(content)
    head = content[:_HEAD].decode("utf-8", "replace").split("\n")
    layout = find_layout(head if len(content) <= _HEAD else head[:-1], settings.epoch, str(source))
    content, half = _without_half_line(content, layout)
    cells = _cells(content, layout)
    read = _times(cells.times, layout, settings)
    good = read.valid & ~_strays(read)
    bad = sorted([*cells.bad_lines, *_bad_times(cells, read, layout, good)])
    lost = [*_bad_cell_remarks(cells), *([_left_out(bad)] if bad else [])]
    remarks += [*half, *layout.remarks, *_header_remarks(cells), *_clock_remarks(read, good, settings), *lost]
    times, columns = read.times, _without_nameless(cells.columns)
    if not good.all():
        times, columns = times[good], {name: values[good] for name, values in columns.items()}
    if not len(times):
        raise MergeError(f"{source}: the file holds no entry" + (f"; {remarks[-1]}" if bad else ""))
    remarks += _steps_back(times, cells.lines[good])
    return _Entries(
        times, columns, [f"{source}: {remark}" for remark in remarks], [f"{source}: {remark}" for remark in lost]
    )


def _plain_text(content: bytes) -> tuple[bytes, list[str]]:
    """Content of a file as UTF-8 without byte order mark, and what it was before, if something else."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        plain, _ = _plain_text(content.decode("utf-16", "replace").encode())
        return plain, ["the file is in UTF-16"]
    remarks = []
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if content.endswith(b"\0"):
        # Of a computer that lost power: the file had its new length already.
        whole = content.rstrip(b"\0")
        remarks.append(f"{len(content) - len(whole)} zero bytes at the end are left out")
        content = whole
    if not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            content = content.decode("latin-1").encode()
            remarks.append("the file is not in UTF-8: it is read as Latin-1")
    return content, remarks


def _without_half_line(content: bytes, layout: Layout) -> tuple[bytes, list[str]]:
    """Leave out a last line that has no end, if it seems to be half: a logger may be writing it.

    It is whole if it has all its cells, and no fewer decimals in the last one than the line before.
    """
    if content.endswith(b"\n"):
        return content, []
    end = content.rfind(b"\n") + 1
    last = content[end:]
    before = content[max(0, end - _HEAD) : end].split(b"\n")[-2:-1]
    cells, cells_before = _split(last, layout), _split(before[0], layout) if before else []
    if len(cells) == len(layout.names) and (
        len(cells_before) != len(cells) or _decimals(cells[-1]) >= _decimals(cells_before[-1])
    ):
        return content, []
    return content[:end], [f"the last line is left out, which is only half written: {_shown(last.decode())}"]


def _split(line: bytes, layout: Layout) -> list[bytes]:
    return line.split() if layout.delimiter == BLANKS else line.split(layout.delimiter.encode())


def _decimals(cell: bytes) -> int:
    return len(re.split(rb"[.,]", cell.strip(), maxsplit=1)[1]) if re.search(rb"[.,]", cell) else 0


def _cells(content: bytes, layout: Layout) -> _Cells:
    """Cells of a file, block by block: a block that holds something unusual takes longer, the others do not."""
    blocks: list[_Cells] = []
    first_line = layout.first_line
    for begin, end in _blocks(content, layout):
        block = _with_tabs(content[begin:end], layout)
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        blocks.append(_quick_cells(block, layout, first_line, count) or _careful_cells(block, layout, first_line))
        first_line += count
    lines = np.concatenate([block.lines for block in blocks])
    bad_cells = [bad for block in blocks for bad in block.bad_cells]
    columns: dict[str, NDArray[Any] | pa.Array] = {}
    for name in list(blocks[0].columns):
        parts = [block.columns.pop(name) for block in blocks]
        if isinstance(parts[0], np.ndarray):
            columns[name] = np.concatenate(parts)
        else:
            columns[name], bad = _numbers_or_texts(pa.concat_arrays(parts), layout, name, lines)
            bad_cells += bad
    return _Cells(
        times=pa.concat_arrays([block.times for block in blocks]),
        columns=columns,
        lines=lines,
        bad_lines=[bad for block in blocks for bad in block.bad_lines],
        bad_cells=bad_cells,
        repeated_headers=[line for block in blocks for line in block.repeated_headers],
    )


def _blocks(content: bytes, layout: Layout) -> Iterator[tuple[int, int]]:
    """Places of blocks of whole lines, from the first line with values on."""
    begin = 0
    for _ in range(layout.first_line - 1):
        begin = content.index(b"\n", begin) + 1
    while True:
        end = content.find(b"\n", begin + _BLOCK) + 1 or len(content)
        yield begin, end
        begin = end
        if begin >= len(content):
            return


def _quick_cells(block: bytes, layout: Layout, first_line: int, count: int) -> _Cells | None:
    """Cells of a block in which every line is an entry, and each column what the beginning says; else None."""
    header = _plain_header(layout)
    if header and header in block:
        return None
    try:
        table = _parsed(block, layout, lambda number: pa.float64() if layout.numeric[number] else pa.string())
    except pa.ArrowInvalid:
        return None
    if table.num_rows != count:  # empty lines
        return None
    columns = {
        name: _floats(table[name]) if layout.numeric[number] else _array(table[name])
        for number, name in enumerate(layout.names)
        if number not in layout.time_columns
    }
    return _Cells(_time_cells(table, layout), columns, np.arange(first_line, first_line + count))


def _with_tabs(content: bytes, layout: Layout) -> bytes:
    """Runs of blanks, as one tab each; other files as they are."""
    if layout.delimiter != BLANKS:
        return content
    return re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", content))


def _parsed(block: bytes, layout: Layout, type_of: Callable[[int], pa.DataType]) -> pa.Table:
    delimiter = "\t" if layout.delimiter == BLANKS else layout.delimiter
    return arrow_csv.read_csv(
        pa.BufferReader(block),
        read_options=arrow_csv.ReadOptions(column_names=layout.names),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False if delimiter == "\t" else '"'),
        convert_options=arrow_csv.ConvertOptions(
            column_types={
                name: pa.string() if number in layout.time_columns else type_of(number)
                for number, name in enumerate(layout.names)
            },
            null_values=MISSING,
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            decimal_point="," if layout.decimal_comma else ".",
        ),
    )


def _time_cells(table: pa.Table, layout: Layout) -> pa.Array:
    texts = [_array(table[layout.names[number]]) for number in layout.time_columns]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "T")


def _array(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers, NaN where there is none."""
    found = np.empty(len(column))
    begin = 0
    for chunk in column.chunks:
        found[begin : begin + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        begin += len(chunk)
    return found


def _without_nameless(columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Leave out columns without name and values: what a delimiter at the end of the lines makes."""
    return {
        name: values
        for name, values in columns.items()
        if not (name.startswith(("Unnamed: ", "Column ")) and pd.isna(values).all())
    }


def _careful_cells(block: bytes, layout: Layout, first_line: int) -> _Cells:
    """Cells of the lines that have as many as they should; the others are named, as are cells that are no numbers."""
    lines = block.split(b"\n")
    texts = pa.array(lines, pa.string())
    delimiter = "\t" if layout.delimiter == BLANKS else layout.delimiter
    plain = texts if delimiter == "\t" else pc.replace_substring_regex(texts, '"[^"]*"', "")
    counts = pc.count_substring(plain, delimiter).to_numpy() + 1
    written = ~pc.equal(pc.utf8_length(pc.utf8_trim(texts, " ")), 0).to_numpy(zero_copy_only=False)
    repeated = written & _repeats_header(texts, layout)
    good = written & ~repeated & (counts == len(layout.names))
    wrong = written & ~repeated & ~good
    numbers = np.arange(first_line, first_line + len(lines))
    bad_lines = [
        (number, f"wanted {len(layout.names)} cells, found {count}")
        for number, count in zip(numbers[wrong].tolist(), counts[wrong].tolist(), strict=True)
    ]
    whole = b"".join(lines[i] + b"\n" for i in np.flatnonzero(good).tolist())
    empty = pa.table(dict.fromkeys(layout.names, pa.array([], pa.string())))
    table = _parsed(whole, layout, lambda _: pa.string()) if whole else empty
    columns: dict[str, NDArray[Any] | pa.Array] = {}
    bad_cells: list[_BadCells] = []
    for number, name in enumerate(layout.names):
        if number not in layout.time_columns:
            columns[name] = _array(table[name])
            if layout.numeric[number]:
                columns[name], bad = _numbers(columns[name], layout, name, numbers[good])
                bad_cells += bad
    return _Cells(_time_cells(table, layout), columns, numbers[good], bad_lines, bad_cells, numbers[repeated].tolist())


def _repeats_header(lines: pa.Array, layout: Layout) -> NDArray[np.bool_]:
    """True for lines that repeat the header."""
    header = _plain_header(layout).decode()
    found: NDArray[np.bool_] = pc.equal(pc.utf8_trim_whitespace(lines), header).to_numpy(zero_copy_only=False)
    return found


def _plain_header(layout: Layout) -> bytes:
    """The header as it stands in a block."""
    return _with_tabs(layout.header.encode(), layout).strip()


def _numbers_or_texts(
    texts: pa.Array, layout: Layout, name: str, lines: NDArray[np.int64]
) -> tuple[NDArray[Any], list[_BadCells]]:
    """A column as numbers, if most of its cells are some, else as objects with None for missing texts."""
    values, bad = _numbers(texts, layout, name, lines)
    if 2 * sum(cells.count for cells in bad) > len(texts) - texts.null_count:
        return np.asarray(texts.to_numpy(zero_copy_only=False), object), []
    return values, bad


def _numbers(
    texts: pa.Array, layout: Layout, name: str, lines: NDArray[np.int64]
) -> tuple[NDArray[np.float64], list[_BadCells]]:
    """A column as numbers, NaN where there is none, and which cells are none."""
    plain = pc.utf8_trim_whitespace(texts)
    if layout.decimal_comma:
        plain = pc.replace_substring(plain, ",", ".")
    is_number = pc.match_substring_regex(plain, _NUMBER).fill_null(False)
    values = pc.cast(pc.if_else(is_number, plain, None), pa.float64()).to_numpy(zero_copy_only=False)
    wrong = pc.and_(pc.is_valid(texts), pc.invert(is_number)).to_numpy(zero_copy_only=False)
    if not wrong.any():
        return values, []
    first = int(np.flatnonzero(wrong)[0])
    return values, [_BadCells(name, int(wrong.sum()), int(lines[first]), texts[first].as_py())]


def _header_remarks(cells: _Cells) -> Iterator[str]:
    if cells.repeated_headers:
        yield f"the header stands again in {_line_numbers(cells.repeated_headers)}"


def _bad_cell_remarks(cells: _Cells) -> Iterator[str]:
    for name in dict.fromkeys(bad.column for bad in cells.bad_cells):
        bad = [part for part in cells.bad_cells if part.column == name]
        yield (
            f"column {name.strip()!r}: {_count(sum(part.count for part in bad), 'cell is', 'cells are')} no number and "
            f"counted as missing, the first in line {bad[0].line}: {_shown(bad[0].text)}"
        )


def _times(texts: pa.Array, layout: Layout, settings: TableSettings) -> ReadTimes:
    """Times of the entries since 1970 UTC, in the order of their lines."""
    if layout.kind is not TimeKind.SECONDS:
        return read_dates(texts, settings.zone)
    read = read_seconds(texts)
    if settings.epoch is Epoch.UNIX:
        return read
    local: Localised = from_wall(read.times[read.valid] - MAC_SECONDS * NS, settings.zone)
    times = read.times.copy()
    times[read.valid] = local.times
    return ReadTimes(times, read.valid, local.ambiguous, local.absent)


def _strays(read: ReadTimes) -> NDArray[np.bool_]:
    """True for times that are years away from the others: a clock that was not set, or a damaged digit."""
    if not read.valid.any():
        return np.zeros(len(read.times), bool)
    middle = np.partition(read.times[read.valid], int(read.valid.sum()) // 2)[int(read.valid.sum()) // 2]
    found: NDArray[np.bool_] = read.valid & (np.abs(read.times - middle) > _LONGEST_TIME)
    return found


def _bad_times(cells: _Cells, read: ReadTimes, layout: Layout, good: NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
    wanted = "a time in seconds" if layout.kind is TimeKind.SECONDS else "a date and time"
    for i in np.flatnonzero(~good).tolist():
        found = _shown(cells.times[i].as_py() or "")
        if read.valid[i]:
            yield int(cells.lines[i]), f"column {layout.time + 1}: wanted a time near the others, found {found}"
        else:
            yield int(cells.lines[i]), f"column {layout.time + 1}: wanted {wanted}, found {found}"


def _left_out(bad: Sequence[tuple[int, str]]) -> str:
    named = "; ".join(f"line {number}, {text}" for number, text in bad[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return f"{_count(len(bad), 'line is', 'lines are')} left out: {named}{more}"


def _line_numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:_SHOWN]))}{more}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _clock_remarks(read: ReadTimes, good: NDArray[np.bool_], settings: TableSettings) -> Iterator[str]:
    zone = settings.zone.key
    if read.ambiguous:
        yield (
            f"{_count(read.ambiguous, 'time lies', 'times lie')} in the hour that clocks in {zone} show twice at the "
            "end of daylight saving: the second time is from where the clock goes back"
        )
    if read.absent:
        yield (
            f"{_count(read.absent, 'time lies', 'times lie')} in the hour that clocks in {zone} skip: taken as those "
            "of a clock that was not changed to daylight saving yet"
        )
    if good.any():
        first = int(read.times[good].min())
        if plain_time(first) < "1990":
            yield f"by its TimeEpoch {settings.epoch} the log begins at {plain_time(first)}: is it another epoch?"


def _steps_back(times: Times, lines: NDArray[np.int64]) -> Iterator[str]:
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        worst = back[int(np.argmin(np.diff(times)[back]))]
        yield (
            f"the times go back {_count(len(back), 'time', 'times')}, most at line {lines[worst + 1]}: by "
            f"{(times[worst] - times[worst + 1]) / NS:.3f} s; the entries are sorted by time"
        )


def _joined(parts: Sequence[_Entries]) -> tuple[Times, pd.DataFrame, list[str]]:
    """Entries of all files, sorted by time, each time once."""
    times = np.concatenate([part.times for part in parts]) if len(parts) > 1 else parts[0].times
    frames = [_frame(part) for part in parts]
    columns = pd.concat(frames, ignore_index=True) if len(parts) > 1 else frames[0]
    remarks = [
        f"column {name.strip()!r} is missing in some of the files"
        for name in columns.columns
        if any(name not in part.columns for part in parts)
    ]
    if (np.diff(times) < 0).any():
        order = np.argsort(times, kind="stable")
        times, columns = times[order], columns.take(order).reset_index(drop=True)
    same = np.flatnonzero(np.diff(times) == 0)
    if len(same):
        times, columns = _each_time_once(times, columns)
        remarks.append(
            f"{_count(len(same), 'entry has', 'entries have')} the time of the one before: of each column the last "
            "value is kept"
        )
    for name in columns.columns[[dtype.kind == "O" for dtype in columns.dtypes]]:
        values = columns[name].to_numpy(object)
        columns[name] = pd.Series(np.where(pd.isna(values), None, values), dtype=object)
    return times, columns, remarks


def _frame(part: _Entries) -> pd.DataFrame:
    # As series: pandas makes its own kind of texts of arrays of objects.
    columns = {name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in part.columns.items()}
    return pd.DataFrame(columns, index=range(len(part.times)), copy=False)


def _each_time_once(times: Times, columns: pd.DataFrame) -> tuple[Times, pd.DataFrame]:
    last = np.append(np.diff(times) > 0, True)
    group = np.cumsum(np.append(False, last[:-1]))
    several = np.isin(group, group[~last])
    kept = columns[last].reset_index(drop=True)
    combined = columns[several].groupby(group[several], sort=True).last()
    rows = np.unique(group[several])
    for name in columns.columns:
        values = kept[name].to_numpy(copy=True)
        values[rows] = combined[name].to_numpy()
        kept[name] = values
    return times[last], kept


def _gaps(times: Times) -> Iterator[str]:
    steps = np.diff(times)
    if not len(steps):
        return
    limit = max(_GAP_INTERVALS * float(np.median(steps)), _SMALLEST_GAP)
    gaps = np.flatnonzero(steps > limit)
    if len(gaps):
        longest = gaps[int(np.argmax(steps[gaps]))]
        yield (
            f"{_count(len(gaps), 'gap', 'gaps')} of more than {limit / NS:g} s, the longest {steps[longest] / NS:.0f} "
            f"s from {plain_time(int(times[longest]))} UTC on"
        )
