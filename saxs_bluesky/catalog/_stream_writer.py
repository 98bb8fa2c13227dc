"""The events of one stream in Tiled: rows of tables, and an array for each key that has arrays."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from saxs_bluesky.catalog import _values as values
from saxs_bluesky.catalog._arrays import fits, make_array, make_writable, refused_key
from saxs_bluesky.catalog._order import order_column
from saxs_bluesky.catalog.tables import (
    child_of,
    column_of,
    counted_column,
    make_table,
    parts_of,
    refused_name,
    replace_table,
    schema_of,
    stored,
)

Row = dict[str, Any]
#: Told of a value that is left out: key, number of the event, value, reason.
LeftOut = Callable[[str, int, Any, str], None]

_TYPES = {
    values.NUMBER: pa.float64(),
    values.INTEGER: pa.int64(),
    values.BOOLEAN: pa.bool_(),
    values.STRING: pa.string(),
    values.JSON: pa.string(),
}
_MOST_CONVERTED = 64 * 2**20  # bytes of an array that becomes a column of text
_OWN = ("seq_num", "time")
_COUNT = pa.int64()


class LateEventError(ValueError):
    """An event whose stream has later ones, and arrays, into which nothing can be inserted."""


class StreamWriter:
    """Writes what is missing of one stream.

    Arrays are written before rows: where a row is, its arrays are. So rows tell what is there, also after a program
    ended in the middle, and arrays are written from the first row on that is missing.

    Parameters
    ----------
    run, node
        Containers of the run and the stream.
    entries
        Data keys as the descriptor tells them.
    access_tags
        What Tiled keeps beside each node.
    left_out
        Told of values that are not written.
    is_new
        Whether the container has just been made.
    """

    def __init__(
        self, run: Any, node: Any, entries: Mapping[str, Any], access_tags: Any, left_out: LeftOut, *, is_new: bool
    ) -> None:
        self._run = run
        self._node = node
        self._entries = dict(entries)
        self._access_tags = access_tags
        self._left_out = left_out
        self._rows: list[Row] = []
        self._there: Counter[int] = Counter()
        self._count = self._last = 0
        self._kinds: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._fixed: set[str] = set()  # keys whose column or array stays as it is
        self._schemas: dict[str, Any] = {}  # of tables that are to be made
        self._tables: dict[str, Any] = {}
        self._ahead: Counter[str] = Counter()
        self._arrays: dict[str, Any] = {}
        self._dims: dict[int, str] = {}
        if not is_new:
            self._attach()

    @property
    def is_internal(self) -> bool:
        """True if all its data are in events."""
        return not any("external" in entry for entry in self._entries.values())

    @property
    def nodes(self) -> Iterator[Any]:
        """What it has written to."""
        return itertools.chain(self._arrays.values(), self._tables.values())

    def has(self, number: int) -> bool:
        """True if the catalog has an event; asked once for each."""
        if not self._there[number]:
            return False
        self._there[number] -= 1
        return True

    def add(self, doc: Mapping[str, Any]) -> None:
        """Keep an event for the next `write`.

        Raises
        ------
        LateEventError
            It belongs before others that are there, where the stream has arrays.
        """
        number = int(doc["seq_num"])
        if number <= self._last and any(entry.get("dtype") == "array" for entry in self._entries.values()):
            raise LateEventError(
                f"event {number} comes after event {self._last} of stream {self._node.item['id']}, whose arrays are "
                "written in the order of numbers"
            )
        self._last = max(self._last, number)
        stamps = {f"ts_{key}": value for key, value in doc["timestamps"].items()}
        self._rows.append({"seq_num": number, "time": float(doc["time"]), **stamps, **doc["data"]})

    def write(self) -> None:
        """Write the events that were kept; then they can be seen in the catalog."""
        if not self._rows:
            return
        if not self._tables and not self._schemas:
            self._settle()
        self._convert()
        for key, kind in self._kinds.items():
            if kind == values.ARRAY:
                self._write_array(key)
        self._make_tables()
        columns = self._columns()
        for name, table in reversed(self._tables.items()):  # the one with the numbers comes first, and is written last
            schema = schema_of(table)
            order = order_column(schema.names, name)
            made = pa.table(
                {each: columns["seq_num" if each == order else each] for each in schema.names}, schema=schema
            )
            if self._ahead[name] < len(made):
                table.append_partition(0, made.slice(self._ahead[name]))
            self._ahead[name] = max(0, self._ahead[name] - len(made))
        self._count += len(self._rows)
        self._rows = []

    # What is there

    def _attach(self) -> None:
        """Find what an earlier writer has written."""
        tables = {}
        for name in list(self._node):
            child = child_of(self._node, name)
            if name.startswith("internal") and child.structure_family == "table":
                tables[name] = child
            elif name in self._entries and "external" not in self._entries[name]:
                make_writable(child)
                self._arrays[name] = child
        self._tables = dict(sorted(tables.items(), key=lambda item: "seq_num" not in schema_of(item[1]).names))
        counts = {name: column_of(table, counted_column(table, name)).tolist() for name, table in self._tables.items()}
        numbers: list[int] = next(iter(counts.values()), [])
        if not numbers:  # made, and never written to
            self._node.delete_contents(list(self._tables), external_only=False)
            self._tables = counts = {}
        self._there = Counter(numbers)
        self._count, self._last = len(numbers), max(numbers, default=0)
        self._ahead = Counter({name: len(found) - self._count for name, found in counts.items()})
        for table in self._tables.values():
            for field in schema_of(table):
                self._kinds |= self._kind_there(field)
        if self._tables:
            for key in [key for key in self._arrays if key in self._kinds]:
                self._node.delete_contents([key], external_only=False)  # its values are in the table now
                del self._arrays[key]
            self._kinds |= dict.fromkeys(self._arrays, values.ARRAY)
            missing = [key for key in self._entries if key not in self._kinds and key not in self._external]
            self._refused = dict.fromkeys(missing, "its first events were written without it")

    def _kind_there(self, field: Any) -> dict[str, str]:
        if field.name in _OWN or field.name not in self._entries:
            return {}
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            text = self._entries[field.name].get("dtype") == "string"
            return {field.name: values.STRING if text else values.JSON}
        kinds = {type_: kind for kind, type_ in _TYPES.items() if kind != values.JSON}
        return {field.name: kinds.get(field.type, values.NUMBER)}

    # The first events settle what there will be

    @property
    def _external(self) -> set[str]:
        """Keys whose data are in files, as far as no event brings them along."""
        given = {key for row in self._rows for key in row}
        return {key for key, entry in self._entries.items() if "external" in entry and key not in given}

    def _settle(self) -> None:
        stamps: list[str] = []
        names = list(_OWN)
        for key, entry in self._entries.items():
            if key in self._external:
                continue
            given = [row[key] for row in self._rows if row.get(key) is not None]
            kind = values.kind_of(entry, given)
            if kind == values.ARRAY and self._has_gaps(key, given):
                kind = values.JSON
            reason = refused_name(key, names) if kind != values.ARRAY else refused_key(key)
            if reason:
                self._refused[key] = reason
                continue
            self._kinds[key] = kind
            if kind != values.ARRAY:
                names.append(key)
            if not refused_name(f"ts_{key}", [*names, *stamps]):
                stamps.append(f"ts_{key}")
        for key in [key for key in self._arrays if self._kinds.get(key) != values.ARRAY or not self._suits(key)]:
            self._node.delete_contents([key], external_only=False)  # no row belongs to it
            del self._arrays[key]
        fields = [pa.field("seq_num", _COUNT), pa.field("time", pa.float64())]
        fields += [pa.field(name, _TYPES[self._kinds[name]]) for name in names if name not in _OWN]
        fields += [pa.field(name, pa.float64()) for name in stamps]
        parts = parts_of(fields)
        for index, part in enumerate(parts):
            name = "internal" if len(parts) == 1 else f"internal_{index}"
            schema = pa.schema(part)
            order = order_column(schema.names, name)
            self._schemas[name] = schema if order in schema.names else schema.append(pa.field(order, _COUNT))

    def _has_gaps(self, key: str, given: Sequence[Any]) -> bool:
        """True if the first events lack arrays of whole numbers, in which nothing can stand for one."""
        arrays = [values.as_array(one) for one in given if isinstance(one, list | tuple | np.ndarray)]
        small = sum(array.nbytes for array in arrays) <= _MOST_CONVERTED
        return len(arrays) < len(self._rows) and self._dtype(key, given[0]).kind not in "fc" and small

    def _make_tables(self) -> None:
        for name, schema in self._schemas.items():
            told = {key: self._entries[key] for key in schema.names if key in self._entries}
            self._tables[name] = make_table(
                self._node, name, schema, metadata=_for_json(told), access_tags=self._access_tags
            )
        self._schemas = {}

    def _suits(self, key: str) -> bool:
        """True if an array that has no rows yet is of the kind that the first events bring."""
        first = next((row[key] for row in self._rows if isinstance(row.get(key), list | tuple | np.ndarray)), None)
        if first is None:
            return True
        array, there = values.as_array(first), self._arrays[key]
        return bool(array.shape == there.shape[1:] and self._dtype(key, first) == there.dtype)

    # Later ones may need another column

    def _convert(self) -> None:
        """Give keys another column where new values need it, with all that is there."""
        wanted = {key: kind for key in self._kinds if (kind := self._wanted(key)) != self._kinds[key]}
        if wanted and self._count:
            self._replace(wanted)
        elif wanted:
            for key in wanted:
                self._fixed.add(key)

    def _wanted(self, key: str) -> str:
        kind = self._kinds[key]
        if key in self._fixed:
            return kind
        given = [row[key] for row in self._rows if row.get(key) is not None]
        if kind == values.INTEGER:
            return values.kind_of({"dtype": "integer"}, [one for one in given if isinstance(one, float)])
        if kind != values.ARRAY or key not in self._arrays:
            return kind
        there = self._arrays[key]
        arrays = [one for one in given if isinstance(one, list | tuple | np.ndarray)]
        floating = there.dtype.kind in "fc"
        if all(fits(one, there) for one in arrays) and (floating or len(arrays) == len(self._rows)):
            return kind
        size = self._count * math.prod(there.shape[1:]) * there.dtype.itemsize
        return values.JSON if size <= _MOST_CONVERTED else kind

    def _replace(self, wanted: dict[str, str]) -> None:
        """Replace the table that holds some columns by one in which they are of another kind."""
        tables = self._tables.items()
        name, table = next(
            (each for each in tables if wanted.keys() & set(schema_of(each[1]).names)), next(iter(tables))
        )
        found, schema = table.read(), schema_of(table)
        columns = {field.name: stored(found[field.name], field.type) for field in schema}
        for key, kind in wanted.items():
            made = self._converted(key, kind, found, schema)
            if made is None:
                self._fixed.add(key)
                continue
            field, columns[key] = made
            index = schema.get_field_index(key)
            schema = schema.append(field) if index < 0 else schema.set(index, field)
            self._kinds[key] = kind
        if schema == schema_of(table):
            return
        self._tables[name] = replace_table(self._run, self._node, name, schema, columns, self._access_tags)
        for key in wanted.keys() & self._arrays.keys():
            if self._kinds[key] == values.JSON:
                self._node.delete_contents([key], external_only=False)
                del self._arrays[key]

    def _converted(self, key: str, kind: str, found: Any, schema: Any) -> tuple[Any, Any] | None:
        """A field and a column with what is there of a key; None where it cannot be told so."""
        if kind == values.NUMBER and key in schema.names and values.is_exact(found[key].dropna().to_numpy()):
            column = pa.array(found[key].to_numpy(float, na_value=math.nan), pa.float64())
            return pa.field(key, pa.float64()), column
        if kind == values.JSON and not refused_name(key, schema.names):
            rows = self._arrays[key][: self._count]
            return pa.field(key, pa.string()), pa.array([values.fitted(values.JSON, row) for row in rows], pa.string())
        return None

    # Rows

    def _columns(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [row[name] for row in self._rows] for name in _OWN}
        for key, kind in self._kinds.items():
            if kind != values.ARRAY:
                columns[key] = [self._fitted(key, kind, row) for row in self._rows]
        known = self._kinds.keys() | set(_OWN)
        for row in self._rows:
            for key in row.keys() - known:
                if not key.startswith("ts_") or key in self._entries:
                    reason = self._refused.get(key, "the stream's descriptor does not tell of it")
                    self._left_out(key, row["seq_num"], row[key], reason)
        for name in {name for table in self._tables.values() for name in schema_of(table).names} - columns.keys():
            columns[name] = [_stamp(row.get(name)) for row in self._rows]
        return columns

    def _fitted(self, key: str, kind: str, row: Row) -> Any:
        if key not in row:
            return values.absent(kind)
        try:
            return values.fitted(kind, row[key])
        except values.MisfitError as error:
            self._left_out(key, row["seq_num"], row[key], str(error))
            return values.absent(kind)

    def _write_array(self, key: str) -> None:
        there = self._arrays.get(key)
        if there is None:
            first = next(row[key] for row in self._rows if isinstance(row.get(key), list | tuple | np.ndarray))
            shape, dtype = values.as_array(first).shape, self._dtype(key, first)
        else:
            shape, dtype = there.shape[1:], there.dtype
        block = np.empty((len(self._rows), *shape), dtype)
        for index, row in enumerate(self._rows):
            block[index] = self._array_row(key, row, dtype, shape)
        if there is None:
            metadata = _for_json(self._entries[key]) | {"dtype_numpy": str(dtype)}
            dims = ("time", *(self._dimension(size) for size in shape))
            self._arrays[key] = make_array(self._run, self._node, key, block, metadata, dims, self._access_tags)
        else:
            there.patch(block, offset=(self._count,), extend=True)

    def _array_row(self, key: str, row: Row, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        if key in row:
            try:
                return values.array_row(row[key], dtype, shape)
            except values.MisfitError as error:
                self._left_out(key, row["seq_num"], row[key], str(error))
        return values.empty_row(dtype, shape)

    def _dtype(self, key: str, first: Any) -> np.dtype:
        """The type that the descriptor tells, if all values that are there have it."""
        told = self._entries[key].get("dtype_numpy")
        arrays = [
            values.as_array(row[key]) for row in self._rows if isinstance(row.get(key), list | tuple | np.ndarray)
        ]
        own = np.result_type(*(array.dtype for array in arrays)) if arrays else values.as_array(first).dtype
        try:
            dtype = np.dtype(told) if isinstance(told, str) else own
        except TypeError:
            return own
        if dtype.kind not in "biufcUS" or dtype.itemsize == 0:
            return own
        try:
            for array in arrays:
                values.array_row(array, dtype, array.shape)
        except values.MisfitError:
            return own
        return dtype

    def _dimension(self, size: int) -> str:
        """Name of a dimension; those of one size have one name, so that they align."""
        return self._dims.setdefault(size, f"dim_int_{len(self._dims) + 1}")


def _stamp(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _for_json(metadata: Any) -> dict[str, Any]:
    from bluesky_tiled_plugins.utils import truncate_json_overflow

    made: dict[str, Any] = truncate_json_overflow(metadata)
    return made
