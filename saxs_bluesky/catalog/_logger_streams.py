"""Streams of events in a catalog as tables of loggers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from saxs_bluesky.catalog._streams import Stream
from saxs_bluesky.documents import LoggerTable, first_entry, is_monitor, log_column, loggable
from saxs_bluesky.merge import LogTable, Method, Times

_NS = 1e9
_CLOCK_OFF = 1.0  # seconds by which a device's timestamps may differ from those of its events


def logger_table(stream: Stream, run_uid: str) -> LoggerTable:
    """Make a table of a stream: its numbers and texts, not its arrays.

    A monitored signal holds its value until the next one is sent; before the first one that of the descriptor's
    configuration. Its entries have the timestamps of the device, which says when the value changed; those of streams of
    several keys have the times of their events.

    Parameters
    ----------
    stream
        The stream.
    run_uid
        Of its run.
    """
    monitored = is_monitor(stream.name)
    keys = {key: entry for key, entry in loggable(stream.descriptor).items() if monitored or key in stream.rows}
    nothing = [None] * len(stream.rows)
    frame = pd.DataFrame({key: log_column(stream.rows.get(key, nothing), entry) for key, entry in keys.items()})
    times, remarks = _times(stream, list(keys), monitored=monitored)
    first = first_entry(stream.descriptor)
    if first is not None and (not len(times) or _ns(np.array([first[0]]))[0] < times.min()):
        told = pd.DataFrame({key: log_column([first[1][key]], entry) for key, entry in keys.items()})
        frame = pd.concat([told, frame], ignore_index=True) if len(frame) else told
        times = np.concatenate([_ns(np.array([first[0]])), times])
    order = np.argsort(times, kind="stable")
    left_out = [key for key in stream.descriptor["data_keys"] if key not in keys]
    if left_out:
        remarks.append(f"stream {stream.name}: {', '.join(left_out)} left out: wanted numbers or texts in events")
    table = LogTable(
        name=stream.name,
        times=times[order],
        columns=frame.iloc[order].reset_index(drop=True),
        method=Method.MEAN if monitored else Method.AUTO,
        steps=monitored,
        units={key: str(entry["units"]) for key, entry in keys.items() if entry.get("units")},
        remarks=tuple(remarks),
    )
    sources = {key: str(entry.get("source", "")) for key, entry in keys.items()}
    return LoggerTable(table, {"stream": stream.name, "run": run_uid}, sources)


def _times(stream: Stream, keys: list[str], *, monitored: bool) -> tuple[Times, list[str]]:
    times = stream.rows["time"].to_numpy(dtype=np.float64)
    stamp = f"ts_{keys[0]}" if monitored and len(keys) == 1 else ""
    if stamp not in stream.rows or not len(times):
        return _ns(times), []
    stamps = stream.rows[stamp].to_numpy(dtype=np.float64)
    stamps = np.where(np.isfinite(stamps), stamps, times)
    # The first value may be an old one; what comes late may have waited in a network.
    behind = float(np.median(times[1:] - stamps[1:])) if len(times) > 1 else 0.0
    if abs(behind) <= _CLOCK_OFF:
        return _ns(stamps), []
    remark = (
        f"stream {stream.name}: the device's timestamps are {behind:.1f} s behind the times of the events, so the "
        "latter are used"
    )
    return _ns(times), [remark]


def _ns(seconds: np.ndarray) -> Times:
    """Seconds since 1970 as whole nanoseconds."""
    return np.round(seconds * _NS).astype(np.int64)
