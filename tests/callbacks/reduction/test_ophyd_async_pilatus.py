"""ophyd-async's Pilatus, mocked up to its records: its documents are reduced like all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.plans import count
from ophyd_async.core import (
    StaticFilenameProvider,
    StaticPathProvider,
    callback_on_mock_put,
    init_devices,
    set_mock_value,
)
from ophyd_async.epics.adcore import ADBaseDataType, ADWriterFactory
from ophyd_async.epics.adpilatus import PilatusDetector

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.reduction import Calibration, Reducer, write_frame
from tests.helpers.waiting import PATIENCE


def mocked(folder: Path, images: list[np.ndarray]) -> PilatusDetector:
    """A Pilatus whose records answer as an IOC's would, and which writes these images."""
    with init_devices(mock=True):
        provider = StaticPathProvider(StaticFilenameProvider("frame"), folder)
        pilatus = PilatusDetector("PIL:", ADWriterFactory.tiff(provider), name="pilatus")
    driver, tiff = pilatus.driver, pilatus.tiff
    set_mock_value(driver.array_size_y, images[0].shape[0])
    set_mock_value(driver.array_size_x, images[0].shape[1])
    set_mock_value(driver.data_type, ADBaseDataType.INT32)
    set_mock_value(tiff.file_path_exists, True)
    taken = iter(enumerate(images))

    def acquire(value: bool, **_: Any) -> None:
        if value:
            number, image = next(taken)
            write_frame(folder / f"frame_{number:06d}.tiff", image)
            set_mock_value(tiff.num_captured, number + 1)
            set_mock_value(driver.acquire, False)

    callback_on_mock_put(driver.acquire, acquire)
    set_mock_value(driver.armed, True)
    return pilatus


def test_documents_of_ophyd_asyncs_pilatus_are_reduced(
    tmp_path: Path, document: dict[str, Any], rng: np.random.Generator
) -> None:
    images = [rng.poisson(10, (60, 80)) for _ in range(3)]
    engine = RunEngine({}, call_returns_result=False)
    pilatus = mocked(tmp_path, images)
    raw: list[tuple[str, Any]] = []
    reduced: list[tuple[str, Any]] = []
    calibration = Calibration.from_dict(document)
    reduction = Reduction(calibration, [lambda name, doc: reduced.append((name, doc))], patience=2)
    engine.subscribe(lambda name, doc: raw.append((name, doc)))
    engine.subscribe(reduction)
    engine(count([pilatus], 3))
    assert reduction.close(PATIENCE)
    assert [doc["mimetype"] for name, doc in raw if name == "stream_resource"] == ["multipart/related;type=image/tiff"]
    events = [doc for name, doc in reduced if name == "event"]
    assert [event["data"]["failure"] for event in events] == ["", "", ""]
    reducer = Reducer(calibration)
    for event, image in zip(events, images, strict=True):
        np.testing.assert_array_equal(event["data"]["R0_intensity"], reducer.reduce(image)[0].intensity)
