"""What loggers of a run say, as tables with the names that their columns have in a merged run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from saxs_bluesky.documents._clean_names import clean_names
from saxs_bluesky.documents._logger_keys import is_text
from saxs_bluesky.documents._merged_run_composer import MergedColumn, MergedLogger
from saxs_bluesky.documents._types import Document
from saxs_bluesky.merge import LogTable


@dataclass(frozen=True, eq=False)
class LoggerTable:
    """A table of a logger, and where it comes from.

    Parameters
    ----------
    table
        The entries.
    source
        ``stream`` and ``run``, or whatever tells where they come from.
    sources
        Of each column, what its data key says.
    """

    table: LogTable
    source: Mapping[str, Any]
    sources: Mapping[str, str]

    @property
    def logger(self) -> MergedLogger:
        """As a merged run tells of it."""
        table = self.table
        return MergedLogger(
            name=table.name,
            source=dict(self.source),
            method=str(table.method),
            offset=table.offset,
            tolerance=table.tolerance,
            steps=table.steps,
            entries=len(table.times),
        )


def log_column(values: Any, entry: Document) -> pd.Series[Any]:
    """Values of a data key as a column of a table: ``float64``, or texts with None for those that are missing."""
    series = pd.Series(values)
    if is_text(entry):
        texts = series.astype(object)
        return texts.where(texts.notna(), None)
    return pd.to_numeric(series, errors="coerce").astype(np.float64)


def logged_columns(tables: Sequence[LoggerTable], taken: Sequence[str]) -> list[MergedColumn]:
    """Columns of a merged run for those of tables, in their order.

    They are named as their data keys; of several of one name the first one keeps it, and the others have that of their
    stream behind it. Columns of tables that are no streams have the name of their table: ``Ioni_Dlogger``.

    Parameters
    ----------
    tables
        The loggers.
    taken
        Names that are given already.
    """
    wanted: list[str] = []
    given = set(taken)
    for one in tables:
        for label in map(str, one.table.columns.columns):
            plain = label if "stream" in one.source else f"{label} ({one.table.name})"
            wanted.append(plain if plain not in given else f"{plain}_{one.table.name}")
            given.add(wanted[-1])
    keys = iter(zip(clean_names(wanted, taken), wanted, strict=True))
    columns = []
    for one in tables:
        for label, values in one.table.columns.items():
            key, name = next(keys)
            number = pd.api.types.is_numeric_dtype(values.dtype)
            columns.append(
                MergedColumn(
                    key=key,
                    dtype="number" if number else "string",
                    object_name=one.table.name,
                    source=one.sources.get(str(label)) or f"logger {one.table.name}",
                    name=name,
                    units=one.table.units.get(str(label), ""),
                    is_hinted=number,
                )
            )
    return columns
