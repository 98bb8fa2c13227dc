from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count, scan
from bluesky_tiled_plugins import TiledWriter
from bluesky_tiled_plugins.queries import TimeRange
from ophyd.sim import det, motor
from tiled.queries import FullText, Key

from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves, reduced_runs
from saxs_bluesky.errors import CatalogError
from tests.helpers.runs import reduced, write
from tests.helpers.waiting import until


def test_curves_come_back_bit_for_bit(catalog, reducer, frames):
    write(catalog, reduced(reducer, frames, "raw-exact"))
    found = read_curves(reduced_runs(catalog, "raw-exact")[-1])
    for index, frame in enumerate(frames):
        for curve in reducer.reduce(frame):
            for name in ("intensity", "sigma"):
                np.testing.assert_array_equal(found[f"{curve.name}_{name}"][index], getattr(curve, name), strict=False)
        radial = reducer.reduce(frame)[0]
        assert found.R0_I0[index] == radial.integral.I0
        assert found.R0_correlation_length[index] == radial.integral.correlation_length
    np.testing.assert_array_equal(found.R0_q, radial.axis)
    assert found.R0_intensity.dims == ("frame", "R0_q")
    assert found.sizes["frame"] == 5
    assert found.frame.values.tolist() == [0, 1, 2, 3, 4]


def test_units_and_origin_come_along(catalog, reducer, frames):
    found = read_curves(write(catalog, reduced(reducer, frames[:1], "raw-units")))
    assert found.R0_q.attrs["units"] == "1/nm"
    assert found.R0_intensity.attrs["units"] == "counts/pixel"
    assert found.R0_I1.attrs["units"] == "counts/pixel/nm^2"
    assert found.attrs["original_run_uid"] == "raw-units"
    assert found.attrs["original_scan_id"] == 7
    assert found.attrs["calibration"] == "small"
    assert found.attrs["sample"] == "water"


def test_scanned_motor_is_a_coordinate_of_the_frame(catalog, reducer, frames):
    found = read_curves(write(catalog, reduced(reducer, frames, "raw-motor")))
    assert found.stage_x.dims == ("frame",)
    assert "stage_x" in found.coords
    assert found.stage_x.attrs["units"] == "mm"
    assert found.stage_x.values.tolist() == [0.0, 0.1, 0.2, 0.1 * 3, 0.4]


def test_failed_frame_says_why(catalog, reducer, frames):
    found = read_curves(write(catalog, reduced(reducer, [frames[0], None, frames[1]], "raw-failed")))
    assert found.failure.values.tolist() == ["", "no such file", ""]
    assert np.isnan(found.R0_intensity[1]).all()
    assert np.isnan(found.R0_I0[1])
    assert found.frame_index.values.tolist() == [0, 1, 2]


def test_open_run_is_read_as_far_as_it_is_written(catalog, reducer, frames):
    documents = reduced(reducer, frames, "raw-open")
    run = write(catalog, documents[:-2])
    assert "stop" not in run.metadata
    assert read_curves(run).sizes["frame"] == 4


def test_run_without_events_has_axes_and_no_frames(catalog, reducer):
    found = read_curves(write(catalog, reduced(reducer, [], "raw-none")[:-1]))
    assert dict(found.sizes) == {"frame": 0, "R0_q": 61, "S1_q_h": 80}
    assert found.R0_intensity.shape == (0, 61)


def test_arrays_that_came_before_their_rows_wait(catalog, reducer, frames):
    run = write(catalog, reduced(reducer, frames, "raw-ahead")[:-2])
    array = run.base["primary"].base["R0_intensity"]
    array.patch(np.ones((1, array.shape[1])), offset=(4,), extend=True)
    assert read_curves(run).R0_intensity.shape[0] == 4


def test_reduced_runs_are_oldest_first(catalog, reducer, frames):
    documents = [reduced(reducer, frames[:1], "raw-twice") for _ in range(2)]
    for own in reversed(documents):
        write(catalog, own)
    assert [run.start["uid"] for run in reduced_runs(catalog, "raw-twice")] == [own[0][1]["uid"] for own in documents]
    assert reduced_runs(catalog, "raw-none-such") == []


def test_missing_stream_is_named(catalog, reducer, frames):
    run = write(catalog, reduced(reducer, frames[:1], "raw-stream"))
    with pytest.raises(CatalogError, match="wanted stream dark, found primary"):
        read_curves(run, "dark")


def test_databroker_ways_of_asking(catalog, reducer, frames):
    engine = RunEngine()
    engine.subscribe(TiledWriter(catalog))
    before = time.time()
    (uid,) = engine(scan([det], motor, -1, 1, 3), sample="silver behenate")
    (second,) = engine(count([det], 2), sample="kapton")
    assert catalog[-1].start["uid"] == second
    assert catalog[uid].start["sample"] == "silver behenate"
    scan_id = catalog[uid].start["scan_id"]
    curves = write(catalog, reduced(reducer, frames[:1], uid, scan_id=scan_id))
    assert catalog[scan_id].start["uid"] == uid
    assert catalog.v1[uid].table()["motor"].tolist() == [-1.0, 0.0, 1.0]
    assert catalog.v1[-1].table()["R0_I0"].size == 1
    assert [header.start["uid"] for header in catalog.v1(sample="kapton")] == [second]
    assert len(catalog.search(Key("original_run_uid") == uid)) == 1
    assert set(catalog.search(TimeRange(since=before))) == {uid, second, curves.start["uid"]}
    assert second in set(catalog.search(FullText("kapton")))
    assert [name for name, _ in catalog[second].documents()][::3] == ["start", "event"]
    assert catalog[uid]["primary"].read()["motor"].values.tolist() == [-1.0, 0.0, 1.0]  # after v1 as before
    with pytest.raises(CatalogError, match="wanted a reduced run"):
        read_curves(catalog[uid])


def test_folder_has_one_server_in_a_process(catalog_folder, catalog):
    assert open_catalog(str(catalog_folder)) is catalog


def test_second_process_writes_to_the_same_folder(catalog_folder, catalog):
    code = (
        "from saxs_bluesky.catalog import open_catalog, close_catalog; import sys\n"
        "catalog = open_catalog(sys.argv[1]); catalog.create_container('from-outside', metadata={'start': {}})\n"
        "close_catalog(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(catalog_folder)], check=True, capture_output=True)
    assert "from-outside" in list(catalog)
    catalog.delete_contents("from-outside")


def test_closed_catalog_leaves_nothing_and_opens_again(tmp_path, reducer, frames):
    before = set(threading.enumerate())
    catalog = open_catalog(tmp_path)
    write(catalog, reduced(reducer, frames[:1], "raw"))
    close_catalog(tmp_path)
    # What remains are zarr's own threads, one set in a process. The embedded server's end when they are next awake.
    zarrs = ("asyncio_", "ThreadPoolExecutor")

    def ours() -> list[str]:
        names = [thread.name for thread in set(threading.enumerate()) - before]
        return [name for name in names if "zarr" not in name and not name.startswith(zarrs)]

    until(lambda: not ours(), lambda: f"{ours()} did not end")
    held = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [path for path in held if path.startswith(str(tmp_path))]
    assert read_curves(open_catalog(tmp_path)[-1]).sizes["frame"] == 1
    close_catalog(tmp_path)
    close_catalog(tmp_path)


def test_folder_that_cannot_be_made_is_named():
    with pytest.raises(CatalogError, match=r"/proc/catalog: wanted a folder for a catalog, found No such file"):
        open_catalog("/proc/catalog")


def test_folder_with_something_else_in_place_of_the_database_is_named(tmp_path):
    (tmp_path / "catalog.db").write_text("not a database, but long enough to be looked at by SQLite" * 10)
    with pytest.raises(CatalogError, match="the catalog cannot be opened"):
        open_catalog(tmp_path)


def test_server_that_does_not_answer_is_named():
    begin = time.monotonic()
    with pytest.raises(CatalogError, match=r"http://127.0.0.1:9/api/v1: wanted a Tiled server that answers"):
        open_catalog("http://127.0.0.1:9/api/v1")
    assert time.monotonic() - begin < 5
