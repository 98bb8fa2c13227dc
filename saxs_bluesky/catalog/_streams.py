"""Streams of a run as tables: read as a whole, not event by event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from saxs_bluesky.catalog._order import in_order
from saxs_bluesky.catalog._trouble import patiently

_PATIENCE = 20.0  # seconds for which a catalog may be locked or away
_PAUSE = 0.1  # seconds
_TABLE = "internal"


@dataclass(frozen=True, eq=False)
class Stream:
    """One stream of a run.

    Parameters
    ----------
    name
        Of the stream.
    descriptor
        Its descriptor, as far as the catalog keeps it.
    updates
        What later descriptors of the stream say of the configuration, each with its ``time``.
    rows
        Its events: ``seq_num``, ``time``, the values of data keys, and ``ts_...``, their timestamps.
    node
        Its container in the catalog.
    """

    name: str
    descriptor: Mapping[str, Any]
    updates: tuple[Mapping[str, Any], ...]
    rows: pd.DataFrame
    node: Any

    def external(self, key: str) -> Any:
        """Values that a device has written into a file.

        Raises
        ------
        Exception
            Whatever the catalog, or what reads the file, raises where they cannot be read.
        """
        return np.asarray(patiently(self.node[key].read, _PATIENCE, _PAUSE))

    def length(self, key: str) -> int:
        """How many values, or images, a data key has that is in files; 0 where the catalog has none of it."""
        return int(self.node[key].shape[0]) if key in list(self.node) else 0


def streams_of(run: Any) -> dict[str, Stream]:
    """Streams of events of a run, by their names; whatever else the run has is left out."""
    found = {}
    for name in list(run.base):
        node = getattr(run.base[name], "base", run.base[name])
        if "data_keys" in node.metadata:
            found[name] = patiently(lambda name=name, node=node: _stream(name, node), _PATIENCE, _PAUSE)  # type: ignore[misc]
    return found


def _stream(name: str, node: Any) -> Stream:
    metadata = node.metadata
    keys = {key: dict(entry) for key, entry in metadata["data_keys"].items()}
    objects: dict[str, list[str]] = {}
    for key, entry in keys.items():
        objects.setdefault(str(entry.get("object_name", key)), []).append(key)
    descriptor = {
        "name": name,
        "uid": metadata.get("uid", ""),
        "time": float(metadata.get("time", np.nan)),
        "data_keys": keys,
        "object_keys": objects,
        "configuration": metadata.get("configuration") or {},
    }
    return Stream(name, descriptor, tuple(metadata.get("_config_updates") or ()), _rows(node), node)


def _rows(node: Any) -> pd.DataFrame:
    tables = [in_order(node[name].read(), name) for name in sorted(node) if name.startswith(_TABLE)]
    # Rows come last in a batch: a stream with several tables has what all of them have.
    count = min((len(table) for table in tables), default=0)
    columns = {key: column for table in tables for key, column in table.iloc[:count].items()}
    if not columns:
        return pd.DataFrame({"seq_num": np.empty(0, np.int64), "time": np.empty(0)})
    return pd.DataFrame(columns)
