"""Images that are streamed: by several detectors, in any order, with axes in events and in files of their own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import scan
from ophyd_async.core import StaticPathProvider, TriggerInfo, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector, SimMotor

from saxs_bluesky.frame_job import reduced_documents
from saxs_bluesky.reduction import Calibration, Reducer
from tests.helpers import reducing
from tests.helpers.calibrations import small_document
from tests.helpers.reducing import Make, NamedDocument, assert_curves
from tests.helpers.waiting import PATIENCE, until

ROWS = 6


@pytest.fixture
def calibration() -> Calibration:
    return Calibration.from_dict(small_document())


def events_of(found: list[NamedDocument], detector: str) -> list[dict[str, Any]]:
    return sorted(reducing.events_of(found, detector), key=lambda event: event["data"]["frame_index"])


class Streams:
    """Documents of a scan with the detectors a and b, an axis in events and one that is streamed, both if wanted."""

    def __init__(self, folder: Path, rng: np.random.Generator, *, motor: bool, streamed: bool, frames: int = 1) -> None:
        self.images = {name: rng.poisson(10, (ROWS * frames, 60, 80)) for name in "ab"}
        self.angles = np.arange(ROWS) / 4 + 10.0
        with h5py.File(folder / "data.h5", "w", libver="latest") as file:
            file["a"], file["b"], file["angle"] = *self.images.values(), self.angles
        axes = (["motor"] if motor else []) + (["angle"] if streamed else [])
        self.run = event_model.compose_run(metadata={"hints": {"dimensions": [([axis], "primary") for axis in axes]}})
        image = {"dtype": "array", "shape": [frames, 60, 80], "source": "test", "external": "STREAM:"}
        keys: dict[str, Any] = {"a": image, "b": image}
        if motor:
            keys["motor"] = {"dtype": "number", "shape": [], "source": "test", "units": "mm"}
        if streamed:
            keys["angle"] = {"dtype": "number", "shape": [1], "source": "test", "external": "STREAM:", "units": "deg"}
        self.stream = self.run.compose_descriptor(name="primary", data_keys=keys)
        self.resources = {
            key: self.run.compose_stream_resource(
                mimetype="application/x-hdf5",
                uri=f"file://localhost{folder}/data.h5",
                data_key=key,
                parameters={"dataset": f"/{key}", "chunk_shape": (1, 60, 80), "swmr": True},
            )
            for key in ("a", "b", "angle")
            if key in keys
        }
        self.end: NamedDocument = ("stop", dict(self.run.compose_stop()))
        self.begin: list[NamedDocument] = [
            ("start", dict(self.run.start_doc)),
            ("descriptor", dict(self.stream.descriptor_doc)),
        ]
        self.begin += [("stream_resource", dict(one.stream_resource_doc)) for one in self.resources.values()]

    def datum(self, key: str, first: int, last: int) -> NamedDocument:
        """Of rows, from 0."""
        rows = {"start": first + 1, "stop": last + 1}
        compose = self.resources[key].compose_stream_datum
        return "stream_datum", dict(compose({"start": first, "stop": last}, rows, self.stream.descriptor_doc))

    def event(self, row: int) -> NamedDocument:
        data = {"motor": row / 2 - 1}
        event = self.stream.compose_event(data=data, timestamps={"motor": 1.0}, seq_num=row + 1)
        return "event", dict(event) | {"time": 1000.0 + row}


def check(
    streams: Streams, found: list[NamedDocument], calibration: Calibration, *, motor: bool, streamed: bool
) -> None:
    for name in "ab":
        events = events_of(found, name)
        assert_curves(events, streams.images[name], calibration)
        if motor:
            assert [event["data"]["motor"] for event in events] == [row / 2 - 1 for row in range(ROWS)]
        if streamed:
            assert [event["data"]["angle"] for event in events] == list(streams.angles)


@pytest.mark.parametrize(("motor", "streamed"), [(True, False), (False, True), (True, True), (False, False)])
def test_every_order_gives_each_frame_its_axes_before_the_stop(
    reductions: Make, calibration: Calibration, rng: np.random.Generator, tmp_path: Path, motor: bool, streamed: bool
) -> None:
    streams = Streams(tmp_path, rng, motor=motor, streamed=streamed)
    parts: list[list[NamedDocument]] = [
        [streams.datum("a", 0, 2), streams.datum("a", 2, ROWS)],
        [streams.datum("b", row, row + 1) for row in range(ROWS)],
    ]
    if motor:
        parts.append([streams.event(row) for row in range(ROWS)])
    if streamed:
        parts.append([streams.datum("angle", 0, 5), streams.datum("angle", 5, ROWS)])
    orders = list(itertools.permutations(parts))
    everything = [[*itertools.chain(*order)] for order in orders]
    everything += [[*itertools.chain(*order)][::-1] for order in orders[:2]]
    # In turns, as detectors of different speed do.
    everything += [
        [one for turn in itertools.zip_longest(*order) for one in turn if one is not None] for order in orders[::5]
    ]
    for documents in everything:
        reduction, found = reductions({"a": calibration, "b": calibration}, patience=1.0)
        for name, doc in streams.begin + documents:
            reduction(name, doc)
        assert reduction.wait(PATIENCE)
        check(streams, found, calibration, motor=motor, streamed=streamed)
        assert reduction.status.reduced == 2 * ROWS
        if motor and documents[0][0] == "event":
            assert {event["data"]["image_time"] for event in events_of(found, "b")} == {1000.0 + n for n in range(ROWS)}
        # Nothing is kept for rows that are whole.
        for run in reduction._extractor._runs.runs():
            assert [len(stream.rows._rows) for stream in run.raw._streams.values()] == [0]
        reduction(*streams.end)
        assert reduction.wait(PATIENCE)
        assert reduction.status.reduced == 2 * ROWS
    stops = [doc for name, doc in found if name == "stop"]
    assert [(stop["exit_status"], stop["num_events"]) for stop in stops] == [("success", {"primary": ROWS})] * 2


def test_stack_in_each_row(
    reductions: Make, calibration: Calibration, rng: np.random.Generator, tmp_path: Path
) -> None:
    streams = Streams(tmp_path, rng, motor=True, streamed=True, frames=3)
    reduction, found = reductions({"a": calibration, "b": calibration}, patience=1.0)
    documents = [streams.datum("b", 0, ROWS), streams.datum("angle", 0, ROWS), *map(streams.event, range(ROWS))]
    for name, doc in [*streams.begin, *documents, streams.datum("a", 3, ROWS), streams.datum("a", 0, 3)]:
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    for name in "ab":
        events = events_of(found, name)
        assert_curves(events, streams.images[name], calibration)
        assert [event["data"]["angle"] for event in events] == list(np.repeat(streams.angles, 3))


def test_gaps_overlaps_and_documents_that_came_twice(
    reductions: Make,
    calibration: Calibration,
    rng: np.random.Generator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    streams = Streams(tmp_path, rng, motor=True, streamed=False)
    reduction, found = reductions({"a": calibration, "b": calibration}, patience=1.0)
    documents = [
        *map(streams.event, range(ROWS)),
        streams.datum("a", 4, ROWS),
        streams.datum("a", 0, 3),  # 3 is lost
        streams.datum("b", 0, 4),
        streams.datum("b", 2, ROWS),
        streams.datum("b", 2, ROWS),
    ]
    for name, doc in streams.begin + documents:
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found, "b"), streams.images["b"], calibration)
    assert "b: row 3 of its stream_datum came twice; the first one counts" in caplog.text
    assert [event["data"]["frame_index"] for event in events_of(found, "a")] == [0, 1, 2, 4, 5]
    reduction(*streams.end)
    assert reduction.wait(PATIENCE)
    events = events_of(found, "a")
    assert events[3]["data"]["failure"] == "a: wanted a stream_datum for event 4, found none"
    assert events[3]["data"]["motor"] == 0.5
    del events[3]
    reducer = Reducer(calibration)
    for event, image in zip(events, np.delete(streams.images["a"], 3, axis=0), strict=True):
        np.testing.assert_array_equal(event["data"]["R0_intensity"], reducer.reduce(image)[0].intensity)


def test_indices_and_rows_of_other_lengths(
    reductions: Make, calibration: Calibration, rng: np.random.Generator, tmp_path: Path
) -> None:
    """A row has its own index, and what was taken without a row is not reduced; as Tiled has it."""
    streams = Streams(tmp_path, rng, motor=False, streamed=False)
    reduction, found = reductions({"a": calibration, "b": calibration}, patience=0.1)

    def datum(key: str, indices: tuple[int, int], rows: tuple[int, int]) -> NamedDocument:
        ranges = {
            name: {"start": start, "stop": stop} for name, (start, stop) in (("indices", indices), ("seq_nums", rows))
        }
        return "stream_datum", streams.datum(key, 0, 1)[1] | ranges

    documents = [
        datum("a", (0, 3), (1, 3)),  # the third was taken before a pause
        datum("a", (3, 5), (3, 5)),
        datum("b", (0, 2), (1, 4)),  # one too few
        datum("b", (3, 6), (0, 0)),  # not numbered
    ]
    for name, doc in streams.begin + documents:
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found, "a"), streams.images["a"][[0, 1, 3, 4]], calibration)
    events = events_of(found, "b")
    assert "wanted an index in its stream_datum" in events.pop(2)["data"]["failure"]
    assert [event["data"]["frame_index"] for event in events] == [0, 1, 3, 4, 5]


@pytest.mark.parametrize(("start", "stop"), [(3, 1), (-1, 2), (0, 10**12), ("x", 2), (None, 1)])
def test_range_that_makes_no_sense_is_told_and_costs_nothing_else(
    reductions: Make,
    calibration: Calibration,
    rng: np.random.Generator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    start: Any,
    stop: Any,
) -> None:
    streams = Streams(tmp_path, rng, motor=False, streamed=False)
    reduction, found = reductions({"a": calibration, "b": calibration})
    wrong = streams.datum("a", 0, 1)[1]
    for name in ("indices", "seq_nums"):
        for key, doc in [*streams.begin, ("stream_datum", wrong | {name: {"start": start, "stop": stop}})]:
            reduction(key, doc)
    for key, doc in (streams.datum("a", 0, ROWS), streams.datum("b", 0, ROWS)):
        reduction(key, doc)
    assert reduction.wait(PATIENCE)
    check(streams, found, calibration, motor=False, streamed=False)
    assert "a stream_datum document could not be followed" in caplog.text


def test_stream_resource_that_comes_after_its_datums(
    reductions: Make, calibration: Calibration, rng: np.random.Generator, tmp_path: Path
) -> None:
    streams = Streams(tmp_path, rng, motor=False, streamed=True)
    reduction, found = reductions({"a": calibration, "b": calibration})
    datums = [streams.datum(key, 0, ROWS) for key in ("b", "a", "angle")]
    for name, doc in [*streams.begin[:2], *datums, *streams.begin[2:]]:
        reduction(name, doc)
    reduction(*streams.end)
    assert reduction.wait(PATIENCE)
    check(streams, found, calibration, motor=False, streamed=True)


def test_axis_that_cannot_be_read_is_told_once_and_keeps_no_frame(
    reductions: Make,
    calibration: Calibration,
    rng: np.random.Generator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for change in ({"mimetype": "text/csv"}, {"parameters": {"dataset": "/nowhere"}}, {"uri": "file:///gone.h5"}):
        caplog.clear()
        streams = Streams(tmp_path, rng, motor=True, streamed=True)
        reduction, found = reductions({"a": calibration}, patience=1.0)
        documents = [(name, doc | change if doc.get("data_key") == "angle" else doc) for name, doc in streams.begin]
        documents += [streams.datum("a", 0, ROWS), streams.datum("angle", 0, ROWS), *map(streams.event, range(ROWS))]
        for name, doc in documents:
            reduction(name, doc)
        assert reduction.wait(PATIENCE)  # before the stop
        events = events_of(found, "a")
        assert_curves(events, streams.images["a"], calibration)
        assert [event["data"]["motor"] for event in events] == [row / 2 - 1 for row in range(ROWS)]
        assert np.isnan([event["data"]["angle"] for event in events]).all()
        assert sum("angle" in record.getMessage() for record in caplog.records) == 1
        assert reduction.status.failed == 0


def test_runs_that_are_there_have_their_streamed_axes_too(
    calibration: Calibration, rng: np.random.Generator, tmp_path: Path
) -> None:
    streams = Streams(tmp_path, rng, motor=True, streamed=True)
    # As catalogs give them: events first.
    documents = [*streams.begin, *map(streams.event, range(ROWS))]
    documents += [streams.datum(key, 0, ROWS) for key in ("a", "angle", "b")]
    found = list(reduced_documents([*documents, streams.end], Reducer(calibration)))
    check(streams, found, calibration, motor=True, streamed=True)


@pytest.fixture
def engine() -> RunEngine:
    return RunEngine({}, call_returns_result=False)


def blob_calibration() -> Calibration:
    document = small_document()
    document["Geometry"] |= {"Imagesize": [240, 320], "BeamCenter": [100.5, 150.2]}
    return Calibration.from_dict(document)


def blobs(engine: RunEngine, folder: Path) -> list[SimBlobDetector]:
    for name in ("fast", "slow"):
        (folder / name).mkdir()
    with init_devices():
        fast = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), folder / "fast"), name="fast")
        slow = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), folder / "slow"), name="slow")
    return [fast, slow]


def blob_images(folder: Path) -> Any:
    (path,) = folder.glob("*.h5")
    with h5py.File(path) as file:
        return file["entry/data/data"][()]


def test_fly_scan_of_two_detectors_of_ophyd_async_is_live(engine: RunEngine, reductions: Make, tmp_path: Path) -> None:
    """The sum that the simulated detector streams is taken for the scanned axis."""
    calibration = blob_calibration()
    reduction, found = reductions({"fast": calibration, "slow": calibration})
    detectors = blobs(engine, tmp_path)
    before_the_stop: list[int] = []

    def look(name: str, doc: Any) -> None:
        if name == "stop":
            until(lambda: reduction.status.reduced == 16)
            before_the_stop.append(reduction.status.reduced)

    @bpp.stage_decorator(detectors)
    @bpp.run_decorator(md={"hints": {"dimensions": [(["slow-sum"], "primary")]}})
    def plan() -> Any:
        for detector, time in zip(detectors, (0.02, 0.05), strict=True):
            yield from bps.prepare(detector, TriggerInfo(number_of_events=8, livetime=time), wait=True)
        yield from bps.declare_stream(*detectors, name="primary", collect=True)
        yield from bps.kickoff_all(*detectors, wait=True)
        yield from bps.collect_while_completing(detectors, detectors, flush_period=0.03, stream_name="primary")

    engine.subscribe(look)  # asked before the reduction hears of the stop
    engine.subscribe(reduction)
    engine(plan())
    assert before_the_stop == [16]
    assert reduction.wait(PATIENCE)
    sums = blob_images(tmp_path / "slow").astype(int).sum(axis=(1, 2))
    for name in ("fast", "slow"):
        events = events_of(found, name)
        assert_curves(events, blob_images(tmp_path / name), calibration)
        np.testing.assert_array_equal([event["data"]["slow-sum"] for event in events], sums)


def test_step_scan_of_two_detectors_of_ophyd_async_is_live(engine: RunEngine, reductions: Make, tmp_path: Path) -> None:
    calibration = blob_calibration()
    reduction, found = reductions({"fast": calibration, "slow": calibration})
    detectors = blobs(engine, tmp_path)
    with init_devices():
        stage = SimMotor(name="stage", instant=True)
    counts: list[int] = []

    def look(name: str, doc: Any) -> None:
        if name == "event":
            until(lambda: reduction.status.reduced == 2 * doc["seq_num"])
            counts.append(reduction.status.reduced)

    engine.subscribe(reduction)
    engine.subscribe(look)
    engine(scan(detectors, stage, 0, 1, 3))
    assert counts == [2, 4, 6]
    assert reduction.wait(PATIENCE)
    for name in ("fast", "slow"):
        events = events_of(found, name)
        assert_curves(events, blob_images(tmp_path / name), calibration)
        assert [event["data"]["stage"] for event in events] == [0.0, 0.5, 1.0]
