"""Files that hold one table: csv, JSON, Excel, Parquet, NetCDF."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from saxs_bluesky.errors import MergeError, printable
from saxs_bluesky.merge._cell_texts import (
    Texts,
    cell_texts,
    content,
    float_texts,
    joined,
    plain_texts,
    with_plain_texts,
)
from saxs_bluesky.merge._tables import NS, Times
from saxs_bluesky.support.output_folders import path_of_open

_CHUNK = 20_000  # rows whose texts are in memory at a time
_MAC_SECONDS = 2_082_844_800  # from 1904-01-01 to 1970-01-01
_EXCEL_ROWS, _EXCEL_COLUMNS = 1_048_576, 16_384  # ECMA-376, and Microsoft's limits of Excel
_EXCEL_TEXT = 32_767  # characters in a cell
_NOT_IN_XML = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x{fffe}\\x{ffff}]"
_NETCDF_TIMES = {"units": "nanoseconds since 1970-01-01", "dtype": "int64", "calendar": "proleptic_gregorian"}
_EXCEL_DAY_0 = 25_569  # Excel's number of 1970-01-01


# csv


def csv_rows(table: pd.DataFrame) -> Iterator[Texts]:
    """Rows of a csv file behind the index, each with its first comma and the end of its line, some at a time."""
    for start in range(0, len(table), _CHUNK):
        rows = table.iloc[start : start + _CHUNK]
        columns = [_csv_cells(column) for _, column in rows.items()]
        cells = [pa.repeat("", len(rows)), *columns]
        cells[-1] = joined([cells[-1], "\n"])
        yield joined(cells, ",")


def write_csv(file: BinaryIO, columns: Iterable[Hashable], index: Texts, rows: Iterable[Texts], name: str = "") -> None:
    """Write a csv file of an index and its rows.

    Parameters
    ----------
    file
        Where to.
    columns
        Names of the columns.
    index
        First cells of the rows.
    rows
        As `csv_rows` makes them.
    name
        Of the index.
    """
    header = _csv_quoted(pa.array([name, *plain_texts(pd.Series(list(columns), dtype=object))], pa.string()))
    file.write((",".join(header.to_pylist()) + "\n").encode())
    start = 0
    for some in rows:
        file.write(content(joined([index.slice(start, len(some)), some])))
        start += len(some)


def mac_seconds(index: pd.DatetimeIndex) -> Texts:
    """Seconds since 1904 of naive times: the clock of Igor."""
    return float_texts((index.as_unit("ns").asi8 + _MAC_SECONDS * NS) / NS)


def _csv_cells(column: pd.Series[Any]) -> Texts:
    texts = cell_texts(column)
    return texts if pd.api.types.is_numeric_dtype(column.dtype) else _csv_quoted(texts)


def _csv_quoted(texts: Texts) -> Texts:
    special = pc.match_substring_regex(texts, '[",\r\n]')
    if not pc.any(special).as_py():
        return texts
    return pc.if_else(special, pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', ""), texts)


# JSON


def write_json(file: BinaryIO, table: pd.DataFrame) -> None:
    """Write a table as JSON by columns: ``{"Ioni (Dlogger)": {"1405936805728": 1005.2, ...}, ...}``.

    The keys of the rows are the whole milliseconds of their naive times. A row whose millisecond an earlier one has
    gets the next one that is free, or readers would lose all but the last of them.
    """
    keys = joined(['"', _millisecond_keys(table.index.as_unit("ns").asi8), '":'])
    file.write(b"{")
    for number, (name, column) in enumerate(table.items()):
        cells = joined([keys, _json_values(column), ","], missing="null")
        file.write(f"{',' if number else ''}{json.dumps(str(name))}:{{".encode())
        file.write(content(cells)[:-1])
        file.write(b"}")
    file.write(b"}")


def _millisecond_keys(times: Times) -> Texts:
    milliseconds = times // 1_000_000
    order = np.argsort(milliseconds, kind="stable")
    one_by_one = np.arange(len(times))
    keys = np.empty_like(milliseconds)
    keys[order] = np.maximum.accumulate(milliseconds[order] - one_by_one) + one_by_one
    return pc.cast(pa.array(keys), pa.string())


def _json_values(column: pd.Series[Any]) -> Texts:
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64)
        return float_texts(np.where(np.isfinite(values), values, np.nan))
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_integer_dtype(column.dtype):
        return pa.array(map(json.dumps, column.tolist()), pa.string())
    if column.dtype.kind == "M":
        dates = column.to_numpy(dtype="datetime64[ns]")
        milliseconds = dates.view(np.int64) // 1_000_000
        return pc.cast(pa.array(milliseconds, mask=np.isnat(dates)), pa.string())
    return pa.array([None if text is None else json.dumps(text) for text in plain_texts(column)], pa.string())


# Excel


def write_excel(file: BinaryIO, table: pd.DataFrame) -> None:
    """Write a table as the one sheet of an Excel workbook (``.xlsx``).

    Openpyxl makes the workbook and names its styles; the cells go in as texts of whole columns, since one object for
    each of millions of cells takes minutes. Texts are never formulas.

    Raises
    ------
    MergeError
        A sheet has no room for so many rows or columns.
    """
    rows, columns = table.shape
    if rows + 1 > _EXCEL_ROWS or columns + 1 > _EXCEL_COLUMNS:
        raise MergeError(
            f"wanted at most {_EXCEL_ROWS - 1} rows and {_EXCEL_COLUMNS - 1} columns, which is what a sheet of Excel "
            f"holds, found {rows} and {columns}: use csv, hdf or parquet"
        )
    template, time_style = _workbook()
    with (
        zipfile.ZipFile(template) as parts,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as workbook,
    ):
        for part in parts.namelist():
            if part != "xl/worksheets/sheet1.xml":
                workbook.writestr(part, parts.read(part))
        with workbook.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for piece in _sheet(table, time_style):
                sheet.write(piece)


def _workbook() -> tuple[io.BytesIO, int]:
    """A workbook with one sheet, and the number of its style for times."""
    import openpyxl

    workbook = openpyxl.Workbook()
    cell = workbook.active.cell(1, 1)
    cell.number_format = "yyyy-mm-dd hh:mm:ss.000"
    saved = io.BytesIO()
    workbook.save(saved)
    saved.seek(0)
    return saved, cell.style_id


def _sheet(table: pd.DataFrame, time_style: int) -> Iterator[Any]:
    yield (
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        b'<cols><col min="1" max="1" width="24" customWidth="1"/></cols><sheetData>'
    )
    header = _excel_texts(pa.array(plain_texts(pd.Series(list(table.columns), dtype=object)), pa.string()))
    yield f"<row><c/>{''.join(header.to_pylist())}</row>".encode()
    for start in range(0, len(table), _CHUNK):
        rows = table.iloc[start : start + _CHUNK]
        cells = [_excel_times(rows.index.to_series(), time_style)]
        cells += [
            _excel_times(column, time_style) if column.dtype.kind == "M" else _excel_cells(column)
            for _, column in rows.items()
        ]
        yield content(joined(["<row>", *cells, "</row>"]))
    yield b"</sheetData></worksheet>"


def _excel_times(column: pd.Series[Any], style: int) -> Texts:
    times = column.to_numpy(dtype="datetime64[ns]")
    days = np.where(np.isnat(times), np.nan, times.view(np.int64) / (86_400 * NS) + _EXCEL_DAY_0)
    cells = pc.binary_join_element_wise(f'<c s="{style}"><v>', float_texts(days), "</v></c>", "")
    return pc.fill_null(cells, "<c/>")


def _excel_cells(column: pd.Series[Any]) -> Texts:
    texts = cell_texts(column)
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return _excel_texts(texts)
    numbers = pc.binary_join_element_wise("<c><v>", texts, "</v></c>", "")
    if pd.api.types.is_float_dtype(column.dtype):
        infinite = pa.array(np.isinf(column.to_numpy(dtype=np.float64)))
        numbers = pc.if_else(infinite, _excel_texts(texts), numbers)
    return pc.fill_null(numbers, "<c/>")


def _excel_texts(texts: Texts) -> Texts:
    unfit = pc.fill_null(pc.match_substring_regex(texts, _NOT_IN_XML), False)
    if pc.any(unfit).as_py():
        escaped = pa.array(map(printable, texts.filter(unfit).to_pylist()), pa.string())
        texts = pc.replace_with_mask(texts, unfit, escaped)
    texts = pc.utf8_slice_codeunits(texts, 0, _EXCEL_TEXT)
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        texts = pc.replace_substring(texts, character, name)
    cells = pc.binary_join_element_wise('<c t="inlineStr"><is><t xml:space="preserve">', texts, "</t></is></c>", "")
    return pc.fill_null(cells, "<c/>")


# Parquet and NetCDF


def write_parquet(file: BinaryIO, table: pd.DataFrame, units: Mapping[str, str]) -> None:
    """Write a table as Parquet; its index is the column ``time``, and units are metadata of their columns."""
    arrow = pa.Table.from_pandas(with_plain_texts(table).rename_axis("time"))
    fields = [
        field.with_metadata({"units": units[field.name]}) if field.name in units else field for field in arrow.schema
    ]
    pyarrow.parquet.write_table(arrow.cast(pa.schema(fields, arrow.schema.metadata)), file)


def write_netcdf(file: BinaryIO, table: pd.DataFrame, units: Mapping[str, str]) -> None:
    """Write a table as NetCDF 4: a variable over ``time`` for each column, with its unit.

    A slash, which such names must not have, becomes an underscore; the attribute ``long_name`` has the whole name.
    """
    import xarray as xr

    plain = with_plain_texts(table)
    variables: dict[str, xr.Variable] = {}
    for name, column in plain.items():
        values = column.fillna("").to_numpy(dtype=object) if column.dtype.kind == "O" else column.to_numpy()
        attributes = {"long_name": printable(str(name))} | ({"units": units[name]} if name in units else {})
        variables[_netcdf_name(str(name), variables)] = xr.Variable(
            "time", values, attributes, _NETCDF_TIMES if column.dtype.kind == "M" else {}
        )
    times = xr.Variable("time", plain.index.to_numpy(), encoding=_NETCDF_TIMES)
    dataset = xr.Dataset(variables, coords={"time": times})
    dataset.to_netcdf(path_of_open(file), engine="h5netcdf")


def _netcdf_name(name: str, taken: Iterable[str]) -> str:
    plain = printable(name).replace("/", "_").strip() or "_"
    number, free = 0, plain
    while free in taken or free == "time":
        number += 1
        free = f"{plain}.{number}"
    return free


_UNIT = re.compile(r"\[([^\[\]]+)\]")


def unit_in(name: str) -> str | None:
    """Unit in the name of a column: of ``Exposure_time [s] (Img)`` it is s."""
    found = _UNIT.search(name)
    return found[1] if found else None
