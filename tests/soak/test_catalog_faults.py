"""Minutes of killed writers, full disks, locks and restarts: each run is in the catalog with what it had."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.catalog import close_catalog, open_catalog
from tests.helpers.catalog_writing import data_of
from tests.helpers.repository import ROOT
from tests.helpers.tiled_servers import TiledOnPostgres

# A process that is killed in the midst of an answer leaves its client with a connection that nobody closes.
pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

SECONDS = float(os.environ.get("SAXS_SOAK_SECONDS", "150"))


@dataclass(frozen=True)
class Store:
    """A catalog, and what can befall it; each fault begins, lasts and ends within its call."""

    where: str
    faults: list[Callable[[random.Random], None]]


_HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """An embedded catalog, on a small disk where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], check=False)
    folder = disk / "catalog"
    open_catalog(folder)
    close_catalog(folder)

    def lock(chance: random.Random) -> None:
        command = [sys.executable, "-c", _HOLD, str(folder / chance.choice(["catalog.db", "tables.db"]))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            time.sleep(chance.uniform(1, 12))
            other.kill()

    def fill(chance: random.Random) -> None:
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(65536)):
                    pass
            except OSError:
                file.truncate(max(0, filler.stat().st_size - chance.choice([0, 10_000, 100_000])))
        time.sleep(chance.uniform(1, 5))
        filler.unlink()

    yield Store(str(folder), [lock] if mounted.returncode else [lock, fill])
    if not mounted.returncode:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def postgresql(tiled_on_postgres: TiledOnPostgres, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A Tiled server with both databases in PostgreSQL, of which each may die."""
    monkeypatch.setenv("TILED_API_KEY", tiled_on_postgres.key)

    def server_dies(chance: random.Random) -> None:
        tiled_on_postgres.kill()
        time.sleep(chance.uniform(0, 3))
        tiled_on_postgres.start()

    def database_dies(chance: random.Random) -> None:
        postgres.kill()
        time.sleep(chance.uniform(0, 8))
        postgres.start()

    return Store(tiled_on_postgres.uri, [server_dies, database_dies])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_run_holds_every_event_with_its_own_values(kind, tmp_path, request):
    store: Store = request.getfixturevalue(kind)
    elsewhere = set() if kind == "sqlite" else set(open_catalog(store.where))  # runs of other tests on the server
    seed = int(os.environ.get("SAXS_SOAK_SEED", str(time.time_ns() % 10**6)))
    chance = random.Random(seed)
    end = time.monotonic() + SECONDS
    killed = 0
    while time.monotonic() < end:
        writer = begin(tmp_path, store, seed + killed)
        for _ in range(chance.randrange(3)):
            time.sleep(chance.uniform(2, 6))
            chance.choice(store.faults)(chance)
        time.sleep(chance.uniform(2, 8))
        assert writer.poll() is None, f"the writer ended by itself (seed {seed})"
        writer.kill()
        writer.wait()
        killed += 1
    (tmp_path / "stop").touch()
    assert begin(tmp_path, store, seed + killed).wait(600) == 0, f"not all was delivered (seed {seed})"
    assert not (tmp_path / "journal" / "rejected").exists()
    assert not list((tmp_path / "journal").glob("*.jsonl"))
    catalog = open_catalog(store.where)
    ends = [assert_right(run) for key, run in catalog.items() if key not in elsewhere]
    assert ends.count("success") > killed  # or the test has tested little
    assert set(ends) == {"success", "abort"}
    if kind == "sqlite":
        close_catalog(store.where)
    else:
        catalog.context.close()


def begin(folder: Path, store: Store, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.helpers.catalog_writing", str(folder), store.where, str(seed)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)


def assert_right(run: Any) -> str:
    """Look at a run of the catalog; return how it ended."""
    uid, stop = run.metadata["start"]["uid"], run.metadata["stop"]
    count = stop["num_events"].get("primary", 0)
    if not count:
        return str(stop["exit_status"])
    stream = run.base["primary"].base
    table = stream["internal"].read()
    assert table["seq_num"].tolist() == list(range(1, count + 1)), uid
    expected = [data_of(uid, number) for number in range(1, count + 1)]
    for key in ("x", "n", "text"):
        assert table[key].tolist() == [data[key] for data in expected], (uid, key)
    np.testing.assert_array_equal(stream["curve"].read(), [data["curve"] for data in expected])
    return str(stop["exit_status"])
