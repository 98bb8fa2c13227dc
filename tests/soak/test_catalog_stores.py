"""Runs written, while processes of the catalog die at random: all come back, each curve with its frame."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.callbacks import CatalogWriter
from saxs_bluesky.catalog import open_catalog, read_curves
from saxs_bluesky.documents import FrameTask, ReducedRunComposer
from saxs_bluesky.reduction import Calibration, Curve, Reducer
from tests.helpers.calibrations import small_document
from tests.helpers.postgres import Postgres, missing
from tests.helpers.stores import PostgresStore, SqliteStore
from tests.helpers.waiting import until

# A process that is killed in the midst of an answer leaves its client with a connection that nobody closes.
pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

SECONDS = float(os.environ.get("SAXS_SOAK_SECONDS", "120"))
FRAMES = 40
LEAST_KILLS = 4  # processes are killed at least as often
LONGEST = 600.0  # seconds for what waits at the end
X = {"stage_x": {"dtype": "number", "shape": [], "source": "SIM:x", "units": "mm"}}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore | PostgresStore]:
    if request.param == "sqlite":
        with closing(SqliteStore(tmp_path / "store")) as sqlite:
            sqlite.start()
            yield sqlite
        return
    if what := missing():
        pytest.skip(what)
    with tempfile.TemporaryDirectory(prefix="saxs-postgres-") as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder) / "postgres")
        postgres.start()
        try:
            with closing(PostgresStore(tmp_path / "store", postgres)) as server:
                server.start()
                yield server
        finally:
            postgres.kill()


def one_run(reducer: Reducer, number: int) -> Iterator[tuple[str, Any]]:
    """Documents of a run whose every value tells which frame it belongs to."""
    run = ReducedRunComposer({"uid": f"raw-{number}", "time": time.time()}, "pilatus", reducer)
    yield run.start
    yield from run.describe("primary", X)
    shape = reducer.template[0]
    fields = {name: getattr(shape, name) for name in shape.__dataclass_fields__}
    for index in range(FRAMES):
        value = float(1000 * number + index)
        curve = Curve(**(fields | {"intensity": np.full(shape.axis.size, value)}))
        task = FrameTask("pilatus", "primary", index, time.time(), None, coordinates={"stage_x": value})
        yield run.event(task, [curve])
    yield run.stop({"exit_status": "success"})


def test_every_curve_comes_back_with_its_frame(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILED_API_KEY", store.key)
    chance = random.Random(7)
    reducer = Reducer(Calibration.from_dict(small_document()))
    ended = threading.Event()
    done: list[str] = []

    def disturb() -> None:
        while not ended.wait(chance.uniform(1, 6)):
            done.append(store.disturb(chance))

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    uids: list[tuple[int, str]] = []
    end = time.monotonic() + SECONDS
    number = 0
    try:
        while time.monotonic() < end or len(done) < LEAST_KILLS:
            # A session of a few runs; what it cannot deliver at its end, the next one does.
            writer = CatalogWriter(store.uri, journal=tmp_path / "journal", batch_seconds=0.2)
            for _ in range(chance.randint(1, 4)):
                for name, doc in one_run(reducer, number):
                    if name == "start":
                        uids.append((number, doc["uid"]))
                    writer(name, doc)
                    time.sleep(0.02)
                number += 1
            assert writer.wait_for_journal(LONGEST)
            writer.close(chance.choice([0.0, 5.0]))
            until(lambda left=writer: left.has_ended)  # type: ignore[misc] # inside a request, perhaps
    finally:
        ended.set()
        disturbing.join()
    with closing(CatalogWriter(store.uri, journal=tmp_path / "journal")) as writer:
        assert writer.wait(LONGEST), writer.counters
    print(f"{len(uids)} runs; {len(done)} times: {', '.join(sorted(set(done)))}")  # noqa: T201

    catalog = open_catalog(store.uri)
    for number, uid in uids:
        run = catalog[uid]
        assert run.stop["exit_status"] == "success"
        found = read_curves(run)
        expected = 1000.0 * number + np.arange(FRAMES)
        assert found.frame_index.values.tolist() == list(range(FRAMES))
        np.testing.assert_array_equal(found.stage_x, expected)
        np.testing.assert_array_equal(found.R0_intensity[:, 0], expected)
    catalog.context.close()
