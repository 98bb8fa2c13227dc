"""What the descriptors of loggers' streams say."""

from __future__ import annotations

import math
from typing import Any

from saxs_bluesky.documents._types import Document

_MONITOR = "_monitor"  # how the RunEngine ends the names of the streams of monitored signals


def is_monitor(stream: str) -> bool:
    """Whether a stream is that of a monitored signal, which is sent when it changes."""
    return stream.endswith(_MONITOR)


def is_text(entry: Document) -> bool:
    """Whether the values of a data key are texts."""
    return entry.get("dtype") == "string"


def loggable(descriptor: Document) -> dict[str, Document]:
    """Data keys of a stream that are single numbers or texts in events."""
    return {
        key: entry
        for key, entry in descriptor["data_keys"].items()
        if entry.get("dtype") in ("number", "integer", "boolean", "string")
        and not entry.get("shape")
        and "external" not in entry
    }


def first_entry(descriptor: Document) -> tuple[float, dict[str, Any]] | None:
    """What a monitored signal was when the RunEngine began to listen, and since when: the configuration tells.

    A signal that does not change has no event at all. None where the descriptor does not tell.

    Parameters
    ----------
    descriptor
        Of the stream of the monitored signal.
    """
    keys = loggable(descriptor)
    if not is_monitor(descriptor["name"]) or not keys:
        return None
    for owner in (descriptor.get("configuration") or {}).values():
        data, stamps = owner.get("data") or {}, owner.get("timestamps") or {}
        if all(key in data for key in keys):
            since = [float(stamps.get(key, math.inf)) for key in keys]
            # A value without timestamp, or one of another clock, is known from now on.
            return min(max(since), float(descriptor["time"])), {key: data[key] for key in keys}
    return None
