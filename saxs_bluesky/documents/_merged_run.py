"""A merged table as the documents of a merged run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from saxs_bluesky.documents._clean_names import clean_names
from saxs_bluesky.documents._merged_run_composer import (
    Listed,
    MergeCounts,
    MergedColumn,
    MergedLogger,
    MergedRunComposer,
)
from saxs_bluesky.documents._types import Document, NamedDocument
from saxs_bluesky.merge import Images, Lack, LogTable, Merged, MergeResult

_NS = 1_000_000_000
_UNITS = re.compile(r"\[([^\[\]]+)\]")  # Exposure_time [s] (Img)
_IMAGES = "images"
_FILE_NAME = "File Name (Img)"
_MOST_NAMED = 100  # images of one logger


def merged_run(
    merged: Merged,
    images: Images,
    tables: Sequence[LogTable],
    *,
    raw_start: Document | None = None,
    reduced: Sequence[str] = (),
    configuration: Document | None = None,
    sources: Sequence[Document] = (),
    logs_without_image: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> Iterator[NamedDocument]:
    """Compose the documents of a merged run of a table that `join` has made.

    Parameters
    ----------
    merged
        The table.
    images, tables
        What it was made of.
    raw_start
        Start document of the raw run of the images; None where there is none.
    reduced
        ``uid`` of reduced runs whose values are among the images' columns.
    configuration
        What the merge was told.
    sources
        Of each table where its entries come from, such as ``{"files": ["dlogger.txt"]}``; empty: nothing is told.
    logs_without_image
        Lines of the detector's log without image.
    remarks
        What was found, beside the remarks of images and tables.
    """
    columns = _columns(merged, tables)
    told = [dict(one) for one in sources] or [{} for _ in tables]
    run = MergedRunComposer(
        raw_start,
        columns,
        [_logger(table, source) for table, source in zip(tables, told, strict=True)],
        reduced=reduced,
        configuration=configuration,
    )
    yield run.start
    yield run.describe()
    values = {
        column.key: _values(merged.table.iloc[:, position], column.dtype) for position, column in enumerate(columns)
    }
    yield from run.events(images.middle[merged.order] / _NS, values)
    found = [*remarks, *images.remarks, *(remark for table in tables for remark in table.remarks)]
    yield run.stop(
        MergeCounts(
            images_without_log=_without_log(merged),
            logs_without_image=Listed(len(logs_without_image), logs_without_image),
            beyond_tolerance=_beyond_tolerance(merged),
            remarks=found,
        )
    )


def merged_run_of_files(result: MergeResult) -> Iterator[NamedDocument]:
    """Compose the documents of the merged run of images and logs in files.

    Parameters
    ----------
    result
        Of the merge; one without its table becomes no run.
    """
    if result.joined is None:
        return
    joined, settings = result.joined, result.job.settings
    files = {table.name: [file.name for file in table.files] for table in settings.tables}
    yield from merged_run(
        joined.merged,
        joined.images,
        joined.tables,
        configuration=result.job.document,
        sources=[{"files": files[table.name]} for table in joined.tables],
        logs_without_image=joined.images.missing,
    )


def _columns(merged: Merged, tables: Sequence[LogTable]) -> list[MergedColumn]:
    """A column for each of the merged table, in its order."""
    owners = {name: table for table, report in zip(tables, merged.reports, strict=True) for name in report.empty_cells}
    objects = dict(zip((id(table) for table in tables), clean_names(table.name for table in tables), strict=True))
    names = [str(name) for name in merged.table.columns]
    columns = []
    for name, key, (_, values) in zip(names, clean_names(names), merged.table.items(), strict=True):
        owner = owners.get(name)
        number = pd.api.types.is_numeric_dtype(values.dtype)
        told = "" if owner is None else owner.units.get(name.removesuffix(f" ({owner.name})"), "")
        columns.append(
            MergedColumn(
                key=key,
                dtype="number" if number else "string",
                object_name=_IMAGES if owner is None else objects[id(owner)],
                source="images" if owner is None else f"logger {owner.name}",
                name=name,
                units=told or _units(name),
                is_hinted=number and owner is not None,
            )
        )
    return columns


def _units(name: str) -> str:
    found = _UNITS.search(name)
    return found[1] if found else ""


def _logger(table: LogTable, source: Document) -> MergedLogger:
    return MergedLogger(
        name=table.name,
        source=source,
        method=str(table.method),
        offset=table.offset,
        tolerance=table.tolerance,
        steps=table.steps,
        entries=len(table.times),
    )


def _values(column: pd.Series[Any], dtype: str) -> list[Any]:
    if dtype != "string":
        return column.to_numpy(dtype=np.float64, na_value=np.nan).tolist()  # type: ignore[no-any-return]
    return ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]


def _names(merged: Merged, rows: Any) -> list[str]:
    """The images of some rows, the first ones."""
    some = rows[:_MOST_NAMED]
    if _FILE_NAME in merged.table:
        return [str(name) for name in merged.table[_FILE_NAME].iloc[some]]
    return [str(when) for when in merged.table.index[some]]


def _without_log(merged: Merged) -> Listed:
    names = [f"detector's log: {name}" for name in _names(merged, merged.unlogged)]
    count = len(merged.unlogged)
    for report in merged.reports:
        names += [f"{report.name}: {name}" for name in _names(merged, report.without)]
        count += len(report.without)
    return Listed(count, names)


def _beyond_tolerance(merged: Merged) -> Listed:
    count, names = 0, []
    for report in merged.reports:
        rows = report.lacking.get(Lack.BEYOND_TOLERANCE, ())
        count += len(rows)
        names += [f"{report.name}: {name}" for name in _names(merged, rows)] if len(rows) else []
    return Listed(count, names)
