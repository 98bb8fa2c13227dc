"""Tables of an embedded catalog, written though other processes write too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tiled.adapters.sql import SQLAdapter

from saxs_bluesky.catalog._trouble import may_pass

_PATIENCE = 30.0  # seconds
_PAUSE = 0.02  # seconds

MIMETYPE = "application/x-tiled-sql-table"


class SharedTables(SQLAdapter):  # type: ignore[misc] # the library has no types
    """Tiled's adapter, which tries again where another process has got ahead.

    A transaction that reads before it writes fails at once if another has written in between, whatever its time-out
    for locks; each of these methods is one transaction, so that nothing is done of one that failed.
    """

    @classmethod
    def init_storage(cls, *arguments: Any, **options: Any) -> Any:
        """Make the table."""
        return _patiently(lambda: super(SharedTables, cls).init_storage(*arguments, **options))

    def append_partition(self, *arguments: Any, **options: Any) -> None:
        """Append rows."""
        _patiently(lambda: super(SharedTables, self).append_partition(*arguments, **options))


def _patiently(work: Callable[[], Any]) -> Any:
    end = time.monotonic() + _PATIENCE
    pause = _PAUSE
    while True:
        try:
            return work()
        except Exception as error:
            if not may_pass(error) or time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
