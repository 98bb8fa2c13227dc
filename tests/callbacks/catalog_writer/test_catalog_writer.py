from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
from bluesky import RunEngine
from bluesky.plans import scan
from bluesky_tiled_plugins.writing import tiled_writer
from event_model import compose_run
from ophyd.sim import det, motor
from tiled.client.dataframe import DataFrameClient

from saxs_bluesky.callbacks.catalog_writer import CatalogWriter
from saxs_bluesky.callbacks.catalog_writer._document_lines import decode, encode
from saxs_bluesky.callbacks.catalog_writer._refused_documents import RefusedDocuments
from saxs_bluesky.catalog import open_catalog, read_curves
from saxs_bluesky.catalog.run_writer import RunWriter
from saxs_bluesky.documents import FrameTask, ReducedRunComposer
from saxs_bluesky.errors import CatalogError, OutputError
from saxs_bluesky.reduction import Calibration, Curve, Reducer
from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE, until

NamedDocument = tuple[str, dict[str, Any]]


class Reduced:
    """A reduced run whose frames are made one by one."""

    def __init__(self, document: dict[str, Any], rng: np.random.Generator) -> None:
        self.reducer = Reducer(Calibration.from_dict(document))
        self.run = ReducedRunComposer({"uid": "raw", "time": 1.7e9, "scan_id": 7}, "pilatus", self.reducer)
        self.uid = self.run.start[1]["uid"]
        self.curves: list[Curve] = []
        self.rng = rng

    def begin(self) -> list[NamedDocument]:
        return [self.run.start, *self.run.describe("primary", {})]

    def event(self) -> NamedDocument:
        (curve,) = self.reducer.reduce(self.rng.poisson(20.0, (60, 80)))
        self.curves.append(curve)
        return self.run.event(FrameTask("pilatus", "primary", len(self.curves) - 1, time.time(), None), [curve])

    def stop(self) -> NamedDocument:
        return self.run.stop({"exit_status": "success"})

    def assert_whole(self, run: Any) -> None:
        found = read_curves(run)
        assert found.frame_index.values.tolist() == list(range(len(self.curves)))
        np.testing.assert_array_equal(found.R0_intensity, [curve.intensity for curve in self.curves])
        np.testing.assert_array_equal(found.R0_sigma, [curve.sigma for curve in self.curves])
        assert run.stop["num_events"] == {"primary": len(self.curves)}


@pytest.fixture
def reduced(document: dict[str, Any], rng: np.random.Generator) -> Reduced:
    return Reduced(document, rng)


def feed(writer: CatalogWriter, *documents: NamedDocument) -> None:
    for name, doc in documents:
        writer(name, doc)


def test_curves_are_in_the_catalog_bit_for_bit_and_the_journal_is_empty(catalog, make_writer, reduced, tmp_path):
    writer = make_writer(catalog, batch_events=3)
    documents = [*reduced.begin(), *(reduced.event() for _ in range(7)), reduced.stop()]
    before = copy.deepcopy(documents)
    feed(writer, *documents)
    assert writer.wait(PATIENCE)
    reduced.assert_whole(catalog[reduced.uid])
    for (_, doc), (_, own) in zip(documents, before, strict=True):
        np.testing.assert_equal(doc, own)
    assert not list((tmp_path / "journal").glob("*.jsonl"))
    assert writer.counters.accepted == writer.counters.written == 10
    assert writer.close()


def test_curve_is_visible_while_the_run_goes_on(catalog, make_writer, reduced):
    writer = make_writer(catalog, batch_seconds=1.0)
    feed(writer, *reduced.begin())
    for index in range(3):
        feed(writer, reduced.event())
        # How long it takes is for the benchmarks; here, that nothing else must come before it is there.
        until(lambda: reduced.uid in catalog and list(catalog[reduced.uid].base))
        until(lambda count=index: read_curves(catalog[reduced.uid]).sizes["frame"] > count)
    assert "stop" not in catalog[reduced.uid].metadata


def test_raw_run_whose_motor_begins_with_a_whole_number(catalog, make_writer):
    # ophyd.sim describes a motor that stands at 0 as integer: the first batch makes a column of integers.
    writer = make_writer(catalog, batch_events=1)
    engine = RunEngine()
    engine.subscribe(writer)
    motor.set(0)
    (uid,) = engine(scan([det], motor, 0, 1, 5))
    assert writer.wait(PATIENCE)
    assert catalog.v1[uid].table()["motor"].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert writer.counters.failures == 0


def test_images_of_a_raw_run_are_found_through_resource_and_datum(catalog, make_writer, tmp_path):
    frames = np.arange(2 * 12, dtype=np.int32).reshape(2, 3, 4)
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"frame_{index:05d}.tif", frame)
    run = compose_run()
    image = {"dtype": "array", "shape": [1, 3, 4], "dtype_numpy": "<i4", "source": "SIM", "external": "FILESTORE:"}
    bundle = run.compose_descriptor(name="primary", data_keys={"image": image})
    resource = run.compose_resource(
        spec="AD_TIFF",
        root="/",
        resource_path=str(tmp_path).lstrip("/") + "/",
        resource_kwargs={"template": "%s%s_%05d.tif", "filename": "frame", "frame_per_point": 1},
    )
    writer = make_writer(catalog)
    feed(writer, ("start", run.start_doc), ("descriptor", bundle.descriptor_doc), ("resource", resource.resource_doc))
    for index in range(2):
        datum = resource.compose_datum(datum_kwargs={"point_number": index})
        event = bundle.compose_event(data={"image": datum["datum_id"]}, timestamps={"image": 1.0})
        feed(writer, ("datum", datum), ("event", event))
    feed(writer, ("stop", run.compose_stop()))
    assert writer.wait(PATIENCE)
    assert writer.counters.last_error == ""
    np.testing.assert_array_equal(np.squeeze(catalog[run.start_doc["uid"]]["primary"]["image"].read()), frames)


def test_batch_that_breaks_off_in_the_middle_doubles_nothing(catalog, make_writer, reduced, monkeypatch):
    broken = []

    append = DataFrameClient.append_partition

    def break_off(self: DataFrameClient, partition: int, table: Any) -> None:
        append(self, partition, table)
        if len(broken) < 2:
            broken.append(table.num_rows)
            raise httpx.ReadError("the answer is lost")

    monkeypatch.setattr(DataFrameClient, "append_partition", break_off)
    writer = make_writer(catalog)
    feed(writer, *reduced.begin(), reduced.event(), reduced.event())
    until(lambda: broken)
    feed(writer, reduced.event())
    until(lambda: len(broken) == 2)
    feed(writer, reduced.stop())
    assert writer.wait(PATIENCE)
    reduced.assert_whole(catalog[reduced.uid])
    assert writer.counters.failures == 2
    assert writer.counters.last_error == "the answer is lost"


def test_catalog_that_is_away_costs_nobody_anything(catalog, make_writer, reduced, caplog):
    here = threading.Event()

    def come_and_go() -> Any:
        if not here.is_set():
            raise CatalogError("gone fishing")
        return catalog

    writer = make_writer(come_and_go)
    begin = time.monotonic()
    feed(writer, *reduced.begin(), *(reduced.event() for _ in range(20)), reduced.stop())
    assert not writer.wait(0.3)
    assert time.monotonic() - begin < 2
    assert writer.counters.journaled == 23
    here.set()
    assert writer.wait(PATIENCE)
    reduced.assert_whole(catalog[reduced.uid])
    assert len([r for r in caplog.records if "gone fishing" in r.getMessage()]) == 1


def test_journal_outlives_its_process(catalog, make_writer, reduced, tmp_path, monkeypatch):
    first = make_writer(catalog)
    feed(first, *reduced.begin(), reduced.event(), reduced.event())
    assert first.wait(20)  # half of the run is written
    monkeypatch.setattr(first, "_reach", lambda: False)
    feed(first, reduced.event(), reduced.event())
    until(lambda: first.counters.journaled == 2 and not first._buffer.waiting)
    (file,) = (tmp_path / "journal").glob("*.jsonl")
    with file.open("ab") as journal:
        journal.write(b'["event",{"uid":"torn')
    assert not first.close(timeout=0)
    second = make_writer(catalog)
    feed(second, reduced.event(), reduced.stop())
    assert second.wait(PATIENCE)
    reduced.assert_whole(catalog[reduced.uid])
    assert second.close()
    assert not list((tmp_path / "journal").glob("*.jsonl"))


def test_lost_answer_to_the_stop_document_doubles_nothing(catalog, make_writer, reduced, monkeypatch):
    closed = []

    close = RunWriter._close_stream_tree

    def lose_answer(self: RunWriter) -> None:
        close(self)
        closed.append(self)
        if len(closed) == 1:
            raise httpx.ReadError("the answer is lost")

    monkeypatch.setattr(RunWriter, "_close_stream_tree", lose_answer)
    writer = make_writer(catalog)
    feed(writer, *reduced.begin(), reduced.event(), reduced.stop())
    assert writer.wait(PATIENCE)
    assert len(closed) == 2
    reduced.assert_whole(catalog[reduced.uid])


def test_document_that_is_malformed_is_set_aside_alone(catalog, make_writer, reduced, tmp_path):
    writer = make_writer(catalog, batch_seconds=0.01)
    feed(writer, *reduced.begin(), reduced.event(), reduced.event())
    name, doc = reduced.event()
    feed(writer, (name, doc | {"time": "noon"}))
    feed(writer, reduced.event(), reduced.stop())
    assert not writer.wait(PATIENCE)  # not all of it is in the catalog
    assert writer.counters.journaled == 0
    assert read_curves(catalog[reduced.uid]).frame_index.values.tolist() == [0, 1, 3]
    assert "stop" in catalog[reduced.uid].metadata
    (kept,) = (tmp_path / "journal" / "rejected").iterdir()
    (line,) = kept.read_bytes().splitlines()
    assert decode(line)[1]["seq_num"] == 3
    ((reason,),) = RefusedDocuments(tmp_path / "journal").reasons().values()
    assert (reason.run, reason.file) == (reduced.uid, kept.name)
    assert "noon" in reason.reason
    assert (writer.counters.rejected, writer.counters.written) == (1, 6)
    assert not writer.close()


def test_run_that_others_wrote_is_left_alone(catalog, make_writer, reduced, tmp_path):
    documents = [*reduced.begin(), reduced.event(), reduced.stop()]
    first = make_writer(catalog)
    feed(first, *documents)
    assert first.close()
    second = make_writer(catalog)
    feed(second, *documents)
    assert not second.wait(PATIENCE)
    assert "is in the catalog already" in second.counters.last_error
    assert second.counters.rejected == 4
    reduced.assert_whole(catalog[reduced.uid])
    assert len(list((tmp_path / "journal" / "rejected").iterdir())) == 1


def test_documents_of_no_run_are_set_aside(catalog, make_writer, reduced):
    writer = make_writer(catalog)
    feed(writer, *reduced.begin())
    feed(writer, ("event", {"descriptor": "none such", "data": {}}), ("nonsense", {}), ("start", {}))
    feed(writer, reduced.event(), reduced.stop())
    assert not writer.wait(PATIENCE)
    assert (writer.counters.rejected, writer.counters.journaled) == (3, 0)
    reduced.assert_whole(catalog[reduced.uid])


def test_runs_side_by_side_keep_their_order(catalog, make_writer, document, rng):
    runs = [Reduced(copy.deepcopy(document), rng) for _ in range(3)]
    writer = make_writer(catalog)
    for run in runs:
        feed(writer, *run.begin())
    for _ in range(3):
        for run in runs:
            feed(writer, run.event())
    for run in reversed(runs):
        feed(writer, run.stop())
    assert writer.wait(PATIENCE)
    for run in runs:
        run.assert_whole(catalog[run.uid])
    assert [run.start["uid"] for run in list(catalog.values())[-3:]] == [run.uid for run in runs]


def test_full_disk_is_waited_for(catalog, make_writer, reduced, monkeypatch):
    from saxs_bluesky.callbacks.catalog_writer import _journal, _run_journal

    full = iter([True, True])
    append = _run_journal.RunJournal.append

    def append_if_there_is_room(self: Any, lines: list[bytes], **keywords: Any) -> None:
        if next(full, False):
            raise OSError(28, "No space left on device")
        append(self, lines, **keywords)

    monkeypatch.setattr(_journal, "_DISK_PAUSE", 0.01)
    monkeypatch.setattr(_run_journal.RunJournal, "append", append_if_there_is_room)
    writer = make_writer(catalog)
    feed(writer, *reduced.begin(), reduced.event(), reduced.stop())
    assert writer.wait(PATIENCE)
    reduced.assert_whole(catalog[reduced.uid])


@pytest.mark.logs_errors
def test_memory_is_bounded_and_what_has_no_room_is_counted(catalog, make_writer, reduced, monkeypatch):
    go = threading.Event()
    writer = make_writer(catalog, memory=100_000)
    keep = writer._buffer._handle
    monkeypatch.setattr(writer._buffer, "_handle", lambda batch: (go.wait(), keep(batch)))
    feed(writer, *reduced.begin())
    until(lambda: writer._buffer._in_hand)
    feed(writer, *(reduced.event() for _ in range(200)))
    assert writer._buffer._bytes <= 100_000
    assert writer.counters.lost == 202 - writer.counters.accepted > 0
    go.set()
    assert not writer.wait(PATIENCE)
    assert writer.counters.written == writer.counters.accepted


def test_a_call_costs_far_less_than_a_millisecond(make_writer, reduced):
    go = threading.Event()
    writer = make_writer(lambda: go.wait(60), journal=None)
    documents = [*reduced.begin(), *(reduced.event() for _ in range(100))]
    begin = time.thread_time()
    feed(writer, *documents)
    assert (time.thread_time() - begin) / len(documents) < 0.5e-3
    go.set()


def test_journal_has_one_owner(catalog, make_writer, tmp_path):
    writer = make_writer(catalog)
    with pytest.raises(OutputError, match="journal: the journal folder is used by another process"):
        CatalogWriter(catalog, journal=tmp_path / "journal")
    assert writer.close()
    make_writer(catalog)


def test_journal_of_garbage_is_set_aside(catalog, make_writer, tmp_path):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "0-run.jsonl").write_bytes(b"\0\0\0\n")
    writer = make_writer(catalog)
    assert writer.wait(1)
    assert [path.name for path in (tmp_path / "journal" / "rejected").iterdir()] == ["0-run.jsonl"]


def test_temporary_journal_goes_away(catalog, make_writer, reduced):
    writer = make_writer(catalog, journal=None)
    journal = writer._journal.folder
    feed(writer, *reduced.begin(), reduced.event())
    assert writer.close()
    assert not journal.exists()


def test_journal_keeps_every_bit():
    values = np.array([np.nan, -0.0, 5e-324, np.inf, 0.1])
    doc = {"data": {"a": values, "b": float("nan"), "c": np.float32(0.1), "d": np.arange(6, dtype=">u2").reshape(2, 3)}}
    name, found = decode(encode("event", doc))
    assert name == "event"
    assert found["data"]["a"].tobytes() == values.tobytes()
    assert np.isnan(found["data"]["b"])
    assert found["data"]["c"] == np.float32(0.1)
    np.testing.assert_array_equal(found["data"]["d"], doc["data"]["d"], strict=True)


def test_the_private_names_that_the_run_writer_builds_on_are_there():
    for name in ("_write_external_data", "_update_consolidator", "_update_data_source_for_node", "_close_stream_tree"):
        assert callable(getattr(tiled_writer._RunWriter, name))
    own = vars(tiled_writer._RunWriter(None))
    assert own.keys() >= {"_external_data_cache", "_stream_resource_cache", "_consolidators", "_desc_nodes", "notes"}
    assert own.keys() >= {"_sres_nodes", "root_node", "data_keys", "access_tags"}
    # When there is one, RunWriter is no longer needed.
    assert not hasattr(tiled_writer.TiledWriter, "flush")


_SERVER = """
import sys
import uvicorn
from tiled.catalog import from_uri
from tiled.config import Authentication
from tiled.server.app import build_app

folder, port = sys.argv[1:]
tree = from_uri(
    f"sqlite:///{folder}/catalog.db",
    writable_storage=[f"{folder}/arrays", f"sqlite:///{folder}/tables.db"],
    specs=[{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
)
app = build_app(tree, authentication=Authentication(single_user_api_key="secret"))
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="critical")
"""


class Server:
    """A Tiled server of a folder in a process of its own, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}/api/v1/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", _SERVER, str(self._folder), str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        until(self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.uri, timeout=1).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(empty_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    own = tmp_path / "served"
    (own / "arrays").mkdir(parents=True)
    # The database of an empty catalog is made once.
    shutil.copy(empty_catalog / "catalog.db", own / "catalog.db")
    monkeypatch.setenv("TILED_API_KEY", "secret")
    server = Server(own)
    server.start()
    yield server
    server.kill()


def test_server_killed_in_the_middle_of_a_run_loses_and_doubles_nothing(server, make_writer, document, rng, caplog):
    runs = [Reduced(copy.deepcopy(document), rng) for _ in range(2)]
    writer = make_writer(server.uri)  # the server is still starting
    for run in runs:
        feed(writer, *run.begin())
    server.wait()
    until(lambda: writer.counters.written > 0)
    killed = restarted = 0.0
    begin = time.monotonic()
    while not restarted or time.monotonic() - restarted < 1:
        for run in runs:
            feed(writer, run.event())
        time.sleep(0.02)
        if not killed and time.monotonic() - begin > 1.5:
            server.kill()
            killed = time.monotonic()
        if killed and not restarted and time.monotonic() - killed > 0.5:
            server.start()
            restarted = time.monotonic()
    feed(writer, *(run.stop() for run in runs))
    assert writer.wait(PATIENCE)
    catalog = open_catalog(server.uri)
    assert [run.start["uid"] for run in catalog.values()] == [run.uid for run in runs]
    for run in runs:
        run.assert_whole(catalog[run.uid])
    assert writer.counters.failures > 0
    assert writer.close()
    catalog.context.close()
