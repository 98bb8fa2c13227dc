"""The database of a new catalog."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from saxs_bluesky.errors import CatalogError


def create_database(database: Path) -> None:
    """Let Tiled make its tables under another name, so that no process ever sees half of them.

    Raises
    ------
    CatalogError
        They cannot be made.
    """
    draft = database.with_name(f".{database.name}.{os.getpid()}")
    try:
        # In a thread, since the caller's may have an event loop that runs. Tiled does it by a command in a process of
        # its own, which takes the system as long as all the rest of a first start.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(_fill, f"sqlite+aiosqlite:///{draft}").result()
        database.hardlink_to(draft)
    except FileExistsError:
        pass  # another process made it meanwhile
    except Exception as error:  # whatever SQLAlchemy, Alembic and the system raise
        raise CatalogError(f"{database}: wanted to make a new database, found {error}") from error
    finally:
        for left in (draft, *draft.parent.glob(f"{draft.name}-*")):
            left.unlink(missing_ok=True)


def _fill(uri: str) -> None:
    from alembic import command
    from alembic.config import Config
    from tiled.catalog.alembic_constants import ALEMBIC_DIR

    asyncio.run(_make_tables(uri))
    # Not Tiled's own file of settings, which would put the current folder on the path of modules.
    config = Config()
    config.set_main_option("script_location", ALEMBIC_DIR.replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", uri.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.stamp(config, "head")


async def _make_tables(uri: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.catalog.core import initialize_database

    engine = create_async_engine(uri)
    try:
        await initialize_database(engine)
    finally:
        await engine.dispose()
