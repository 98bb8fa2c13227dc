"""Documents that plans and detectors emit which nobody expected: what has an image is reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import event_model
import numpy as np
import pytest
from bluesky import RunEngine
from event_model import DocumentNames, schema_validators

from saxs_bluesky.callbacks import ReducedRunReader, Reduction
from saxs_bluesky.devices import SimPilatus
from saxs_bluesky.reduction import Calibration, Reducer
from saxs_bluesky.reduction import read_frame as read_image
from saxs_bluesky.simulation import simulated_calibration, write_frame
from tests.helpers.calibrations import small_document
from tests.helpers.waiting import PATIENCE

NamedDocument = tuple[str, dict[str, Any]]
Reduced = Callable[..., tuple[Reduction, list[NamedDocument]]]


@pytest.fixture
def calibration() -> Calibration:
    return Calibration.from_dict(small_document())


@pytest.fixture
def reduced() -> Iterator[Reduced]:
    made: list[Reduction] = []

    def make(calibration: Calibration) -> tuple[Reduction, list[NamedDocument]]:
        found: list[NamedDocument] = []
        made.append(Reduction(calibration, [lambda name, doc: found.append((name, doc))], patience=1.0))
        return made[-1], found

    yield make
    for reduction in made:
        assert reduction.close(PATIENCE)


def events_of(found: list[NamedDocument]) -> list[dict[str, Any]]:
    for name, doc in found:
        schema_validators[DocumentNames[name]].validate(doc)
    return [doc for name, doc in found if name == "event"]


def assert_curves(events: list[dict[str, Any]], images: list[np.ndarray], calibration: Calibration) -> None:
    reducer = Reducer(calibration)
    assert [event["data"]["failure"] for event in events] == [""] * len(images)
    for event, image in zip(events, images, strict=True):
        expected = reducer.reduce(image)[0].intensity
        np.testing.assert_array_equal(event["data"]["R0_intensity"], expected)


@pytest.mark.parametrize(
    ("hints", "motor"),
    [
        ({"dimensions": [(["motor"], "primary")]}, True),
        ({"dimensions": [("motor", "primary")]}, True),
        ({"dimensions": [(["motor"], "primary"), (["x"],), 3]}, True),
        ({"dimensions": [["motor"]]}, False),
        ({"dimensions": [(["motor"], "primary", "more")]}, False),
        ({"dimensions": [([1, 2], "primary")]}, False),
        ({"dimensions": "motor"}, False),
        ({"dimensions": 7}, False),
        ({"dimensions": None}, False),
        (["dimensions"], False),
        ("dimensions", False),
        (None, False),
    ],
)
def test_hints_that_are_malformed_cost_no_image(
    reduced: Reduced, calibration: Calibration, rng: np.random.Generator, hints: Any, motor: bool
) -> None:
    reduction, found = reduced(calibration)
    bundle = event_model.compose_run()
    keys = {
        "camera": {"dtype": "array", "shape": [60, 80], "source": "test"},
        "motor": {"dtype": "number", "shape": [], "source": "test"},
    }
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    images = [rng.poisson(10, (60, 80)) for _ in range(3)]
    reduction("start", dict(bundle.start_doc) | {"hints": hints})
    reduction("descriptor", dict(stream.descriptor_doc))
    for number, image in enumerate(images):
        data = {"camera": image, "motor": float(number)}
        reduction("event", dict(stream.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0))))
    reduction("stop", dict(bundle.compose_stop()))
    assert reduction.wait(PATIENCE)
    events = events_of(found)
    assert_curves(events, images, calibration)
    assert [event["data"].get("motor") for event in events] == ([0.0, 1.0, 2.0] if motor else [None] * 3)


def write_images(folder: Path, rng: np.random.Generator, number: int) -> list[np.ndarray]:
    images = [rng.poisson(10, (60, 80)).astype("i4") for _ in range(number)]
    for index, image in enumerate(images):
        write_frame(folder / f"x_{index:06d}.tif", image)
    return images


CAMERA = {"camera": {"dtype": "array", "shape": [1, 60, 80], "source": "test", "external": "FILESTORE:"}}


def resource_of(bundle: Any, folder: Path) -> Any:
    return bundle.compose_resource(
        spec="AD_TIFF",
        root="/",
        resource_path=f"{str(folder).lstrip('/')}/",
        resource_kwargs={"template": "%s%s_%06d.tif", "filename": "x", "frame_per_point": 1},
    )


def send_events(reduction: Reduction, stream: Any, resource: Any, numbers: range) -> None:
    for number in numbers:
        datum = resource.compose_datum(datum_kwargs={"point_number": number})
        reduction("datum", dict(datum))
        data, filled = {"camera": datum["datum_id"]}, {"camera": False}
        reduction("event", dict(stream.compose_event(data=data, timestamps={"camera": 1.0}, filled=filled)))


def test_resource_that_names_no_run(
    reduced: Reduced, calibration: Calibration, rng: np.random.Generator, tmp_path: Path
) -> None:
    reduction, found = reduced(calibration)
    images = write_images(tmp_path, rng, 3)
    bundle = event_model.compose_run()
    stream = bundle.compose_descriptor(name="primary", data_keys=CAMERA)
    resource = resource_of(bundle, tmp_path)
    reduction("start", dict(bundle.start_doc))
    reduction("resource", {key: value for key, value in resource.resource_doc.items() if key != "run_start"})
    reduction("descriptor", dict(stream.descriptor_doc))
    send_events(reduction, stream, resource, range(3))
    reduction("stop", dict(bundle.compose_stop()))
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found), images, calibration)


@pytest.mark.parametrize("interleaved", [False, True])
def test_resource_of_a_run_whose_datums_come_in_the_next_one(
    reduced: Reduced, calibration: Calibration, rng: np.random.Generator, tmp_path: Path, interleaved: bool
) -> None:
    reduction, found = reduced(calibration)
    images = write_images(tmp_path, rng, 4)
    first, second = event_model.compose_run(), event_model.compose_run()
    streams = [run.compose_descriptor(name="primary", data_keys=CAMERA) for run in (first, second)]
    resource = resource_of(first, tmp_path)
    reduction("start", dict(first.start_doc))
    reduction("resource", dict(resource.resource_doc))
    reduction("descriptor", dict(streams[0].descriptor_doc))
    if interleaved:
        reduction("start", dict(second.start_doc))
    send_events(reduction, streams[0], resource, range(2))
    reduction("stop", dict(first.compose_stop()))
    if not interleaved:
        reduction("start", dict(second.start_doc))
    reduction("descriptor", dict(streams[1].descriptor_doc))
    send_events(reduction, streams[1], resource, range(2, 4))
    reduction("stop", dict(second.compose_stop()))
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found), images, calibration)
    stops = [doc for name, doc in found if name == "stop"]
    assert [stop["num_events"] for stop in stops] == [{"primary": 2}] * 2


@pytest.mark.parametrize("file_format", ["tif", "hdf5"])
def test_detector_that_is_staged_once_for_two_runs(reduced: Reduced, tmp_path: Path, file_format: Any) -> None:
    calibration = Calibration.from_dict(simulated_calibration("100K"))
    reduction, found = reduced(calibration)
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", file_format=file_format, real_time=False)

    def plan() -> Any:
        yield from bps.stage(pilatus)
        for _ in range(2):
            yield from bps.open_run()
            for _ in range(3):
                yield from bps.trigger_and_read([pilatus])
            yield from bps.close_run()
        yield from bps.unstage(pilatus)

    engine = RunEngine({})
    engine.subscribe(reduction)
    assert len(engine(plan())) == 2
    assert reduction.wait(PATIENCE)
    events = events_of(found)
    assert [event["data"]["failure"] for event in events] == [""] * 6
    assert [event["data"]["frame_index"] for event in events] == [0, 1, 2, 0, 1, 2]
    assert len({event["data"]["R0_intensity"].tobytes() for event in events}) == 6
    assert [doc["exit_status"] for name, doc in found if name == "stop"] == ["success"] * 2
    if file_format == "tif":
        frames = [read_image(event["data"]["image_path"]) for event in events]
        reducer = Reducer(calibration)
        for event, frame in zip(events, frames, strict=True):
            expected = reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff)[0].intensity
            np.testing.assert_array_equal(event["data"]["R0_intensity"], expected)


def streamed_run(folder: Path, number: int) -> tuple[list[NamedDocument], Any]:
    """A run of a fly scan whose motor comes in events of its own, which never come; and what composes its end."""
    bundle = event_model.compose_run(
        metadata={"hints": {"dimensions": [(["motor"], "primary")]}},
    )
    keys = {
        "camera": {"dtype": "array", "shape": [1, 60, 80], "source": "test", "external": "STREAM:"},
        "motor": {"dtype": "number", "shape": [], "source": "test"},
    }
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    resource = bundle.compose_stream_resource(
        mimetype="multipart/related;type=image/tiff",
        uri=f"file://localhost{folder}/",
        data_key="camera",
        parameters={"template": "x_{:06d}.tif", "chunk_shape": (1, 60, 80)},
    )
    datum = resource.compose_stream_datum(
        {"start": 0, "stop": number}, {"start": 1, "stop": number + 1}, descriptor=stream.descriptor_doc
    )
    documents: list[NamedDocument] = [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        ("stream_resource", dict(resource.stream_resource_doc)),
        ("stream_datum", dict(datum)),
    ]
    return documents, bundle


@pytest.mark.parametrize("by", ["finish", "close", "stop"])
def test_frames_that_wait_for_events_are_reduced_when_their_run_ends(
    reduced: Reduced, calibration: Calibration, rng: np.random.Generator, tmp_path: Path, by: str
) -> None:
    reduction, found = reduced(calibration)
    images = write_images(tmp_path, rng, 3)
    documents, bundle = streamed_run(tmp_path, 3)
    for name, doc in documents:
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert events_of(found) == []  # they wait for the motor
    match by:
        case "finish":
            reduction.finish(documents[0][1]["uid"])
            reduction.finish("of no run")
            assert reduction.wait(PATIENCE)
            reduction("stop", dict(bundle.compose_stop()))  # which comes after all
            assert reduction.wait(PATIENCE)
        case "close":
            assert reduction.close(PATIENCE)
        case "stop":
            reduction("stop", dict(bundle.compose_stop()))
            assert reduction.wait(PATIENCE)
    events = events_of(found)
    assert_curves(events, images, calibration)
    assert all(np.isnan(event["data"]["motor"]) for event in events)
    (stop,) = [doc for name, doc in found if name == "stop"]
    assert stop["exit_status"] == ("success" if by == "stop" else "abort")
    assert stop["num_events"] == {"primary": 3}
    assert (reduction.status.reduced, reduction.status.failed, reduction.status.waiting) == (3, 0, 0)


def test_integral_parameters_of_frames_without_data_are_unknown_and_not_0(
    reduced: Reduced, calibration: Calibration, rng: np.random.Generator
) -> None:
    reduction, found = reduced(calibration)
    good, half = rng.poisson(10, (60, 80)), rng.poisson(10, (60, 80))
    half[:, 30:] = -1
    images = [good, half, np.full((60, 80), -2), np.zeros((60, 80), int), np.zeros((3, 3), int)]
    bundle = event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [60, 80], "source": "test"}}
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    reduction("start", dict(bundle.start_doc))
    reduction("descriptor", dict(stream.descriptor_doc))
    for image in images:
        reduction("event", dict(stream.compose_event(data={"camera": image}, timestamps={"camera": 1.0})))
    reduction("stop", dict(bundle.compose_stop()))
    assert reduction.wait(PATIENCE)
    events = [event["data"] for event in events_of(found)]
    assert [bool(data["failure"]) for data in events] == [False, False, False, False, True]
    for name in ("I0", "I1", "I2", "correlation_length"):
        unknown = [bool(np.isnan(data[f"R0_{name}"])) for data in events]
        assert unknown == [False, False, True, name == "correlation_length", True], name
    assert events[3]["R0_I0"] == 0.0  # a beam that is off is known
    # Bins beyond the edge of the detector hold no data in any frame.
    full = events[0]["R0_coverage"]
    assert 0.9 < full <= 1.0
    assert 0.3 < events[1]["R0_coverage"] < full
    assert [data["R0_coverage"] for data in events[2:]] == [0.0, full, 0.0]
    runs = ReducedRunReader()
    frames = [frame for name, doc in found for frame in runs.frames(name, doc)]
    assert [frame.curves[0].integral.coverage for frame in frames[:4]] == [data["R0_coverage"] for data in events[:4]]
