"""The order of rows and arrays: that of the events' numbers, whatever order a database hands rows out in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_SEQ_NUM = "seq_num"
_TABLE = "internal"


class InOrder:
    """The container of a stream, which makes its tables such that all readers get rows in the order of events.

    SQL promises no order. Tiled adds one for SQLite and DuckDB only; in PostgreSQL rows fill the space that deleted
    ones have left, while arrays lie in the order in which they were appended.

    Parameters
    ----------
    container
        A client object of Tiled.
    """

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def create_appendable_table(self, *, schema: Any, key: str, metadata: Any, access_tags: Any) -> Any:
        """Make a table that is read in the order of events."""
        from tiled.structures.core import StructureFamily
        from tiled.structures.data_source import DataSource
        from tiled.structures.table import TableStructure

        column = order_column(schema.names, key)
        if column not in schema.names:
            schema = schema.append(pa.field(column, pa.int64()))
        source = DataSource(
            structure=TableStructure.from_schema(schema, 1),
            structure_family=StructureFamily.table,
            mimetype="application/x-tiled-sql-table",
            parameters={"order_by_args": [{"column": column, "direction": "asc"}]},
        )
        return self._container.new(
            StructureFamily.table, [source], key=key, metadata=metadata or {}, specs=[], access_tags=access_tags
        )


def order_column(columns: Sequence[str], table: str) -> str:
    """Which column of a table has the numbers of events.

    A stream of very many columns has several tables, ``internal_0`` and so on, of which one has ``seq_num``; column
    names must not repeat in a stream, so the others have ``seq_num_0`` and so on.
    """
    return _SEQ_NUM if _SEQ_NUM in columns else f"{_SEQ_NUM}{table.removeprefix(_TABLE)}"


def in_order(rows: Any, table: str) -> Any:
    """Rows of a table, a data frame, in the order of events, each event once.

    Arrays are appended as their events come, so the n-th item of an array belongs to the n-th lowest number that there
    is, also where events are missing. A number comes twice where a writer repeated a request that had been done.
    """
    column = order_column(list(rows.columns), table)
    if column not in rows:  # one of several tables, by a writer that gave it no numbers
        return rows
    _, first = np.unique(rows[column].to_numpy(), return_index=True)
    return rows.iloc[first].reset_index(drop=True)
