"""The reduction under a real RunEngine: every way to describe images, every fault on the way."""

from __future__ import annotations

import copy
import hashlib
import io
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count, scan
from ophyd.sim import SynSignal, motor
from ophyd_async.core import StaticPathProvider, TriggerInfo, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector, SimMotor

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.errors import CalibrationError
from saxs_bluesky.reduction import Calibration, Curve, PilatusHeader, Reducer, write_frame
from tests.helpers.waiting import PATIENCE

NamedDocument = tuple[str, dict[str, Any]]


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    document["Masks"].append({"Phi-mode": True, "qStop": 20.0})
    document["Slices"] = [{"CutPosition": 5}]
    return Calibration.from_dict(document)


class Collected(list[NamedDocument]):
    """A sink that keeps the documents."""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.append((name, doc))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [doc for found, doc in self if found == name]


def check(documents: list[NamedDocument]) -> None:
    """Every document fits its schema, and the stop documents count right."""
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    for stop in (doc for name, doc in documents if name == "stop"):
        descriptors = {
            d["uid"]: d["name"] for n, d in documents if n == "descriptor" and d["run_start"] == stop["run_start"]
        }
        counted = dict.fromkeys(descriptors.values(), 0)
        for event in (d for n, d in documents if n == "event" and d["descriptor"] in descriptors):
            counted[descriptors[event["descriptor"]]] += 1
        assert stop["num_events"] == counted


def assert_curves(events: list[dict[str, Any]], images: list[Any], calibration: Calibration, **keywords: Any) -> None:
    """Events hold exactly what the reducer makes of the images."""
    reducer = Reducer(calibration)
    assert len(events) == len(images)
    for event, image in zip(events, images, strict=True):
        assert event["data"]["failure"] == ""
        for curve in reducer.reduce(np.asarray(image), **keywords):
            np.testing.assert_array_equal(event["data"][f"{curve.name}_intensity"], curve.intensity)
            np.testing.assert_array_equal(event["data"][f"{curve.name}_sigma"], curve.sigma)
            if curve.kind == "radial":
                assert event["data"][f"{curve.name}_I2"] == curve.integral.I2


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    engine = RunEngine({})
    yield engine
    if engine.state != "idle":
        engine.abort()


@pytest.fixture
def images(rng: np.random.Generator) -> Iterator[np.ndarray]:
    return iter([rng.poisson(10, (60, 80)) for _ in range(20)])


class Camera(SynSignal):
    """A detector that gives its images inline, and remembers them."""

    def __init__(self, images: Iterator[np.ndarray], name: str = "camera") -> None:
        self.taken: list[np.ndarray] = []

        def expose() -> np.ndarray:
            self.taken.append(next(images))
            return self.taken[-1]

        super().__init__(func=expose, name=name)
        self.taken.clear()  # the parent class takes one to begin with


@pytest.fixture
def reductions() -> Iterator[Callable[..., tuple[Reduction, Collected]]]:
    made: list[Reduction] = []

    def make(calibration: Any, **keywords: Any) -> tuple[Reduction, Collected]:
        sink = Collected()
        made.append(Reduction(calibration, [sink], **({"patience": 0.2} | keywords)))
        return made[-1], sink

    yield make
    for reduction in made:
        assert reduction.close(PATIENCE)


Make = Callable[..., tuple[Reduction, Collected]]


def test_inline_images_become_reduced_events(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    camera = Camera(images)
    engine.subscribe(reduction)
    (uid,) = engine(count([camera], 3), sample="silver behenate", data_session="s1")
    assert reduction.wait(PATIENCE)
    assert [name for name, _ in sink] == ["start", "descriptor", "event", "event", "event", "stop"]
    check(sink)
    assert_curves(sink.of("event"), camera.taken, calibration)
    (start,) = sink.of("start")
    assert (start["original_run_uid"], start["original_scan_id"]) == (uid, 1)
    assert start["scan_id"] == 0  # no scan's, so that catalog[scan_id] finds the raw run
    assert start["uid"] != uid
    assert (start["sample"], start["data_session"], start["analysis_stage"]) == ("silver behenate", "s1", "reduction")
    assert start["provenance"]["calibration"] == calibration.document
    assert reduction.status.reduced == 3
    assert (reduction.status.waiting, reduction.status.failed, reduction.status.lag) == (0, 0, 0)


def test_descriptor_tells_axes_units_and_hints(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    engine.subscribe(reduction)
    engine(count([Camera(images)]))
    assert reduction.wait(PATIENCE)
    (descriptor,) = sink.of("descriptor")
    for key, entry in descriptor["data_keys"].items():
        assert entry["source"], key
    assert descriptor["data_keys"]["R0_intensity"]["dims"] == ["R0_q"]
    assert descriptor["data_keys"]["R0_intensity"]["units"] == "counts/pixel"
    for curve in Reducer(calibration).template:
        ((key, axis),) = descriptor["configuration"][curve.name]["data"].items()
        assert key == {"R0": "R0_q", "P1": "P1_phi", "S2": "S2_q_h"}[curve.name]
        np.testing.assert_array_equal(axis, curve.axis)
    assert descriptor["hints"]["R0"]["fields"] == ["R0_I0", "R0_I1", "R0_I2", "R0_correlation_length"]


def test_raw_documents_reach_others_unchanged(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, _ = reductions(calibration)
    before: list[NamedDocument] = []
    after: list[NamedDocument] = []
    engine.subscribe(lambda name, doc: before.append((name, copy.deepcopy(doc))))
    engine.subscribe(reduction)
    engine.subscribe(lambda name, doc: after.append((name, doc)))
    engine(scan([Camera(images)], motor, -1, 1, 3))
    assert reduction.wait(PATIENCE)
    for (name, one), (_, other) in zip(before, after, strict=True):
        np.testing.assert_equal(other, one, err_msg=name)


def test_scanned_motor_goes_along(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    engine.subscribe(reduction)
    engine(scan([Camera(images)], motor, -1, 1, 3))
    assert reduction.wait(PATIENCE)
    assert [event["data"]["motor"] for event in sink.of("event")] == [-1, 0, 1]
    assert sink.of("start")[0]["hints"]["dimensions"] == [(["motor"], "primary")]
    assert sink.of("descriptor")[0]["object_keys"]["coordinates"] == ["motor"]
    check(sink)


def test_runs_that_are_results_of_analysis_are_passed_over(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    engine.subscribe(reduction)
    engine(count([Camera(images)]), original_run_uid="another")
    assert reduction.wait(PATIENCE)
    assert sink == []


def test_runs_without_images_make_no_reduced_run(engine: RunEngine, calibration: Calibration, reductions: Make) -> None:
    reduction, sink = reductions(calibration)
    engine.subscribe(reduction)
    engine(count([motor], 2))
    assert reduction.wait(PATIENCE)
    assert sink == []


def test_several_detectors_have_a_calibration_each(
    engine: RunEngine, images: Iterator[np.ndarray], document: dict[str, Any], reductions: Make
) -> None:
    near = Calibration.from_dict(document)
    far = Calibration.from_dict(document | {"Wavelength": 1.0})
    reduction, sink = reductions({"saxs": near, "waxs": far})
    saxs, waxs, webcam = (Camera(images, name) for name in ("saxs", "waxs", "webcam"))
    engine.subscribe(reduction)
    engine(count([saxs, waxs, webcam], 2))
    assert reduction.wait(PATIENCE)
    check(sink)
    by_detector = {start["detector"]: start["uid"] for start in sink.of("start")}
    assert set(by_detector) == {"saxs", "waxs"}
    for camera, calibration in ((saxs, near), (waxs, far)):
        (descriptor,) = [d for d in sink.of("descriptor") if d["run_start"] == by_detector[camera.name]]
        events = [event for event in sink.of("event") if event["descriptor"] == descriptor["uid"]]
        assert_curves(events, camera.taken, calibration)
    assert len(sink.of("stop")) == 2


def test_stack_of_frames_in_an_event(
    engine: RunEngine, rng: np.random.Generator, calibration: Calibration, reductions: Make
) -> None:
    stack = rng.poisson(10, (3, 60, 80))
    reduction, sink = reductions(calibration)
    engine.subscribe(reduction)
    engine(count([SynSignal(func=lambda: stack, name="camera")], 2))
    assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), [*stack, *stack], calibration)
    assert [event["data"]["frame_index"] for event in sink.of("event")] == list(range(6))


def run_documents(images: list[np.ndarray], **start: Any) -> list[NamedDocument]:
    """A run with its images inline, as documents."""
    bundle = event_model.compose_run(metadata=start)
    keys = {"camera": {"dtype": "array", "shape": [60, 80], "source": "test"}}
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    events = [stream.compose_event(data={"camera": image}, timestamps={"camera": 1.0}) for image in images]
    return [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        *(("event", dict(event)) for event in events),
        ("stop", dict(bundle.compose_stop())),
    ]


def test_interleaved_runs_stay_apart(rng: np.random.Generator, calibration: Calibration, reductions: Make) -> None:
    reduction, sink = reductions(calibration)
    image_sets = [[rng.poisson(10, (60, 80)) for _ in range(3)] for _ in range(3)]
    runs = [run_documents(images, scan_id=number) for number, images in enumerate(image_sets)]
    for documents in zip(*runs, strict=True):
        for name, doc in documents:
            reduction(name, doc)
    assert reduction.wait(PATIENCE)
    check(sink)
    for number, images in enumerate(image_sets):
        (start,) = [start for start in sink.of("start") if start["original_scan_id"] == number]
        (descriptor,) = [d for d in sink.of("descriptor") if d["run_start"] == start["uid"]]
        assert_curves([e for e in sink.of("event") if e["descriptor"] == descriptor["uid"]], images, calibration)


def test_event_pages_are_taken_too(rng: np.random.Generator, calibration: Calibration, reductions: Make) -> None:
    reduction, sink = reductions(calibration)
    images = [rng.poisson(10, (60, 80)) for _ in range(3)]
    start, descriptor, *events, stop = run_documents(images)
    page = event_model.pack_event_page(*(doc for _, doc in events))
    for name, doc in (start, descriptor, ("event_page", page), stop):
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), images, calibration)


def test_run_that_never_stops_is_closed_at_the_end(rng: np.random.Generator, calibration: Calibration) -> None:
    sink = Collected()
    reduction = Reduction(calibration, [sink])
    for name, doc in run_documents([rng.poisson(10, (60, 80))])[:-1]:
        reduction(name, doc)
    assert reduction.close(PATIENCE)
    (stop,) = sink.of("stop")
    assert (stop["exit_status"], stop["reason"]) == ("abort", "the raw run has no stop document")
    check(sink)


@pytest.mark.logs_errors  # the RunEngine's own
def test_aborted_run_is_told(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    engine.subscribe(reduction)

    def plan() -> Any:
        yield from bps.open_run()
        yield from bps.trigger_and_read([Camera(images)])
        raise RuntimeError("the shutter is stuck")

    with pytest.raises(RuntimeError, match="the shutter is stuck"):
        engine(bpp.finalize_wrapper(plan(), bps.null()))
    assert reduction.wait(PATIENCE)
    (stop,) = sink.of("stop")
    assert stop["exit_status"] == "fail"
    assert "the shutter is stuck" in stop["reason"]
    assert stop["num_events"] == {"primary": 1}


# Faults


def test_frame_of_the_wrong_shape_is_recorded_and_the_others_done(
    rng: np.random.Generator, calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    images = [rng.poisson(10, shape) for shape in ((60, 80), (80, 60), (60, 80))]
    for name, doc in run_documents(images):
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    check(sink)
    good, bad, last = sink.of("event")
    assert "wanted an image of shape (60, 80)" in bad["data"]["failure"]
    assert np.isnan(bad["data"]["R0_intensity"]).all()
    assert np.isnan(bad["data"]["R0_I2"])
    assert_curves([good, last], [images[0], images[2]], calibration)
    assert "1 of 3 frames failed" in sink.of("stop")[0]["reason"]
    assert (reduction.status.reduced, reduction.status.failed) == (2, 1)


def tiff_documents(folder: Path, count: int) -> list[NamedDocument]:
    """A run of TIFF files by resource and datum."""
    bundle = event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [1, 60, 80], "source": "test", "external": "FILESTORE:"}}
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    resource = bundle.compose_resource(
        spec="AD_TIFF",
        root="/",
        resource_path=str(folder).lstrip("/") + "/",
        resource_kwargs={"template": "%s%s_%06d.tif", "filename": "x", "frame_per_point": 1},
    )
    documents: list[NamedDocument] = [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        ("resource", dict(resource.resource_doc)),
    ]
    for number in range(count):
        datum = resource.compose_datum(datum_kwargs={"point_number": number})
        event = stream.compose_event(
            data={"camera": datum["datum_id"]}, timestamps={"camera": 1.0}, filled={"camera": False}
        )
        documents += [("datum", dict(datum)), ("event", dict(event))]
    return [*documents, ("stop", dict(bundle.compose_stop()))]


def test_file_that_never_appears_is_recorded(tmp_path: Path, calibration: Calibration, reductions: Make) -> None:
    reduction, sink = reductions(calibration)
    images = [np.full((60, 80), number) for number in range(4)]
    for number in (0, 1, 3):
        write_frame(tmp_path / f"x_{number:06d}.tif", images[number])
    for name, doc in tiff_documents(tmp_path, 4):
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    check(sink)
    events = sink.of("event")
    assert (
        events[2]["data"]["failure"] == f"{tmp_path}/x_000002.tif: wanted a TIFF image, found No such file or directory"
    )
    assert events[2]["data"]["image_path"] == f"{tmp_path}/x_000002.tif"
    assert_curves([events[0], events[1], events[3]], [images[0], images[1], images[3]], calibration)


def test_file_that_is_late_or_grows_is_waited_for(tmp_path: Path, calibration: Calibration, reductions: Make) -> None:
    reduction, sink = reductions(calibration, patience=10)
    image = np.full((60, 80), 7)
    for name, doc in tiff_documents(tmp_path, 1):
        reduction(name, doc)
    write_frame(tmp_path / "whole", image)
    content = (tmp_path / "whole").read_bytes()
    for end in (0, 100, 5000, len(content)):
        time.sleep(0.1)
        (tmp_path / "x_000000.tif").write_bytes(content[:end])
    assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), [image], calibration)


def test_mask_file_that_is_gone_since_costs_nothing(
    tmp_path: Path, rng: np.random.Generator, document: dict[str, Any], reductions: Make
) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[:10] = 1
    np.save(tmp_path / "mask.npy", mask)
    document["Masks"] = [{"MaskFile": "mask.npy"}]
    calibration = Calibration.from_dict(document, folder=tmp_path)
    reduction, sink = reductions(calibration)
    images = [rng.poisson(10, (60, 80)) for _ in range(2)]
    expected = [Reducer(calibration).reduce(image)[0].intensity for image in images]
    (tmp_path / "mask.npy").unlink()
    for name, doc in run_documents(images):
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    for event, intensity in zip(sink.of("event"), expected, strict=True):
        np.testing.assert_array_equal(event["data"]["R0_intensity"], intensity)
    (digest,) = sink.of("start")[0]["provenance"]["mask_sha256"]
    assert digest == hashlib.sha256(mask.tobytes()).hexdigest()


class Faulty:
    """A recipe that fails on bright images."""

    name = "Faulty"
    axis = np.array([1.0])

    def integrate(self, image: Any) -> Curve:
        if image.max() > 100:
            raise ZeroDivisionError("too bright")
        return Curve(self.name, "recipe", self.axis, "x", "mm", self.axis, self.axis)


def test_recipe_that_raises_fails_its_frame_and_the_scan_goes_on(
    engine: RunEngine, calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration, extra_integrators=[Faulty()])
    engine.subscribe(reduction)
    bright = iter([np.full((60, 80), level) for level in (1, 1, 200, 1)])
    engine(count([SynSignal(func=lambda: next(bright), name="camera")], 3))
    assert reduction.wait(PATIENCE)
    assert [e["data"]["failure"] for e in sink.of("event")] == ["", "unexpected ZeroDivisionError: too bright", ""]
    check(sink)


def test_recipe_that_cannot_do_any_image_is_refused_at_once(calibration: Calibration) -> None:
    class Broken(Faulty):
        def integrate(self, image: Any) -> Curve:
            raise KeyError("no")

    with pytest.raises(CalibrationError, match="extra integrators that can integrate an empty image, found KeyError"):
        Reduction(calibration, extra_integrators=[Broken()])


def test_sink_that_raises_hurts_nobody_else(
    engine: RunEngine, images: Iterator[np.ndarray], calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)

    def broken(name: str, doc: dict[str, Any]) -> None:
        raise OSError("disk full")

    reduction.sinks.insert(0, broken)
    engine.subscribe(reduction)
    engine(count([Camera(images)], 2))
    assert reduction.wait(PATIENCE)
    assert len(sink.of("event")) == 2
    assert reduction.status.sink_errors == 5


def test_documents_that_make_no_sense_are_survived(
    rng: np.random.Generator, calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(calibration)
    for name, doc in (("event", {}), ("descriptor", {"uid": 3}), ("nonsense", {}), ("start", {}), ("datum", {"x": 1})):
        reduction(name, doc)
    images = [rng.poisson(10, (60, 80))]
    for name, doc in run_documents(images):
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), images, calibration)


def test_datum_that_never_came_is_recorded(tmp_path: Path, calibration: Calibration, reductions: Make) -> None:
    reduction, sink = reductions(calibration)
    for name, doc in tiff_documents(tmp_path, 1):
        if name != "datum":
            reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert "wanted a datum" in sink.of("event")[0]["data"]["failure"]
    check(sink)


def test_images_wait_on_disk_where_too_many_wait_in_memory(
    rng: np.random.Generator,
    calibration: Calibration,
    reductions: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    release = threading.Event()
    reduction, sink = reductions(calibration, inline_megabytes=0.1)
    reduction.sinks.insert(0, lambda name, doc: release.wait(20))
    images = [rng.poisson(10, (60, 80)) for _ in range(8)]
    for name, doc in run_documents(images):
        reduction(name, doc)
    deadline = time.monotonic() + 10
    while len(list(tmp_path.rglob("*.npy"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(tmp_path.rglob("*.npy"))) >= 5  # 38 kB each: two fit, and one may be in hand
    assert reduction.status.waiting > 0
    assert reduction.status.lag > 0
    assert not reduction.wait(0.01)
    release.set()
    assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), images, calibration)
    assert reduction.close(PATIENCE)
    assert list(tmp_path.iterdir()) == []


def test_detector_may_use_its_array_again(calibration: Calibration, reductions: Make) -> None:
    release = threading.Event()
    reduction, sink = reductions(calibration)
    reduction.sinks.insert(0, lambda name, doc: release.wait(20))
    buffer = np.zeros((60, 80), np.int32)
    documents = run_documents([buffer, buffer, buffer])
    for number, (name, doc) in enumerate(documents):
        buffer[:] = number
        reduction(name, doc)
        time.sleep(0.05)  # no detector is faster than the thread that takes the image over
    buffer[:] = 999
    release.set()
    assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), [np.full((60, 80), level) for level in (2, 3, 4)], calibration)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_their_order(
    rng: np.random.Generator, calibration: Calibration, reductions: Make, workers: int
) -> None:
    images = [rng.poisson(10, (60, 80)) for _ in range(20)]
    with ThreadPoolExecutor(workers) as pool:
        reduction, sink = reductions(calibration, executor=pool)
        for name, doc in run_documents(images):
            reduction(name, doc)
        assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), images, calibration)


class Deadly:
    """A recipe that kills its process on one image; only where it is not the tests' own."""

    name = "Deadly"
    axis = np.array([1.0])

    def __init__(self) -> None:
        self.home = os.getpid()

    def integrate(self, image: Any) -> Curve:
        if image.max() == 4 and os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return Curve(self.name, "recipe", self.axis, "x", "mm", self.axis, self.axis)


def test_killed_worker_costs_no_frame(calibration: Calibration, reductions: Make) -> None:
    images = [np.full((60, 80), level) for level in range(8)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        reduction, sink = reductions(calibration, executor=pool, extra_integrators=[Deadly()])
        for name, doc in run_documents(images):
            reduction(name, doc)
        assert reduction.wait(PATIENCE)
    assert_curves(sink.of("event"), images, calibration)
    check(sink)


def test_document_after_the_end_is_refused_quietly(calibration: Calibration) -> None:
    reduction = Reduction(calibration)
    assert reduction.close()
    reduction("start", {"uid": "x", "time": 1.0})
    assert reduction.status.waiting == 0


def test_no_thread_is_left_behind(rng: np.random.Generator, calibration: Calibration) -> None:
    before = set(threading.enumerate())
    reduction = Reduction(calibration, [lambda name, doc: None])
    for name, doc in run_documents([rng.poisson(10, (60, 80))]):
        reduction(name, doc)
    assert reduction.close(PATIENCE)
    assert set(threading.enumerate()) <= before


# ophyd-async


@pytest.fixture
def blob(engine: RunEngine, tmp_path: Path) -> SimBlobDetector:
    with init_devices():
        detector = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), name="blob")
    return detector  # noqa: RET504 - it gets its name and its connection when the block ends


@pytest.fixture
def blob_calibration(document: dict[str, Any]) -> Calibration:
    document["Geometry"] |= {"Imagesize": [240, 320], "DedectorDistanceMM": 2000.0}
    return Calibration.from_dict(document)


def blob_images(folder: Path) -> list[np.ndarray]:
    import h5py

    (path,) = folder.glob("*.h5")
    with h5py.File(path, "r", swmr=True, libver="latest") as file:
        return list(file["/entry/data/data"][()])


def test_step_scan_of_ophyd_async(
    engine: RunEngine, blob: SimBlobDetector, tmp_path: Path, blob_calibration: Calibration, reductions: Make
) -> None:
    with init_devices():
        stage = SimMotor(name="stage", instant=True)
    reduction, sink = reductions(blob_calibration, patience=5)
    engine.subscribe(reduction)
    engine(scan([blob], stage, 0, 1, 3))
    assert reduction.wait(PATIENCE)
    check(sink)
    assert_curves(sink.of("event"), blob_images(tmp_path), blob_calibration)
    assert [event["data"]["stage"] for event in sink.of("event")] == [0, 0.5, 1]


def test_fly_scan_of_ophyd_async_has_no_events_and_is_reduced_all_the_same(
    engine: RunEngine, blob: SimBlobDetector, tmp_path: Path, blob_calibration: Calibration, reductions: Make
) -> None:
    reduction, sink = reductions(blob_calibration, patience=5)
    raw = Collected()
    engine.subscribe(raw.__call__)  # a RunEngine wants something hashable
    engine.subscribe(reduction)

    @bpp.stage_decorator([blob])
    @bpp.run_decorator()
    def fly() -> Any:
        yield from bps.prepare(blob, TriggerInfo(number_of_events=4), wait=True)
        yield from bps.declare_stream(blob, name="primary", collect=True)
        yield from bps.kickoff(blob, wait=True)
        yield from bps.collect_while_completing(flyers=[blob], dets=[blob], stream_name="primary", flush_period=0.2)

    engine(fly())
    assert reduction.wait(PATIENCE)
    assert raw.of("event") == []
    check(sink)
    assert_curves(sink.of("event"), blob_images(tmp_path), blob_calibration)
    assert len(sink.of("event")) == 4


def test_header_that_contradicts_the_calibration_is_logged_once_a_run(
    tmp_path: Path, calibration: Calibration, reductions: Make, caplog: pytest.LogCaptureFixture
) -> None:
    header = PilatusHeader(entries={"Wavelength": "0.154 A"})
    reduction, _ = reductions(calibration)
    for run in range(2):
        documents = tiff_documents(tmp_path / str(run), 3)
        (tmp_path / str(run)).mkdir()
        for number in range(3):
            write_frame(tmp_path / str(run) / f"x_{number:06d}.tif", np.ones((60, 80)), header)
        for name, doc in documents:
            reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert reduction.status.reduced == 6
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    for run, text in enumerate(told):
        assert text.startswith(f"calibration contradicts the header of {tmp_path}/{run}/x_")
        assert text.endswith("Wavelength 1.54, in the image 0.154 A")


def test_mask_that_leaves_no_pixel_is_logged(
    document: dict[str, Any], reductions: Make, caplog: pytest.LogCaptureFixture
) -> None:
    mask = io.BytesIO()
    np.save(mask, np.ones((60, 80), bool))
    document["Masks"][0]["MaskFile"] = "m.npy"
    reductions(Calibration.from_dict(document, masks=[mask.getvalue()]))
    assert caplog.messages == [
        "Masks[0] of calibration makes a curve of NaN: m.npy masks every pixel (masked are the pixels that are not 0)"
    ]
