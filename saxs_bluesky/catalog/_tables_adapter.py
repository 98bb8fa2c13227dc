"""Tables of an embedded catalog, written though other processes write too."""

from __future__ import annotations

from typing import Any

from tiled.adapters.sql import SQLAdapter

from saxs_bluesky.catalog._trouble import patiently

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
        return patiently(lambda: super(SharedTables, cls).init_storage(*arguments, **options), _PATIENCE, _PAUSE)

    def append_partition(self, *arguments: Any, **options: Any) -> None:
        """Append rows."""
        patiently(lambda: super(SharedTables, self).append_partition(*arguments, **options), _PATIENCE, _PAUSE)
