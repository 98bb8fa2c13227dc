"""The place of an embedded catalog: Tiled keeps absolute addresses, which a moved or copied folder makes wrong."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

_log = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds for locks of other processes
# What Tiled itself has written: files that raw runs refer to stay where they are.
_OWN = """
SELECT DISTINCT assets.id, assets.data_uri FROM assets
JOIN data_source_asset_association AS association ON association.asset_id = assets.id
JOIN data_sources ON data_sources.id = association.data_source_id
WHERE data_sources.management = 'writable'
AND substr(assets.data_uri, 1, ?) != ? AND assets.data_uri != ?
"""


def put_right(folder: Path) -> None:
    """Let the catalog of a folder that was moved or copied refer to its own arrays and tables.

    So a moved one can be read, and a copy touches nothing of the original. Arrays that are not in the folder go on
    being looked for where they were; a warning tells of them.

    Parameters
    ----------
    folder
        Has ``catalog.db``, ``tables.db`` and ``arrays``.
    """
    arrays, tables = _addresses(folder)
    try:
        with closing(sqlite3.connect(folder / "catalog.db", timeout=_TIMEOUT)) as connection, connection:
            foreign = connection.execute(_OWN, (len(arrays), arrays, tables)).fetchall()
            elsewhere = [uri for number, uri in foreign if not _put_one_right(connection, folder, number, uri)]
    except sqlite3.DatabaseError as error:
        _log.debug("%s: the places of its arrays cannot be looked at: %s", folder, error)
        return
    if len(foreign) > len(elsewhere):
        _log.info("%s: the catalog was at another place; it refers to its own arrays and tables now", folder)
    if elsewhere:
        _log.warning(
            "%s: %d arrays or tables of its runs are not in the folder but at another place, such as %s: close the "
            "catalog, copy them into the folder (arrays, tables.db), and open it again",
            folder,
            len(elsewhere),
            elsewhere[0],
        )


def _put_one_right(connection: sqlite3.Connection, folder: Path, number: int, uri: str) -> bool:
    own = next(_own_places(folder, uri), None)
    if own is None:
        return False
    there = connection.execute("SELECT id FROM assets WHERE data_uri = ?", (own,)).fetchone()
    if there is None:
        connection.execute("UPDATE assets SET data_uri = ? WHERE id = ?", (own, number))
    else:
        connection.execute(
            "UPDATE data_source_asset_association SET asset_id = ? WHERE asset_id = ?", (there[0], number)
        )
        connection.execute("DELETE FROM assets WHERE id = ?", (number,))
    return True


def _own_places(folder: Path, uri: str) -> Iterator[str]:
    """Addresses in the folder of what lies at the same place in it as an address tells, as far as it exists."""
    arrays, tables = _addresses(folder)
    if uri.startswith("sqlite:"):
        if uri.endswith("/tables.db") and (folder / "tables.db").is_file():
            yield tables
        return
    parts = urlsplit(uri).path.split("/arrays/")
    for index in range(1, len(parts)):
        inside = "/arrays/".join(parts[index:])
        if (folder / "arrays" / inside).exists():
            yield f"{arrays}{inside}"


def _addresses(folder: Path) -> tuple[str, str]:
    """How Tiled writes where the arrays and the tables are."""
    from tiled.utils import ensure_uri

    return f"{ensure_uri(str(folder / 'arrays'))}/", ensure_uri(f"sqlite:///{folder / 'tables.db'}")
