"""Which errors are of a catalog in trouble, and which of them pass."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_BUSY = re.compile(r"(?i)database (table )?is locked|database is busy|SQLITE_(BUSY|LOCKED)|cannot commit transaction")
_SERVER_ERROR, _TOO_MANY = 500, 429  # a server in trouble answers 500, and one that a document makes fall over
_OF_NO_DOCUMENT = (401, 403, 407, 408, 421, 423, 425, _TOO_MANY)  # permission, time, locks and too many requests
_LONGEST_PAUSE = 1.0  # seconds

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


def may_pass(error: BaseException) -> bool:
    """True if trying again soon may help: a locked database, a server that is away or overloaded."""
    import httpx

    for each in _causes(error):
        if isinstance(each, httpx.HTTPStatusError):
            status = each.response.status_code
            return status == _TOO_MANY or status >= _SERVER_ERROR
        if isinstance(each, httpx.TransportError) or _BUSY.search(str(each)):
            return True
    return False


def patiently(
    work: Callable[[], T], seconds: float, pause: float, passes: Callable[[BaseException], bool] = may_pass
) -> T:
    """Do something again, after longer and longer pauses, as long as its errors may pass.

    Parameters
    ----------
    work
        What to do.
    seconds
        For how long to try.
    pause
        After the first try, in seconds; each further one is twice as long, up to a second.
    passes
        Whether an error may pass; any other is raised, and so is the last one.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Exception as error:
            if not passes(error) or time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def is_away(error: BaseException) -> bool:
    """True if the catalog cannot take anything now: it is out of reach, full, locked or read-only."""
    return any(_is_trouble(each) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or after, the nearest first."""
    seen: list[BaseException] = []
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        yield each
        rest += [*(each.exceptions if isinstance(each, BaseExceptionGroup) else ()), each.__context__, each.__cause__]


def _is_trouble(error: BaseException) -> bool:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status in _OF_NO_DOCUMENT or status > _SERVER_ERROR
    if isinstance(error, httpx.TransportError | OSError | MemoryError):
        return True
    kind = type(error)
    if kind.__module__.split(".")[0] in _DRIVERS and kind.__name__ in _TROUBLE:
        return True
    text = str(error).lower()
    return not isinstance(error, httpx.HTTPError | ValueError | KeyError | TypeError) and any(
        word in text for word in _WORDS
    )
