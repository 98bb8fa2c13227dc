"""Catalogs whose processes are killed at random, for load tests: on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.helpers.ports import free_port
from tests.helpers.postgres import Postgres
from tests.helpers.tiled_servers import TiledOnPostgres
from tests.helpers.waiting import PATIENCE, until

_SQLITE_SERVER = """
import sys
import uvicorn
from tiled.catalog import from_uri
from tiled.config import Authentication
from tiled.media_type_registration import default_serialization_registry
from tiled.server.app import build_app
from bluesky_tiled_plugins.exporters import json_seq_exporter

folder, port = sys.argv[1:]
tree = from_uri(
    f"sqlite:///{folder}/catalog.db",
    writable_storage=[f"{folder}/arrays", f"sqlite:///{folder}/tables.db"],
    init_if_not_exists=True,
    specs=[{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
)
default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
app = build_app(tree, authentication=Authentication(single_user_api_key="secret"))
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="critical")
"""


class SqliteStore:
    """A Tiled server on SQLite.

    Parameters
    ----------
    folder
        For its files.
    """

    key = "secret"

    def __init__(self, folder: Path) -> None:
        (folder / "arrays").mkdir(parents=True)
        self._folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}/api/v1"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        if self._process is None:
            command = [sys.executable, "-c", _SQLITE_SERVER, str(self._folder), str(self._port)]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/", timeout=5.0).is_success
        except httpx.HTTPError:
            return False

    def disturb(self, chance: random.Random) -> str:
        """Kill a process, and start it again after a while; return what was done."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process = None
        time.sleep(chance.uniform(0, 3))
        self.start()
        return "killed Tiled"

    def close(self) -> None:
        """End its processes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)


class PostgresStore:
    """A Tiled server on PostgreSQL, as documented.

    Parameters
    ----------
    folder
        For the server's arrays.
    postgres
        Running.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self._postgres = postgres
        self._tiled = TiledOnPostgres(folder, postgres)
        self.uri, self.key = self._tiled.uri, self._tiled.key

    def start(self) -> None:
        """Start Tiled, and wait until it answers."""
        self._tiled.start()

    def disturb(self, chance: random.Random) -> str:
        """Kill a process, and start it again after a while; return what was done."""
        acts: list[Callable[[], Any]] = [self._kill_tiled, self._kill_postgres, self._restart_postgres, self._vacuum]
        act = chance.choice(acts)
        act()
        time.sleep(chance.uniform(0, 3))
        if not self._postgres.runs:
            self._postgres.start()
        if not self._tiled.runs:
            self._tiled.start()
        return act.__name__

    def _kill_tiled(self) -> None:
        self._tiled.kill()

    def _kill_postgres(self) -> None:
        self._postgres.kill()

    def _restart_postgres(self) -> None:
        self._postgres.kill(signal.SIGINT)

    def _vacuum(self) -> None:
        self._postgres.execute("VACUUM", "tiled_tables")

    def close(self) -> None:
        """End its processes."""
        self._tiled.kill()
