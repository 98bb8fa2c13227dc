"""Join of images and logs: one row for each image, with the value of every logged column at it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.merge._tables import NS, Images, LogTable, Times
from saxs_bluesky.merge._values import ImageValues, Lack, image_values

TIME_AVERAGED = "time_ave"  # seconds over which the means of a row are taken

_Rows: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TableReport:
    """Which images have no value of a logger, and why.

    Parameters
    ----------
    name
        Of the table.
    entries
        How many entries it has.
    lacking
        Rows of the merged table without value, by the reason; reasons that do not occur are left out.
    empty_cells
        How many rows have no value, by the name of the merged column.
    """

    name: str
    entries: int
    lacking: Mapping[Lack, _Rows]
    empty_cells: Mapping[str, int]

    @property
    def without(self) -> _Rows:
        """Rows without value, for whatever reason; ascending."""
        return np.sort(np.concatenate([*self.lacking.values(), np.empty(0, dtype=np.intp)]))


@dataclass(frozen=True, eq=False)
class Merged:
    """Images and what the loggers say at them.

    Parameters
    ----------
    table
        A row for each image at its mid-exposure (index: naive wall time of the images' zone, ns); the columns of the
        images, then those of each logger as ``Ioni (Dlogger)``, then ``time_ave``: the exposure in seconds where a
        mean over it is taken. Numbers are ``float64``.
    reports
        One for each logger, in their order.
    unlogged
        Rows of images that the detector's log does not have.
    order
        For each row the position of its image in `Images`, which are sorted by their ends.
    """

    table: pd.DataFrame
    reports: Sequence[TableReport]
    unlogged: _Rows
    order: _Rows


def join(images: Images, tables: Sequence[LogTable], zone: str = "") -> Merged:
    """Join the values of loggers to images.

    Entries of a logger that no image needs are left out; images keep their rows whatever is missing.

    Parameters
    ----------
    images
        The images; rows are sorted by mid-exposure, equal ones by their ends.
    tables
        Of the loggers, in the order of their columns. A column whose name is taken has ``.1`` added.
    zone
        IANA name of the zone whose wall time the rows have; "" is UTC.
    """
    order = np.argsort(images.middle, kind="stable")
    start, end = images.start[order], images.end[order]
    columns: dict[str, pd.Series[Any]] = {}
    for label, column in images.columns.items():
        columns[_free(str(label), columns)] = _image_column(column.iloc[order])
    reports = []
    averaged = np.zeros(len(order), dtype=bool)
    for table in tables:
        found = image_values(table, start, end)
        names = _free_names([column_name(table, label) for label in found.columns], columns)
        columns |= {name: column for name, (_, column) in zip(names, found.columns.items(), strict=True)}
        reports.append(_report(table, found, names))
        averaged |= found.averaged
    columns[_free(TIME_AVERAGED, columns)] = pd.Series(np.where(averaged, images.exposure[order] / NS, np.nan))
    merged = pd.DataFrame(columns, index=pd.RangeIndex(len(order)))
    merged.index = wall_times(images.middle[order], zone)
    return Merged(merged, tuple(reports), np.flatnonzero(~images.logged[order]), order)


def column_name(table: LogTable, column: Hashable) -> str:
    """Name of a logger's column in the merged table."""
    return f"{column} ({table.name})"


def wall_times(times: Times, zone: str = "") -> pd.DatetimeIndex:
    """Naive wall time of a zone (IANA name, "" is UTC) at times in ns, as an index."""
    index = pd.DatetimeIndex(times.astype("datetime64[ns]"))
    return index.tz_localize("UTC").tz_convert(zone).tz_localize(None) if zone else index


def _free(name: str, taken: Iterable[str]) -> str:
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free


def _free_names(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    free: list[str] = []
    for name in names:
        free.append(_free(name, [*taken, *free]))
    return free


def _image_column(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers of images as ``float64``, as those of loggers are."""
    plain = column.reset_index(drop=True)
    return plain.astype(np.float64) if pd.api.types.is_integer_dtype(plain.dtype) else plain


def _report(table: LogTable, found: ImageValues, names: Sequence[str]) -> TableReport:
    lacking = {lack: np.flatnonzero(found.lacks == lack) for lack in Lack if lack is not Lack.NONE}
    return TableReport(
        table.name,
        len(table.times),
        {lack: positions for lack, positions in lacking.items() if len(positions)},
        dict(zip(names, map(int, found.columns.isna().sum()), strict=True)),
    )
