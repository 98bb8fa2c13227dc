"""The catalog in a folder of one's own: a Tiled server inside this process."""

from __future__ import annotations

import copy
import gc
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saxs_bluesky.catalog._clients import SPEC, clients, with_own_v1
from saxs_bluesky.catalog._errors import words
from saxs_bluesky.catalog._group import share_with_group
from saxs_bluesky.catalog._new_database import create_database
from saxs_bluesky.catalog._place import put_right
from saxs_bluesky.catalog._root_map import MappedAdapter, RootMap, mapped_exporter, remember
from saxs_bluesky.catalog._sqlite import let_share, wait_for_locks
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.support.program_end import end_first


def from_folder(
    folder: Path, readable: Sequence[str | Path], root_map: RootMap | None = None, *, group: bool = False
) -> Any:
    """Open the catalog of a folder, or make one."""
    try:
        (folder / "arrays").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"{folder}: wanted a folder for a catalog, found {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CatalogError(f"{folder}: wanted a folder that can be written, found one without the permission")
    with warnings.catch_warnings():
        # Tiled embeds its server through starlette's test client, which announces a successor of httpx.
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette")
        import starlette.testclient  # noqa: F401
    from tiled.client import from_context
    from tiled.client.context import Context
    from tiled.server.app import build_app

    if not (folder / "catalog.db").exists():
        create_database(folder / "catalog.db")
    let_share(folder, [folder / "catalog.db", folder / "tables.db"])
    put_right(folder)
    if group:
        share_with_group(folder)
    root_map = root_map or RootMap(is_served=True)
    # An embedded server that starts is no news for the user.
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    try:
        app = build_app(_tree(folder, readable, root_map), serialization_registry=_serializers(root_map))
        catalog = with_own_v1(from_context(Context.from_app(app), clients()))
    except Exception as error:  # whatever SQLAlchemy, Alembic and the server raise at what lies in the folder
        raise CatalogError(f"{folder}: the catalog cannot be opened: {words(error)}") from error
    remember(catalog, root_map)
    # Hundreds of thousands of objects were loaded, and stay: to look through them takes the collector of garbage a
    # second on a slow computer, in the middle of a scan and several times when the program ends.
    gc.freeze()
    end_first()  # what is in hand at the program's end is delivered before the embedded server ends
    return catalog


def _tree(folder: Path, readable: Sequence[str | Path], root_map: RootMap) -> Any:
    from tiled.catalog import from_uri
    from tiled.catalog.adapter import STORAGE_ADAPTERS_BY_MIMETYPE
    from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE
    from tiled.storage import parse_storage

    from saxs_bluesky.catalog._tables_adapter import MIMETYPE, SharedTables

    # Tiled has one list of what makes tables, for all servers of a process; elsewhere it only tries again, too.
    STORAGE_ADAPTERS_BY_MIMETYPE.set(MIMETYPE, lambda: SharedTables)
    tables = f"sqlite:///{folder / 'tables.db'}"
    roots = [root for pair in root_map.folders.items() for root in pair]
    tree = from_uri(
        f"sqlite:///{folder / 'catalog.db'}",
        writable_storage=[str(folder / "arrays"), tables],
        readable_storage=[*map(str, readable), *roots],
        specs=[SPEC],
        adapters_by_mimetype={kind: MappedAdapter(kind, root_map) for kind in DEFAULT_ADAPTERS_BY_MIMETYPE}
        | {MIMETYPE: SharedTables},
    )
    # The very object that the tree has: Tiled has one for each address.
    wait_for_locks(tree.context.engine, parse_storage(tables)._connection_pool)  # noqa: SLF001 - no other way in
    return tree


def _serializers(root_map: RootMap) -> Any:
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from tiled.media_type_registration import default_serialization_registry

    registry = copy.deepcopy(default_serialization_registry)
    # Without it run.documents() finds no exporter; Tiled's own servers get it from their configuration.
    registry.register("BlueskyRun", "application/json-seq", mapped_exporter(json_seq_exporter, root_map))
    return registry
