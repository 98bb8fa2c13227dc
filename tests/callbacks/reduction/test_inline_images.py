"""Detectors that use the array again which they gave away with an event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import event_model
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import SynSignal

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.callbacks.reduction._inline_images import InlineImages
from saxs_bluesky.reduction import Calibration, Reducer
from tests.helpers.calibrations import small_document
from tests.helpers.waiting import PATIENCE

SHAPE = (60, 80)
KEYS = {
    "camera": {"dtype": "array", "shape": list(SHAPE), "source": "test"},
    "spectrum": {"dtype": "array", "shape": [100], "source": "test"},
}


@pytest.fixture
def calibration() -> Calibration:
    return Calibration.from_dict(small_document())


@pytest.fixture
def reduction(calibration: Calibration) -> Iterator[tuple[Reduction, list[np.ndarray]]]:
    found: list[np.ndarray] = []

    def sink(name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            assert not doc["data"]["failure"]
            found.append(doc["data"]["R0_intensity"])

    made = Reduction(calibration, [sink])
    yield made, found
    assert made.close(PATIENCE)


def assert_curves(found: list[np.ndarray], images: list[np.ndarray], calibration: Calibration) -> None:
    reducer = Reducer(calibration)
    assert len(found) == len(images)
    for intensity, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(intensity, reducer.reduce(image)[0].intensity)


def images_of(rng: np.random.Generator, number: int) -> list[np.ndarray]:
    return [rng.poisson(10, SHAPE).astype("i4") for _ in range(number)]


def descriptor() -> Any:
    bundle = event_model.compose_run()
    return bundle, bundle.compose_descriptor(name="primary", data_keys=KEYS)


def test_detector_with_one_array_for_all_its_images(
    reduction: tuple[Reduction, list[np.ndarray]], calibration: Calibration, rng: np.random.Generator
) -> None:
    work, found = reduction
    images = images_of(rng, 201)
    array, following = np.zeros(SHAPE, "i4"), iter(images)

    def expose() -> np.ndarray:
        array[...] = next(following)
        return array

    engine = RunEngine({})
    engine.subscribe(work)
    engine(count([SynSignal(func=expose, name="camera")], 200))  # it takes one to begin with
    assert work.wait(PATIENCE)
    assert_curves(found, images[1:], calibration)


@pytest.mark.parametrize("stacked", [False, True])
def test_array_that_is_emptied_as_soon_as_its_page_was_taken(
    reduction: tuple[Reduction, list[np.ndarray]], calibration: Calibration, rng: np.random.Generator, stacked: bool
) -> None:
    work, found = reduction
    run, stream = descriptor()
    work("start", dict(run.start_doc))
    work("descriptor", dict(stream.descriptor_doc))
    images = images_of(rng, 30)
    for first in range(0, 30, 3):
        arrays = [image.copy() for image in images[first : first + 3]]
        column: Any = np.stack(arrays) if stacked else arrays
        page = {
            "descriptor": stream.descriptor_doc["uid"],
            "uid": [f"{first}-{number}" for number in range(3)],
            "time": [1.0] * 3,
            "seq_num": [first + number + 1 for number in range(3)],
            "data": {"camera": column, "spectrum": [[0.0] * 100] * 3},
            "timestamps": {"camera": [1.0] * 3, "spectrum": [1.0] * 3},
            "filled": {},
        }
        work("event_page", page)
        for array in column:
            array[...] = 0
    work("stop", dict(run.compose_stop()))
    assert work.wait(PATIENCE)
    assert_curves(found, images, calibration)


def test_only_images_that_somebody_may_write_to_are_copied(rng: np.random.Generator) -> None:
    _, stream = descriptor()
    (image,) = images_of(rng, 1)
    inline = InlineImages(None)
    assert inline.taken("descriptor", stream.descriptor_doc) is stream.descriptor_doc

    def taken(camera: Any) -> Any:
        event = {"descriptor": stream.descriptor_doc["uid"], "data": {"camera": camera, "spectrum": spectrum}}
        after = inline.taken("event", event)
        assert after["data"]["spectrum"] is spectrum
        assert event["data"]["camera"] is camera
        return after["data"]["camera"]

    spectrum = np.zeros(100)
    message = np.frombuffer(image.tobytes(), image.dtype).reshape(SHAPE)
    assert taken(message) is message
    locked = image.copy()
    locked.flags.writeable = False  # which its owner may take back
    for writeable in (image, locked, image.view(), memoryview(image)):
        copied = taken(writeable)
        assert not np.shares_memory(copied, np.asarray(writeable))
        np.testing.assert_array_equal(copied, image)
    listed = image.tolist()
    assert taken(listed) is listed


def test_images_of_other_detectors_and_odd_documents_stay_as_they_are(rng: np.random.Generator) -> None:
    _, stream = descriptor()
    (image,) = images_of(rng, 1)
    inline = InlineImages(frozenset({"another"}))
    inline.taken("descriptor", stream.descriptor_doc)
    event = {"descriptor": stream.descriptor_doc["uid"], "data": {"camera": image}}
    assert inline.taken("event", event)["data"]["camera"] is image
    for name, doc in (("descriptor", {}), ("event", {}), ("event", {"descriptor": 1, "data": 2}), ("event_page", None)):
        assert inline.taken(name, doc) is doc  # type: ignore[arg-type]
