"""Whether a catalog is away, or refuses what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

_UNDECIDED = 500  # a server in trouble answers so, and one that a document makes fall over
_OF_NO_DOCUMENT = (401, 403, 407, 408, 421, 423, 425, 429)  # permission, time, locks and too many requests

# Databases and file systems in trouble, whatever is written to them.
_DRIVERS = ("sqlite3", "sqlalchemy", "adbc_driver_manager", "asyncpg", "aiosqlite", "psycopg")
_TROUBLE = (
    "OperationalError",
    "InterfaceError",
    "InternalError",
    "TimeoutError",
    "DisconnectionError",
    "ResourceClosedError",
)
# Drivers of tables raise one class for nearly everything; so do stores of arrays.
_WORDS = (
    "database is locked",
    "table is locked",
    "disk is full",
    "disk full",
    "disk i/o error",
    "no space left",
    "quota exceeded",
    "read-only",
    "readonly",
    "permission denied",
    "unable to open database",
    "too many open files",
    "cannot allocate memory",
    "connection",
    "server closed",
    "cannot schedule new futures",
)

_PROBE = "saxs-bluesky-probe"


def is_away(error: BaseException) -> bool:
    """Whether an error says that the catalog cannot take anything now: it is out of reach, full, locked, read-only."""
    return any(_is_trouble(each) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    seen: list[BaseException] = []
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        yield each
        rest += [each.__cause__, each.__context__, *(each.exceptions if isinstance(each, BaseExceptionGroup) else ())]


def _is_trouble(error: BaseException) -> bool:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status in _OF_NO_DOCUMENT or status > _UNDECIDED
    if isinstance(error, httpx.TransportError | OSError | MemoryError):
        return True
    kind = type(error)
    if kind.__module__.split(".")[0] in _DRIVERS and kind.__name__ in _TROUBLE:
        return True
    text = str(error).lower()
    return not isinstance(error, httpx.HTTPError | ValueError | KeyError | TypeError) and any(
        word in text for word in _WORDS
    )


def takes_writes(catalog: Any, run: Any) -> bool:
    """Whether the catalog takes a small run of our own at this moment: container, rows and array.

    Only then can it be a document's fault that it was not taken.

    Parameters
    ----------
    catalog
        The catalog.
    run
        The run's container, in which the attempt shows least; None where the catalog does not have it.
    """
    import pyarrow as pa
    from tiled.client.container import Container

    from saxs_bluesky.catalog.tables import make_table

    where = catalog if run is None else run
    try:
        with suppress(KeyError):
            _remove(where, Container.__getitem__(where, _PROBE))
        start = {"uid": _PROBE, "time": time.time(), "plan_name": "probe"}
        made = where.create_container(key=_PROBE, metadata={"start": start})
        schema = pa.schema([("seq_num", pa.int64()), ("time", pa.float64())])
        table = make_table(made, "internal", schema)
        table.append_partition(0, pa.table({"seq_num": [1], "time": [0.0]}, schema=schema))
        made.write_array(np.zeros(8), key="array")
        _remove(where, made)
    except Exception:  # noqa: BLE001 - in whatever way it fails, the catalog is in no state to judge
        return False
    return True


def _remove(where: Any, made: Any) -> None:
    made.delete_contents(recursive=True, external_only=False)
    where.delete_contents([_PROBE], recursive=True, external_only=False)
