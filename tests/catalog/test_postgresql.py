from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.catalog import read_curves, reduce_run, reduced_runs
from saxs_bluesky.catalog.run_writer import RunWriter, normalized
from saxs_bluesky.devices import SimPilatus
from saxs_bluesky.documents import FrameTask, ReducedRunComposer
from saxs_bluesky.reduction import Calibration, Curve, Reducer
from tests.helpers.postgres import Postgres
from tests.helpers.scans import COUNT, Scan, feed
from tests.helpers.tiled_servers import TiledOnPostgres, documented
from tests.helpers.waiting import PATIENCE, until

POINTS = {"stage_x": {"dtype": "number", "shape": [], "source": "SIM:x", "units": "mm"}}


class Writing:
    """A reduced run whose curves, motor and index all tell which frame they belong to, written batch by batch."""

    def __init__(self, catalog: Any, reducer: Reducer, raw_uid: str) -> None:
        self.run = ReducedRunComposer({"uid": raw_uid, "time": 1.7e9}, "pilatus", reducer)
        self.uid = self.run.start[1]["uid"]
        self._shape = reducer.reduce(np.ones((60, 80)))[0]
        self._writer = RunWriter(catalog)
        self._sink = normalized(self._writer)
        for name, doc in (self.run.start, *self.run.describe("primary", POINTS)):
            self._sink(name, doc)
        self.frames = 0

    def batch(self, frames: int, but_not: range = range(0)) -> None:
        for index in range(self.frames, self.frames + frames):
            curve = Curve(**(vars_of(self._shape) | {"intensity": np.full(61, float(index))}))
            task = FrameTask("pilatus", "primary", index, 1.7e9, None, coordinates={"stage_x": float(index)})
            event = self.run.event(task, [curve])
            if index not in but_not:
                self._sink(*event)
        self.frames += frames
        self._writer.flush()

    def stop(self) -> None:
        self._sink(*self.run.stop({"exit_status": "success"}))


def vars_of(curve: Curve) -> dict[str, Any]:
    return {name: getattr(curve, name) for name in curve.__dataclass_fields__}


def rows_as_they_lie(postgres: Postgres, catalog: Any, uid: str) -> list[int]:
    """Numbers of events in the order in which PostgreSQL hands them out where no order is asked for."""
    table = catalog.include_data_sources()[uid].base["primary"].base["internal"]
    parameters = table.data_sources()[0].parameters
    sql = f'SELECT seq_num FROM "{parameters["table_name"]}" WHERE _dataset_id = {parameters["dataset_id"]}'
    return [int(line) for line in postgres.execute(sql, "tiled_tables").splitlines()]


@pytest.fixture
def reducer(document: dict[str, Any]) -> Reducer:
    return Reducer(Calibration.from_dict(document))


def test_curves_stay_with_their_frames_where_rows_fill_the_space_of_deleted_ones(
    postgres: Postgres, tiled_on_postgres: TiledOnPostgres, postgres_catalog: Any, reducer: Reducer
) -> None:
    deleted, kept = (Writing(postgres_catalog, reducer, name) for name in ("raw-deleted", "raw-kept"))
    deleted.batch(100)
    kept.batch(10)
    tiled_on_postgres.kill(signal.SIGTERM)
    postgres.kill(signal.SIGINT)
    postgres.start()
    tiled_on_postgres.start()
    again = Writing(postgres_catalog, reducer, "raw-again")
    again.batch(20)
    postgres_catalog.delete_contents(deleted.uid, recursive=True, external_only=False)
    postgres.execute("VACUUM", "tiled_tables")
    again.batch(60)
    again.batch(60, but_not=range(100, 110))
    again.stop()

    lie = rows_as_they_lie(postgres, postgres_catalog, again.uid)
    assert len(lie) == 130
    assert lie != sorted(lie), "the database has put no row into freed space, so this test shows nothing"
    expected = [*range(100), *range(110, 140)]
    (run,) = reduced_runs(postgres_catalog, "raw-again")
    found = read_curves(run)
    assert found.frame_index.values.tolist() == expected
    assert found.stage_x.values.tolist() == expected
    np.testing.assert_array_equal(found.R0_intensity, np.repeat(expected, 61).reshape(130, 61))

    # Other readers, which ask for no order themselves.
    assert run["primary"].read()["frame_index"].values.tolist() == expected
    assert postgres_catalog.v1[again.uid].table()["frame_index"].tolist() == expected
    events = [doc["data"] for name, doc in run.documents() if name == "event"]
    assert [data["frame_index"] for data in events] == [data["R0_intensity"][0] for data in events] == expected


@pytest.mark.soak  # Tiled's client tries again for most of a minute before it tells
def test_database_of_tables_that_is_away_alone_costs_nothing(
    postgres: Postgres, postgres_catalog: Any, tmp_path: Path
) -> None:
    begun, later = Scan(), Scan()
    with CatalogWriter(postgres_catalog, journal=tmp_path / "journal") as writer:
        feed(writer, *begun.begin(), *begun.events(20))
        assert writer.wait(PATIENCE)
        postgres.execute("ALTER DATABASE tiled_tables ALLOW_CONNECTIONS false")
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tiled_tables'")
        feed(writer, *begun.events(20, COUNT), begun.stop(), *later.begin(), *later.events(COUNT), later.stop())
        until(lambda: writer.counters.failures >= 3)  # more than once, of each run
        assert writer.counters.rejected == 0
        postgres.execute("ALTER DATABASE tiled_tables ALLOW_CONNECTIONS true")
        assert writer.wait(PATIENCE)
    for scan in (begun, later):
        scan.assert_whole(postgres_catalog)
    assert not (tmp_path / "journal" / "rejected").exists()


def test_session_on_the_documented_server(
    tiled_on_postgres: TiledOnPostgres, postgres_catalog: Any, tmp_path: Path
) -> None:
    (example,) = documented("python")
    names: dict[str, Any] = {}
    exec(example.replace("http://127.0.0.1:8000/api/v1", tiled_on_postgres.uri), names)
    catalog = names["catalog"]
    pilatus = SimPilatus("pilatus", tmp_path / "frames", detector="100K")
    with closing(CatalogWriter(catalog, journal=tmp_path / "journal")) as writer:
        reduction = Reduction(pilatus.calibration(), [writer])
        engine = RunEngine({}, call_returns_result=False)
        engine.subscribe(writer)
        engine.subscribe(reduction)
        (uid,) = engine(count([pilatus], 3), sample="water")
        assert reduction.close(PATIENCE)
        assert writer.wait(PATIENCE)
    raw = postgres_catalog[uid]
    assert raw["primary"]["pilatus_image"].read().shape[0] == 3  # from files, through the readable storage
    assert [name for name, _ in raw.documents()].count("event") == 3
    assert postgres_catalog.v1[uid].table()["time"].size == 3
    (run,) = reduced_runs(postgres_catalog, uid)
    (again,) = reduce_run(postgres_catalog, uid, pilatus.calibration())
    found = read_curves(run)
    assert found.frame_index.values.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(read_curves(again).R0_intensity, found.R0_intensity)
    catalog.context.close()
