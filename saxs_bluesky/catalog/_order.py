"""The order of rows and arrays: that of the events' numbers, whatever order a database hands rows out in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_SEQ_NUM = "seq_num"
_TABLE = "internal"


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
