"""Tables of events in Tiled: made with an order, appended to, and replaced as a whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from saxs_bluesky.catalog._order import order_column

#: Child of a run, for moments: a table that is to take the place of one of a stream.
REPLACEMENT = "saxs-bluesky-replacement"
_PLACE = ("table_name", "dataset_id")  # where in the database the rows of a table are
_MOST_COLUMNS = 1024  # of one table
_IDENTIFIER_BYTES = 63  # PostgreSQL's limit, and Tiled's


def make_table(
    parent: Any,
    key: str,
    schema: pa.Schema,
    *,
    metadata: Mapping[str, Any] | None = None,
    access_tags: Any = None,
    ordered: bool = True,
) -> Any:
    """Make an empty table whose rows all readers get in the order of events: SQL promises none of itself.

    Parameters
    ----------
    parent
        The container that it is in.
    key, schema, metadata, access_tags
        Its name, its columns, and what Tiled keeps beside it.
    ordered
        False for one whose numbers of events do not tell their order.
    """
    from tiled.structures.core import StructureFamily
    from tiled.structures.data_source import DataSource
    from tiled.structures.table import TableStructure

    order = [{"column": order_column(schema.names, key), "direction": "asc"}] if ordered else []
    source = DataSource(
        structure=TableStructure.from_schema(schema, 1),
        structure_family=StructureFamily.table,
        mimetype="application/x-tiled-sql-table",
        parameters={"order_by_args": order},
    )
    return parent.new(
        StructureFamily.table, [source], key=key, metadata=dict(metadata or {}), specs=[], access_tags=access_tags
    )


def column_of(table: Any, name: str) -> Any:
    """Read one column, in the order of the table's rows."""
    return table.read([name])[name]


def schema_of(table: Any) -> pa.Schema:
    """Columns of a table and their types."""
    return table.structure().arrow_schema_decoded


def refused_name(name: str, others: Sequence[str] = ()) -> str:
    """Why no table can have a column of this name; empty where it can.

    Parameters
    ----------
    name
        The column's.
    others
        Columns that the table has: databases do not tell capital letters apart.
    """
    from tiled.adapters.sql import COLUMN_NAME_PATTERN, is_safe_identifier
    from tiled.utils import UnsafeIdentifier

    if len(name.encode(errors="replace")) > _IDENTIFIER_BYTES:
        return f"wanted a name of up to {_IDENTIFIER_BYTES} bytes, found a longer one"
    try:
        name.encode()
        is_safe_identifier(name, COLUMN_NAME_PATTERN, allow_reserved_words=True)
    except (UnsafeIdentifier, UnicodeEncodeError):
        return "wanted a name that databases take, found one with other characters"
    same = next((other for other in others if other.lower() == name.lower()), None)
    return "" if same is None else f"wanted names that differ without regard to capital letters, found {same} too"


def replace_table(
    run: Any, stream: Any, key: str, schema: pa.Schema, columns: Mapping[str, Any], access_tags: Any
) -> Any:
    """Put other columns in the place of a table's in one step, so that readers see the one or the other.

    The new table is filled apart, below the run; then both exchange what they refer to in the database, and the one
    apart is deleted with what was the old one.

    Parameters
    ----------
    run, stream
        The containers.
    key
        The table's name.
    schema, columns
        What it is to hold.
    access_tags
        What Tiled keeps beside it.

    Returns
    -------
    The table.
    """
    drop_replacement(run)
    table = child_of(stream, key)
    old = source_of(table)
    note = {name: old.parameters[name] for name in _PLACE} | {"stream": stream.item["id"], "table": key}
    ordered = bool(old.parameters.get("order_by_args"))
    apart = make_table(run, REPLACEMENT, schema, metadata=note, access_tags=access_tags, ordered=ordered)
    apart.append_partition(0, pa.table(dict(columns), schema=schema))
    put_source(table, dataclasses.replace(source_of(apart), id=old.id))
    drop_replacement(run)
    return child_of(stream, key)


def drop_replacement(run: Any) -> None:
    """Remove the table apart, also one that a program left that ended in the middle; never the rows in use."""
    apart = find_child(run, REPLACEMENT)
    if apart is None:
        return
    source, note = source_of(apart), apart.metadata
    try:
        used = source_of(child_of(child_of(run, note["stream"]).base, note["table"])).parameters["dataset_id"]
    except KeyError:
        used = None
    if used == source.parameters["dataset_id"]:
        old = {name: note[name] for name in _PLACE}
        put_source(apart, dataclasses.replace(source, parameters=dict(source.parameters) | old))
    run.delete_contents([REPLACEMENT], external_only=False)


def child_of(container: Any, key: str) -> Any:
    """A container's child; KeyError where there is none."""
    from tiled.client.container import Container

    return Container.__getitem__(container, key)


def find_child(container: Any, key: str) -> Any:
    """A container's child; None where there is none."""
    try:
        return child_of(container, key)
    except KeyError:
        return None


def source_of(node: Any) -> Any:
    """What a node refers to in the database or in files."""
    return node.include_data_sources().data_sources()[0]


def put_source(node: Any, source: Any) -> None:
    """Let a node refer to something else."""
    from tiled.client.utils import handle_error
    from tiled.utils import safe_json_dump

    handle_error(
        node.context.http_client.put(
            node.uri.replace("/metadata/", "/data_source/", 1), content=safe_json_dump({"data_source": source})
        )
    )


def counted_column(table: Any, name: str) -> str:
    """A column that each row has a value in: that of numbers, where the table has one."""
    names = schema_of(table).names
    order = order_column(names, name)
    return order if order in names else str(names[0])


def parts_of(fields: Sequence[Any]) -> list[list[Any]]:
    """Fields in as many parts as there must be tables."""
    count = math.ceil(len(fields) / _MOST_COLUMNS)
    size = math.ceil(len(fields) / count)
    return [list(fields[begin : begin + size]) for begin in range(0, len(fields), size)]


def stored(column: Any, type_: Any) -> Any:
    """A column of a data frame as it was stored: NaN is a number, and elsewhere nothing."""
    return pa.array(column, type=type_, from_pandas=not pa.types.is_floating(type_))
