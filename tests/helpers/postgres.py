"""A real PostgreSQL for tests, with its data in a folder of its own, on a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE, until

USER = "postgres"  # of whom the server is, where the tests run as root: PostgreSQL refuses that


def program(name: str) -> str | None:
    """Where a program of PostgreSQL is: in the search path, or where Debian puts it."""
    found = [shutil.which(name), *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True))]
    return next((path for path in found if path), None)


def missing() -> str:
    """What PostgreSQL lacks on this machine; empty: nothing."""
    for name in ("initdb", "postgres", "psql"):
        if program(name) is None:
            return f"needs PostgreSQL's {name} (apt-get install postgresql)"
    if os.getuid() == 0:
        if shutil.which("runuser") is None:
            return "needs runuser to start PostgreSQL, which refuses to run as root"
        try:
            pwd.getpwnam(USER)
        except KeyError:
            return f"needs the user {USER} to start PostgreSQL, which refuses to run as root"
    return ""


class Postgres:
    """A server that can be killed and started again.

    Parameters
    ----------
    folder
        Where its data go; all folders above it must let other users through.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._data = folder / "data"
        folder.mkdir()
        if os.getuid() == 0:
            shutil.chown(folder, USER)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "root", "-E", "UTF8", "--locale=C", "-N")
        access = self._data / "pg_hba.conf"
        # The superuser comes in as he is; all others need their password.
        mine = "host all root 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        access.write_text(mine + access.read_text())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", f"port={self.port}"]
        with (self._data.parent / "log").open("ab") as log:
            command = [*_as_user(), str(program("postgres")), "-D", str(self._data), *options]
            # A session of its own: runuser passes on no SIGKILL, so the server itself is looked up and killed.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
        until(self._answers, lambda: (self._data.parent / "log").read_text()[-2000:])

    @property
    def runs(self) -> bool:
        """Whether it was started, and not killed since."""
        return self._process is not None

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Execute statements as the superuser, and return what they print."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "root", "-d", database]
        command = [str(program("psql")), *address, "-v", "ON_ERROR_STOP=1", "-qAtX"]
        made = subprocess.run(command, input=sql, capture_output=True, text=True, check=True, cwd="/")
        return made.stdout

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it with all its processes, as a power cut does (with SIGINT: as an administrator does)."""
        if self._process is None:
            return
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, number)
        self._process.wait(PATIENCE)
        self._process = None
        # Its children see that it has gone, and go; until then the memory that they share is in use.
        end = time.monotonic() + PATIENCE
        while _is_used(self._data):
            assert time.monotonic() < end, "processes of PostgreSQL outlive it"
            time.sleep(0.05)

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run([*_as_user(), str(program(name)), *arguments], check=True, capture_output=True, cwd="/")


def _as_user() -> list[str]:
    return ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []


def _is_used(data: Path) -> bool:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cwd").readlink() == data:
                    return True
            except OSError:
                continue
    return False
