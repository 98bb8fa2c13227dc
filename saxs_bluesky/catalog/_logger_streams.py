"""Streams of events as tables of loggers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from saxs_bluesky.catalog._streams import Stream
from saxs_bluesky.merge import LogTable, Method, Times

MONITOR = "_monitor"
"""How the RunEngine ends the names of the streams of monitored signals."""

_NS = 1e9
_CLOCK_OFF = 1.0  # seconds by which a device's timestamps may differ from those of its events without a remark


@dataclass(frozen=True, eq=False)
class StreamTable:
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


def logger_table(stream: Stream, run_uid: str) -> StreamTable:
    """Make a table of a stream: its numbers and texts, not its arrays.

    A monitored signal holds its value until the next one is sent; before the first one that of the descriptor's
    configuration, which the RunEngine reads when it begins to listen. Entries of a monitored signal have the timestamps
    of the device, which says when the value changed; those of streams of several keys have the times of their events.

    Parameters
    ----------
    stream
        The stream.
    run_uid
        Of its run.
    """
    keys = {key: entry for key, entry in stream.descriptor["data_keys"].items() if key in stream.rows}
    plain = {key: entry for key, entry in keys.items() if entry.get("dtype") != "array"}
    monitored = stream.name.endswith(MONITOR)
    announced = stream.descriptor["data_keys"] if monitored and not len(stream.rows) else plain
    columns = {key: _column(stream.rows.get(key, pd.Series(dtype=object)), entry) for key, entry in announced.items()}
    times, remarks = _times(stream, list(columns), monitored=monitored)
    frame = pd.DataFrame(columns, columns=list(columns))
    if monitored:
        times, frame = _with_first(stream.descriptor, times, frame)
    order = np.argsort(times, kind="stable")
    left_out = [key for key in stream.descriptor["data_keys"] if key not in columns]
    if left_out:
        remarks.append(f"stream {stream.name}: {', '.join(left_out)} left out: wanted numbers or texts in events")
    table = LogTable(
        name=stream.name,
        times=times[order],
        columns=frame.iloc[order].reset_index(drop=True),
        method=Method.MEAN if monitored else Method.AUTO,
        steps=monitored,
        units={key: str(entry["units"]) for key, entry in announced.items() if entry.get("units")},
        remarks=tuple(remarks),
    )
    sources = {key: str(entry.get("source", "")) for key, entry in announced.items()}
    return StreamTable(table, {"stream": stream.name, "run": run_uid}, sources)


def _column(values: pd.Series[Any], entry: Mapping[str, Any]) -> pd.Series[Any]:
    if entry.get("dtype") == "string":
        texts = values.astype(object)
        return texts.where(texts.notna(), None)
    return pd.to_numeric(values, errors="coerce").astype(np.float64)


def _times(stream: Stream, keys: list[str], *, monitored: bool) -> tuple[Times, list[str]]:
    times = stream.rows["time"].to_numpy(dtype=np.float64)
    stamp = f"ts_{keys[0]}" if monitored and len(keys) == 1 else ""
    if stamp not in stream.rows or not len(times):
        return _ns(times), []
    stamps = stream.rows[stamp].to_numpy(dtype=np.float64)
    stamps = np.where(np.isfinite(stamps), stamps, times)
    # The first value may be an old one; and what comes late may have waited in a network.
    behind = float(np.median(times[1:] - stamps[1:])) if len(times) > 1 else 0.0
    if abs(behind) <= _CLOCK_OFF:
        return _ns(stamps), []
    remark = (
        f"stream {stream.name}: the device's timestamps are {behind:.1f} s behind the times of the events, so the "
        "latter are used"
    )
    return _ns(times), [remark]


def _with_first(descriptor: Mapping[str, Any], times: Times, frame: pd.DataFrame) -> tuple[Times, pd.DataFrame]:
    """Put the value that the configuration tells before the first event."""
    for owner in descriptor["configuration"].values():
        told = {key: owner["data"][key] for key in frame if key in (owner.get("data") or {})}
        if not told or len(told) < len(frame.columns):
            continue
        stamps = [float(owner["timestamps"].get(key, np.nan)) for key in told]
        since = _ns(np.array([min(max(stamps), descriptor["time"])]))
        if not np.isfinite(stamps).all() or (len(times) and since[0] >= times.min()):
            continue
        first = pd.DataFrame({key: _column(pd.Series([value]), _kind(frame[key])) for key, value in told.items()})
        both = first if not len(frame) else pd.concat([first, frame], ignore_index=True)
        return np.concatenate([since, times]), both
    return times, frame


def _kind(column: pd.Series[Any]) -> dict[str, str]:
    return {"dtype": "number" if pd.api.types.is_float_dtype(column.dtype) else "string"}


def _ns(seconds: np.ndarray) -> Times:
    """Seconds since 1970 as whole nanoseconds."""
    return np.round(seconds * _NS).astype(np.int64)
