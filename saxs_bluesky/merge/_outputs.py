"""All files of a merge: each whole or not at all, and one that fails costs no other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeAlias

import pandas as pd

from saxs_bluesky.errors import OutputError, reason_of, system_errors_as, system_reason
from saxs_bluesky.merge._cell_texts import time_texts
from saxs_bluesky.merge._curve_files import by_kind, file_id
from saxs_bluesky.merge._hdf_file import HdfContents, write_hdf
from saxs_bluesky.merge._join import TIME_AVERAGED, Merged, column_name, wall_times
from saxs_bluesky.merge._table_files import (
    csv_rows,
    mac_seconds,
    unit_in,
    write_csv,
    write_excel,
    write_json,
    write_netcdf,
    write_parquet,
)
from saxs_bluesky.merge._tables import NS, Images, LogTable
from saxs_bluesky.merge._timeline import timeline
from saxs_bluesky.support.output_folders import LinkRule, OutputFolder, open_folder

_MOST_TIMELINE_CELLS = 10_000_000  # about 100 MB; 10 days of 40 columns once a second have 35 million

_LONGEST_NAME = 200  # bytes, so that endings have room

_Writer: TypeAlias = Callable[[BinaryIO], Sequence[str] | None]  # returns what it leaves out


@dataclass(frozen=True)
class OutputSettings:
    """Which files are written, and what stands in them.

    Parameters
    ----------
    folder
        Where to; it is made if it is missing, with the folders above it.
    base
        Of the names of files: ``run`` of ``run.csv``.
    formats
        Of the merged table: ``csv``, ``json``, ``exel``, ``hdf``, ``parquet``, ``netcdf``.
    zone
        Whose wall time stands in the files, as in the merged table.
    rule
        Which symbolic links are followed on the way to the folder.
    base_directory
        Paths in the lists of files begin below it; None: they are whole.
    include_curves
        Whether the HDF5 file holds the curves.
    include_frames
        Whether the HDF5 file holds the images.
    own_offsets
        Seconds by table: what is subtracted from the times in the table's own csv file, which is not shifted by what
        all tables are shifted by.
    most_timeline_cells
        Most cells of the file of all rows; where it would have more, it is not written.
    """

    folder: Path
    base: str
    formats: Collection[str] = ("csv",)
    zone: str = ""
    rule: LinkRule = field(default_factory=LinkRule)
    base_directory: Path | None = None
    include_curves: bool = False
    include_frames: bool = False
    own_offsets: Mapping[str, float] = field(default_factory=dict)
    most_timeline_cells: int = _MOST_TIMELINE_CELLS


@dataclass(frozen=True)
class Outputs:
    """What was written.

    Parameters
    ----------
    files
        Paths of whole files, in the order of writing.
    failures
        Why a file was not written, by its path.
    remarks
        What is left out of files, or has another name than wanted; each one sentence.
    """

    files: Sequence[Path]
    failures: Mapping[Path, str]
    remarks: Sequence[str]


def write_outputs(
    merged: Merged,
    images: Images,
    tables: Sequence[LogTable],
    settings: OutputSettings,
    *,
    curves: Sequence[Path] = (),
    frames: Sequence[Path] = (),
    log: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Outputs:
    """Write all files of a merge.

    These are, with ``run`` as the base of their names: the merged table in the formats that are asked for (``run.csv``,
    ``run.json``, ``run.xlsx``, ``run.hdf``, ``run.parquet``, ``run.nc``); ``run_igor.csv``; ``Imagedata.csv`` of the
    images at the ends of their exposures; ``<table>.csv`` of each logger by its own clock; ``<last table>_mergedt.csv``
    of all rows of images and loggers, where it is not too large; ``run<kind>.txt`` with the
    paths of the curves of each kind; ``runconsolidate_log.log``. A file takes the place of an earlier one only when it
    is whole.

    Parameters
    ----------
    merged
        The merged table.
    images
        What it was made from.
    tables
        What it was made from.
    settings
        Which files, and where.
    curves
        Files of curves, ``.chi`` and ``.json``, for the lists and the HDF5 file.
    frames
        Files of images for the HDF5 file.
    log
        Lines that the log begins with.
    say
        Is told each line that is added to the log.
    check
        Called between files, curves and images; what it raises ends the writing.

    Returns
    -------
    What was written and what was not.

    Raises
    ------
    OutputError
        The folder cannot be made or written to.
    """
    with system_errors_as(OutputError, lambda reason: f"{settings.folder}: cannot be written to: {reason}"):
        folder = open_folder(settings.folder, settings.rule)
    writing = _Writing(folder, settings.folder, list(log), say, check)
    contents = HdfContents(
        ids=_image_ids(images),
        curves=curves if settings.include_curves else (),
        frames=frames if settings.include_frames else (),
    )
    for name, writer in chain(
        _merged_files(merged, images, tables, settings, contents, check),
        _table_files(tables, settings),
        _timeline_file(merged, images, tables, settings, writing.remark),
        _list_files(curves, settings),
    ):
        writing.write(name, writer)
    writing.write(f"{_plain(settings.base)}consolidate_log.log", writing.write_log)
    return Outputs(writing.files, writing.failures, writing.remarks)


def _merged_files(
    merged: Merged,
    images: Images,
    tables: Sequence[LogTable],
    settings: OutputSettings,
    contents: HdfContents,
    check: Callable[[], None],
) -> Iterator[tuple[str, _Writer]]:
    """Names and writers of the files of the merged table."""
    base, table, units = _plain(settings.base), merged.table, _units(merged, tables)
    rows = cache(lambda: list(csv_rows(table)))  # of two files
    yield "Imagedata.csv", partial(_write_rows, images.columns, wall_times(images.end, settings.zone))
    writers: dict[str, tuple[str, _Writer]] = {
        "csv": (".csv", lambda file: write_csv(file, table.columns, time_texts(table.index), rows())),
        "hdf": (".hdf", lambda file: write_hdf(file, table, contents, check)),
        "exel": (".xlsx", lambda file: write_excel(file, table)),
        "json": (".json", lambda file: write_json(file, table)),
        "parquet": (".parquet", lambda file: write_parquet(file, table, units)),
        "netcdf": (".nc", lambda file: write_netcdf(file, table, units)),
    }
    for wanted, (ending, writer) in writers.items():
        if wanted in settings.formats:
            yield f"{base}{ending}", writer
    yield f"{base}_igor.csv", lambda file: write_csv(file, table.columns, mac_seconds(table.index), rows())


def _table_files(tables: Sequence[LogTable], settings: OutputSettings) -> Iterator[tuple[str, _Writer]]:
    """Names and writers of the files of the loggers."""
    for table in tables:
        own = settings.own_offsets.get(table.name, 0.0)
        index = wall_times(table.times - round(own * NS), settings.zone).rename("Time")
        yield f"{_plain(table.name)}.csv", partial(_write_rows, _renamed(table), index)


def _timeline_file(
    merged: Merged,
    images: Images,
    tables: Sequence[LogTable],
    settings: OutputSettings,
    remark: Callable[[str], None],
) -> Iterator[tuple[str, _Writer]]:
    """Name and writer of the file of all rows; none where it would be too large."""
    if not tables:
        return
    name = f"{_plain(tables[-1].name)}_mergedt.csv"
    cells = (len(images.end) + sum(len(table.times) for table in tables)) * merged.table.shape[1]
    if cells > settings.most_timeline_cells:
        remark(
            f"{name} is not written: it would have {cells} cells, more than {settings.most_timeline_cells}; "
            "all entries are in the files of the tables"
        )
        return

    def write(file: BinaryIO) -> None:
        rows = timeline(merged, images, tables, settings.zone)
        _write_rows(rows, rows.index, file)

    yield name, write


def _list_files(curves: Sequence[Path], settings: OutputSettings) -> Iterator[tuple[str, _Writer]]:
    """Names and writers of the lists of curves."""
    for kind, paths in by_kind(curves).items():
        lines = "".join(f"{_below(path, settings.base_directory)}\n" for path in paths)
        yield f"{_plain(settings.base)}{kind}.txt", partial(_write_text, lines)


def _below(path: Path, base: Path | None) -> str:
    """Path below the base directory, with a leading slash as deployed programs have it."""
    if base is None or not path.is_relative_to(base):
        return str(path)
    return f"/{path.relative_to(base)}"


def _write_rows(table: pd.DataFrame, index: pd.DatetimeIndex, file: BinaryIO) -> None:
    write_csv(file, table.columns, time_texts(index), csv_rows(table), index.name or "")


def _write_text(text: str, file: BinaryIO) -> None:
    # What is no UTF-8 in the name of a file is written back as it was.
    file.write(text.encode(errors="surrogateescape"))


def _renamed(table: LogTable) -> pd.DataFrame:
    return table.columns.set_axis([column_name(table, column) for column in table.columns], axis="columns")


def _units(merged: Merged, tables: Sequence[LogTable]) -> dict[str, str]:
    """Units of the columns of the merged table, as far as they are known."""
    units = {name: unit for name in merged.table.columns if (unit := unit_in(name))}
    units |= {TIME_AVERAGED: "s", "Time Measured (ImgLog)": "s"}
    for table, report in zip(tables, merged.reports, strict=True):
        for column, name in zip(table.columns.columns, report.empty_cells, strict=True):
            if column in table.units:
                units[name] = table.units[column]
    return units


def _image_ids(images: Images) -> dict[Path, str]:
    """Ids of the images, as they stand in their rows, by their paths."""
    if "filepath (Img)" not in images.columns:
        return {}
    paths = [Path(path) for path in images.columns["filepath (Img)"]]
    if "id (Img)" not in images.columns:
        return {path: file_id(path) for path in paths}
    return dict(zip(paths, images.columns["id (Img)"], strict=True))


def _plain(name: str) -> str:
    """Beginning of the name of a file that is nowhere but in its folder."""
    plain = re.sub(r"^\.|[/\\\x00-\x1f\x7f]", "_", name) or "merged"
    return os.fsdecode(os.fsencode(plain)[:_LONGEST_NAME])


class _Writing:
    """Writes files into a folder, and keeps account of them."""

    def __init__(
        self,
        folder: OutputFolder,
        path: Path,
        log: list[str],
        say: Callable[[str], None],
        check: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._path = path
        self._log = log
        self._say = say
        self._check = check
        self._taken: set[str] = set()
        self.files: list[Path] = []
        self.failures: dict[Path, str] = {}
        self.remarks: list[str] = []

    def write(self, wanted: str, writer: _Writer) -> None:
        """Write a file under a name that no other of this merge has."""
        self._check()
        name = self._free(wanted)
        path = self._path / name
        try:
            with self._folder.replacing(name) as file:
                remarks = writer(file) or ()
        except Exception as error:  # noqa: BLE001 - whatever a format does not like costs its file, and no other
            self._check()  # what it raised in the middle of a file is no failure of the file
            self.failures[path] = system_reason(error) if isinstance(error, OSError) else reason_of(error)
            self._tell(f"ERROR: {path} is not written: {self.failures[path]}")
            return
        self.files.append(path)
        self._tell(f"Write: {path}")
        for remark in remarks:
            self.remark(remark)

    def write_log(self, file: BinaryIO) -> None:
        """Write what was said so far."""
        _write_text("".join(f"{line}\n" for line in self._log), file)

    def remark(self, text: str) -> None:
        """Note what is left out of a file."""
        self.remarks.append(text)
        self._tell(text)

    def _tell(self, line: str) -> None:
        self._log.append(line)
        self._say(line)

    def _free(self, wanted: str) -> str:
        stem, dot, ending = wanted.rpartition(".")
        name, number = wanted, 1
        # Also where capitals make no difference.
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}_{number}{dot}{ending}"
        self._taken.add(name.casefold())
        if name != wanted:
            self.remark(f"{wanted} is called {name}: another file of this merge has its name")
        return name
