"""The catalog in a folder of one's own: a Tiled server inside this process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saxs_bluesky.catalog._clients import SPEC, clients, with_own_v1
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.program_end import end_first


def from_folder(folder: Path, readable: Sequence[str | Path]) -> Any:
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
    from tiled.catalog import from_uri
    from tiled.client import from_context
    from tiled.client.context import Context
    from tiled.server.app import build_app

    database = folder / "catalog.db"
    if not database.exists():
        _create_database(database)
    tree = from_uri(
        f"sqlite:///{database}",
        writable_storage=[str(folder / "arrays"), f"sqlite:///{folder / 'tables.db'}"],
        readable_storage=[str(path) for path in readable],
        specs=[SPEC],
    )
    # An embedded server that starts is no news for the user.
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    app = build_app(tree, serialization_registry=_serializers())
    try:
        catalog = with_own_v1(from_context(Context.from_app(app), clients()))
    except Exception as error:  # whatever SQLAlchemy, Alembic and the server raise at what lies in the folder
        raise CatalogError(f"{folder}: wanted a catalog that opens, found {error}") from error
    end_first()  # what is in hand at the program's end is delivered before the embedded server ends
    return catalog


def _create_database(database: Path) -> None:
    """Let Tiled make the tables under another name, so that no process ever sees half of them."""
    draft = database.with_name(f".{database.name}.{os.getpid()}")
    command = [sys.executable, "-m", "tiled", "catalog", "init", f"sqlite:///{draft}"]
    # In a folder that is there, as the current one may not be.
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=database.parent)  # noqa: S603 - no user's words in it
    try:
        if made.returncode:
            raise CatalogError(f"{database}: wanted a new database, found {made.stderr.strip()[-500:]}")
        database.hardlink_to(draft)
    except FileExistsError:
        pass  # another process made it meanwhile
    finally:
        draft.unlink(missing_ok=True)


def _serializers() -> Any:
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from tiled.media_type_registration import default_serialization_registry

    # Without it run.documents() finds no exporter; Tiled's own servers get it from their configuration.
    default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
    return default_serialization_registry
