"""When images were exposed, as documents tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saxs_bluesky.documents import exposure_keys, frame_ends, spread_evenly, stamp_key


def descriptor(keys: list[str], configuration: dict[str, Any] | None = None) -> dict[str, Any]:
    entries = {key: {"dtype": "number", "shape": [], "source": "test"} for key in keys}
    own = {"data": configuration or {}, "timestamps": {}, "data_keys": {}}
    return {"data_keys": entries, "object_keys": {"det": keys}, "configuration": {"det": own}}


@pytest.mark.parametrize(
    "key", ["det_exposure_time", "det_cam_acquire_time", "det-driver-acquire_time", "exposure_time", "det_exposure"]
)
def test_exposure_is_found_by_the_names_that_devices_give_it(key: str) -> None:
    assert exposure_keys(descriptor(["det_image", key]), "det").exposure == key
    told = exposure_keys(descriptor(["det_image"], {key: 0.5}), "det")
    assert (told.exposure, told.configured_exposure, told.is_known) == ("", 0.5, True)


def test_exposure_that_is_not_told_is_not_known() -> None:
    told = exposure_keys(descriptor(["det_image", "overexposure"], {"det_exposure_time": "long"}), "det")
    assert not told.is_known
    assert np.isnan(told.configured_exposure)


def test_period_is_not_taken_for_the_exposure() -> None:
    told = exposure_keys(descriptor([], {"det_cam_acquire_period": 2.0, "det_cam_acquire_time": 1.9}), "det")
    assert (told.configured_exposure, told.configured_period) == (1.9, 2.0)


def test_timestamp_of_the_detector_is_the_end_where_it_belongs_to_its_event() -> None:
    times = np.array([10.0, 20.0, 30.0, 40.0])
    stamps = np.array([9.5, 5.0, np.nan, 41.0])  # fits; of an event before; none; of a clock that is ahead
    ones = np.ones(4)
    assert frame_ends(times, stamps, ones, ones, 1, begin=0.0).tolist() == [9.5, 20.0, 30.0, 40.0]
    assert frame_ends(times[:1], stamps[:1], ones[:1], ones[:1], 1, begin=9.7).tolist() == [10.0]


def test_frames_of_an_event_end_one_period_after_the_other() -> None:
    times, stamps = np.array([10.0, 20.0]), np.array([np.nan, 19.0])
    assert frame_ends(times, stamps, np.full(2, 1.0), np.full(2, 1.5), 3, begin=0.0).tolist() == [
        7.0, 8.5, 10.0, 16.0, 17.5, 19.0,
    ]  # fmt: skip
    assert frame_ends(times[:1], stamps[:1], np.array([1.0]), np.array([np.nan]), 2, begin=0.0).tolist() == [9.0, 10.0]


def test_images_that_arrived_together_lie_evenly_between_arrivals() -> None:
    assert spread_evenly(np.array([4.0, 4.0, 7.0]), 2.0).tolist() == [3.0, 4.0, 7.0]
    assert spread_evenly(np.array([5.0]), 9.0).tolist() == [5.0]  # begun later than it arrived: not spread
    assert spread_evenly(np.empty(0), 1.0).tolist() == []


def test_times_in_the_file_are_those_of_the_same_detector() -> None:
    both = descriptor(["other-timestamp", "det-NDArrayTimeStamp", "det-sum"])
    assert stamp_key(both, "det") == "det-NDArrayTimeStamp"
    assert stamp_key(descriptor(["det-sum"]), "det") == ""
