"""One run into Tiled, in batches that the caller ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer, _RunWriter
from event_model import DocumentNames, schema_validators

from saxs_bluesky.catalog._order import InOrder, order_column


class ColumnTypeError(Exception):
    """A column of whole numbers got one that is not; ``key`` must be written as floating point from the start."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key}: wanted whole numbers as its data key says, found another value")
        self.key = key


# TiledWriter writes when it has counted so many events, or at the stop: either every event costs a tenth of a
# second, or nothing shows for minutes. It has no flush, and what it keeps for later is private, so this class
# depends on bluesky-tiled-plugins 2.0 (pyproject.toml holds it below 2.1; tests/callbacks/test_catalog_writer.py
# fails if the names move). Appending rows again after an answer was lost, as it does, would double events.
class RunWriter(_RunWriter):  # type: ignore[misc] # the library has no types
    """Writes the documents of one run, which must have passed a `RunNormalizer`, when told to flush.

    All inline arrays are stored as arrays, and number columns as floating point, since the first batch settles a
    column's type.

    Parameters
    ----------
    client
        The catalog.
    floats
        Data keys that say integer, and are not.
    root
        The run's own container where the catalog has it already; its contents must have been deleted.
    """

    def __init__(self, client: Any, floats: frozenset[str] = frozenset(), root: Any = None) -> None:
        super().__init__(client.include_data_sources(), batch_size=sys.maxsize, max_array_size=0)
        self._floats = floats
        self._seq_nums: list[int] = []  # of the rows that are being written
        self.root_node = root

    def start(self, doc: dict[str, Any]) -> None:
        """Make the run's container, unless it is there."""
        if self.root_node is None:
            super().start(doc)
        else:
            self.access_tags = doc.get("tiled_access_tags")

    def event(self, doc: dict[str, Any]) -> None:
        """Keep an event for the next flush."""
        doc["data"] = {key: self._settled(key, value) for key, value in doc["data"].items()}
        doc["timestamps"] = {key: float(value) for key, value in doc["timestamps"].items()}
        doc["time"] = float(doc["time"])
        super().event(doc)

    def _settled(self, key: str, value: Any) -> Any:
        entry = self.data_keys.get(key, {})
        if entry.get("dtype") not in ("number", "integer") or isinstance(value, str | list):
            return value
        if key in self._floats or not _whole(entry):
            return float("nan") if value is None else float(value)
        if not isinstance(value, int):
            raise ColumnTypeError(key)
        return value

    def flush(self) -> None:
        """Write all that was kept; then it can be seen in the catalog."""
        for name, rows in self._internal_data_cache.items():
            if rows:
                self._seq_nums = [row["seq_num"] for row in rows]
                self._write_internal_data(rows, desc_node=InOrder(self._desc_nodes[name]))
                rows.clear()
        for uid in list(self._external_data_cache):
            self._write_external_data(self._external_data_cache.pop(uid))

    def stop(self, doc: dict[str, Any]) -> None:
        """Write the stop document, and what was kept before it."""
        self.flush()
        super().stop(doc)

    def _append_with_retry(self, df_client: Any, table: Any, desc_name: str) -> None:  # noqa: ARG002
        order = order_column(table.schema.names, df_client.item["id"])
        if order not in table.schema.names:
            table = table.append_column(order, [self._seq_nums])
        df_client.append_partition(0, table)

    def _close_stream_tree(self) -> None:
        nodes = (
            *self._internal_arrays.values(),
            *self._internal_tables.values(),
            *self._sres_nodes.values(),
            *self._desc_nodes.values(),
            self.root_node,
        )
        for node in {node.uri: node for node in nodes}.values():
            node.close_stream()


def _whole(entry: Mapping[str, Any]) -> bool:
    kind = str(entry.get("dtype_numpy", ""))[1:2]
    return kind in ("i", "u") if kind else entry["dtype"] == "integer"


class _Normalizer(RunNormalizer):  # type: ignore[misc] # the library has no types
    def emit(self, name: DocumentNames, doc: dict[str, Any]) -> None:
        """Check and pass on; the schema's validator would print every array into messages that nobody sees."""
        checked = doc
        if name is DocumentNames.event:
            data = {key: [] if isinstance(value, np.ndarray) else value for key, value in doc["data"].items()}
            checked = doc | {"data": data}
        schema_validators[name].validate(checked)
        self.dispatcher.process(name, doc)


def normalized(writer: RunWriter) -> Any:
    """A callback that brings documents of all ages into today's form (``resource`` and ``datum`` too) for a writer."""
    normalizer = _Normalizer()
    normalizer.subscribe(writer)
    return normalizer
