"""Catalogs opened and closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saxs_bluesky.catalog._embedded import from_folder
from saxs_bluesky.catalog._root_map import Folders, RootMap, remember, root_map_of
from saxs_bluesky.catalog._server import from_server
from saxs_bluesky.errors import CatalogError

_embedded: dict[Path, Any] = {}
_lock = threading.RLock()


def open_catalog(
    where: str | Path,
    *,
    readable: Sequence[str | Path] = ("/",),
    root_map: Folders | None = None,
    group: bool = False,
) -> Any:
    """Open a catalog of Bluesky runs; databroker's ways of asking it work: ``catalog[-1]``, ``catalog.v1[-1].table()``.

    A folder holds an embedded Tiled catalog (SQLite, and one folder of arrays), made on first use, which takes some
    seconds. Opened twice in one process, a folder has one server. Several processes may read and write one folder:
    SQLite makes them wait for each other. Where many write at once, or over NFS, use a Tiled server.

    Parameters
    ----------
    where
        A folder, or the URI of a Tiled catalog (``http://host:8000/api/v1``). The server's key is taken from the
        environment variable ``TILED_API_KEY``, or out of a URI that has it (``?api_key=``); it is sent as a header.
    readable
        Folders from which an embedded catalog hands out the files that raw runs refer to. All by default: it serves
        the user who opened it, who could read them anyway.
    root_map
        Where files of raw runs are now that were moved: new folders by old ones, such as ``{"/raid": "/archive"}``.
        An embedded catalog reads them there; of a Tiled server, whose own files they are, `reduce_run` alone does.
    group
        Whether the group of an embedded catalog's folder may write to all that is and will be in it.

    Returns
    -------
    A ``bluesky_tiled_plugins.CatalogOfBlueskyRuns``.

    Raises
    ------
    CatalogError
        The folder cannot be written, the server does not answer, or what it serves is no catalog of Bluesky runs.
    """
    if isinstance(where, str) and "://" in where:
        catalog = from_server(where)
        remember(catalog, RootMap(root_map))
        return catalog
    folder = Path(where).expanduser().resolve()
    with _lock:
        if folder not in _embedded:
            _embedded[folder] = from_folder(folder, readable, RootMap(root_map, is_served=True), group=group)
        elif root_map is not None:
            root_map_of(_embedded[folder]).replace(root_map)
        return _embedded[folder]


def why_away(where: str | Path) -> str:
    """Why a catalog cannot be used now; empty where nothing is seen that speaks against it.

    A server is asked; of a folder, which takes seconds to open, only the rights are looked at.

    Parameters
    ----------
    where
        Folder of a catalog, or address of a Tiled server.

    Returns
    -------
    The reason, in one line.
    """
    if isinstance(where, str) and "://" in where:
        try:
            from_server(where).context.close()
        except CatalogError as error:
            return str(error)
        return ""
    folder = Path(where).expanduser().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return f"{there} is not a folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written"


def close_catalog(where: str | Path) -> None:
    """Close the embedded catalog of a folder, with its threads and database connections; a closed one stays closed."""
    with _lock:
        catalog = _embedded.pop(Path(where).expanduser().resolve(), None)
        if catalog is not None:
            catalog.context.close()
