"""Offsets of loggers' clocks against the truth of beam times that never were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge import Images, LogTable, first_image_offset, zero_image_offset
from tests.helpers.beam_times import NS, START, Plan, Series, carried_out

EXACT = Plan([Series(5, 1.0, 0.3), Series(3, 10.0, 2.5)], shutter_jitter=0.0)


def no_images() -> Images:
    return Images(np.zeros(0, np.int64), np.zeros(0, np.int64), pd.DataFrame(), np.zeros(0, np.bool_))


def test_times_on_the_images_clock_are_exact():
    times = START + np.array([0, 1, 26_750_000_128], np.int64)
    table = LogTable("Peak", times, pd.DataFrame(index=range(3)), offset=-37.25)
    assert table.image_times.tolist() == [time + 37_250_000_000 for time in times.tolist()]


def test_drift_grows_from_the_reference():
    day = 86400 * NS
    table = LogTable(
        "Peak", START + np.array([-day, 0, day]), pd.DataFrame(index=range(3)), offset=10.0, drift=1e-5, reference=START
    )
    shift = (table.times - table.image_times) / NS
    assert shift.tolist() == [10.0 - 0.864, 10.0, 10.0 + 0.864]


def test_times_with_a_drift_never_go_back():
    times = START + np.cumsum(np.random.default_rng(1).integers(0, 3, 10_000))
    table = LogTable("Peak", times, pd.DataFrame(index=range(10_000)), drift=1e-4, reference=START - 86400 * NS)
    assert (np.diff(table.image_times) >= 0).all()


def test_first_image_and_first_opening():
    beam_time = carried_out(EXACT)
    assert first_image_offset(beam_time.images(), beam_time.shutter()) == -37.25


def test_offset_by_hand_does_not_count():
    beam_time = carried_out(EXACT)
    assert first_image_offset(beam_time.images(), replace(beam_time.shutter(), offset=100.0)) == -37.25


def test_log_that_begins_with_a_closing():
    beam_time = carried_out(EXACT)
    shutter = beam_time.shutter()
    closing = pd.DataFrame({"Duration": [0.0]})
    table = replace(
        shutter,
        times=np.concatenate([shutter.times[:1] - NS, shutter.times]),
        columns=pd.concat([closing, shutter.columns], ignore_index=True),
    )
    assert first_image_offset(beam_time.images(), table) == -37.25


def test_table_without_durations_begins_at_its_first_entry():
    beam_time = carried_out(EXACT)
    shutter = beam_time.shutter()
    assert first_image_offset(beam_time.images(), replace(shutter, columns=shutter.columns[["Ioni_avg"]])) == -37.25


def test_zero_image_is_found_by_its_name():
    beam_time = carried_out(EXACT)
    second = beam_time.images().start[1] - beam_time.images().start[0]
    offset = zero_image_offset(beam_time.images(), beam_time.shutter(), "_00001.tif")
    assert offset == -37.25 - second / NS


def test_zero_image_that_is_missing_is_named():
    beam_time = carried_out(EXACT)
    with pytest.raises(
        MergeError, match=r"contains 'zero_1M_00000.tif', found none among 8 images, the first one is run1/a_00000.tif"
    ):
        zero_image_offset(beam_time.images(), beam_time.shutter())


def test_no_image_at_all():
    shutter = carried_out(EXACT).shutter()
    with pytest.raises(MergeError, match="wants an image, found none"):
        first_image_offset(no_images(), shutter)
    with pytest.raises(MergeError, match="found none among 0 images"):
        zero_image_offset(no_images(), shutter)


def test_log_without_opening():
    beam_time = carried_out(EXACT)
    shutter = beam_time.shutter()
    closings = replace(shutter, columns=shutter.columns.assign(Duration=0.0))
    with pytest.raises(MergeError, match="Peak: wanted at least one opening of the shutter, found 16 entries"):
        first_image_offset(beam_time.images(), closings)
