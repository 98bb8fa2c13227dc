"""The SQLite databases of an embedded catalog, as several processes share them."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_BUSY_SECONDS = 30.0  # for which a process waits for a lock of another
# Where processes of several computers may have a file: a write-ahead log lives in memory that they do not share
# (https://www.sqlite.org/wal.html).
_NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"),
    *("fuse.ceph", "fuse.glusterfs", "fuse.sshfs"),
}


def let_share(folder: Path, databases: list[Path]) -> None:
    """Let readers and one writer at a time go on beside each other, where the file system allows it."""
    mode = "DELETE" if _file_system(folder) in _NETWORK else "WAL"
    for database in databases:
        try:
            with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection:
                (found,) = connection.execute("PRAGMA journal_mode").fetchone()
                if found.upper() != mode:
                    connection.execute(f"PRAGMA journal_mode={mode}")
        # Another process has it open in its own mode, which works too; or it is no database, which Tiled tells.
        except sqlite3.DatabaseError as error:
            _log.debug("%s keeps its journal mode: %s", database, error)


def wait_for_locks(engine: Any, pool: Any) -> None:
    """Let connections wait for locks of other processes, instead of failing at once or after some seconds.

    Parameters
    ----------
    engine
        SQLAlchemy's, of the catalog.
    pool
        Of connections to the tables, whose driver does not wait at all unless told to.
    """
    from sqlalchemy import event

    def wait(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA busy_timeout={int(1000 * _BUSY_SECONDS)}")
            cursor.fetchall()
        finally:
            cursor.close()
        connection.commit()

    event.listen(engine.sync_engine, "connect", wait)
    event.listen(pool, "connect", wait)


def _file_system(folder: Path) -> str:
    """Type of the file system that a folder is on; empty where it cannot be told."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in mounts:
        place, found = line.split(" ")[1:3]
        place = place.encode().decode("unicode_escape", errors="replace")
        inside = f"{folder}/".startswith(place if place.endswith("/") else f"{place}/")
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind
