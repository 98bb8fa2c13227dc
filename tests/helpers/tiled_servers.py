"""Tiled servers in processes of their own, as the documentation sets them up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.helpers.ports import free_port
from tests.helpers.postgres import Postgres
from tests.helpers.waiting import PATIENCE, until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tiled-server.md"


def documented(language: str) -> list[str]:
    """The blocks of a language on the documentation's page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


class TiledOnPostgres:
    """The server of the documentation: catalog and tables in PostgreSQL, arrays in a folder, a key.

    Parameters
    ----------
    folder
        For arrays, configuration and log.
    postgres
        Is running; gets the two databases.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}/api/v1"
        self.log = folder / "log"
        self._config = folder / "config.yml"
        (sql,), (config,) = documented("sql"), documented("yaml")
        # One statement at a time: CREATE DATABASE wants to be alone.
        for statement in sql.strip().splitlines():
            postgres.execute(statement)
        for shown, own in {
            ":5432/": f":{postgres.port}/",
            "port: 8000": f"port: {self.port}",
            "/srv/tiled/arrays": str(folder / "arrays"),
            "- /data": "- /",
        }.items():
            assert shown in config, shown
            config = config.replace(shown, own)
        self._config.write_text(config)
        self._environment = dict(re.findall(r"export (\w+)=(\w[\w-]*)", "".join(documented("bash"))))
        self.key = self._environment.pop("TILED_API_KEY")
        assert self._environment["TILED_SINGLE_USER_API_KEY"] == self.key
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it; ``wait`` until it answers."""
        command = [sys.executable, "-m", "tiled", "serve", "config", str(self._config)]
        with self.log.open("ab") as log:
            environment = os.environ | self._environment
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        if wait:
            until(self.answers, lambda: self.log.read_text()[-2000:])

    @property
    def runs(self) -> bool:
        """Whether it was started, and not killed since."""
        return self._process is not None

    def answers(self) -> bool:
        """Whether it answers now."""
        headers = {"Authorization": f"Apikey {self.key}"}
        try:
            return httpx.get(f"{self.uri}/metadata/", headers=headers, timeout=5.0).is_success
        except httpx.HTTPError:
            return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None
