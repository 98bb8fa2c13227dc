"""Offsets of loggers' clocks against the truth of beam times that never were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge import (
    Images,
    LogTable,
    OffsetEstimate,
    assess_offset,
    estimate_offset,
    first_image_offset,
    offset_table,
    synchronised,
    zero_image_offset,
)
from tests.helpers.beam_times import NS, START, BeamTime, Plan, Series, carried_out, random_plan

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


# --- automatic: exposures against openings ---


def error(beam_time: BeamTime, estimate: OffsetEstimate) -> float:
    """Seconds by which an estimated offset is wrong at an image, at most."""
    shutter, images = beam_time.shutter(), beam_time.images()
    moved = replace(shutter, offset=estimate.offset, drift=estimate.drift, reference=estimate.reference)
    true = beam_time.image_clock(shutter.times)
    near = (true >= images.start.min() - NS) & (true <= images.end.max() + NS)
    return float(np.abs(moved.image_times - true)[near].max()) / NS


def estimated(beam_time: BeamTime) -> OffsetEstimate:
    return estimate_offset(beam_time.images(), beam_time.shutter())


def judged(seed: int) -> tuple[bool, bool, str]:
    """Whether a random beam time's offset is right within one exposure, and sure; and what it was."""
    beam_time = carried_out(random_plan(seed))
    estimate = estimated(beam_time)
    wrong = error(beam_time, estimate)
    right = wrong < float(beam_time.images().exposure.min()) / NS
    assert estimate.sure == (not estimate.reason) == (estimate.confidence >= 0.95 and not estimate.reason)
    return right, estimate.sure, f"seed {seed}: {wrong:.3f} s wrong, confidence {estimate.confidence:.3f}"


@pytest.mark.parametrize("seed", range(24))
def test_random_beam_time_is_right_or_unsure(seed: int):
    right, sure, text = judged(seed)
    assert right or not sure, text


@pytest.mark.soak
def test_500_random_beam_times():
    results = [judged(seed) for seed in range(500)]
    wrong = [text for right, sure, text in results if sure and not right]
    right, sure = sum(right for right, _, _ in results), sum(sure for _, sure, _ in results)
    print(f"right {right}, sure {sure}, wrong but sure {len(wrong)}")  # noqa: T201 (figures of the soak)
    assert not wrong, wrong
    assert right >= 490
    assert sure >= 430


MIXED = [Series(8, 1.0, 0.3, 7.0), Series(5, 10.0, 2.5, 12.0), Series(12, 1.0, 0.1, 31.0), Series(3, 5.0, 0.5)]


def test_offset_and_pairs_of_a_clean_beam_time():
    beam_time = carried_out(Plan(MIXED, offset=-3725.5, shutter_jitter=0.0))
    estimate = estimated(beam_time)
    assert estimate.sure
    assert estimate.reason == ""
    assert estimate.confidence > 0.99
    assert error(beam_time, estimate) < 0.002
    assert (estimate.images, estimate.openings, estimate.matched) == (28, 28, 28)
    # Openings and closings take turns in the table.
    assert estimate.pairs.tolist() == [[image, 2 * image] for image in range(28)]
    assert np.abs(estimate.residuals).max() < 0.002
    assert estimate.scatter < 0.001


@pytest.mark.parametrize("drift", [-1e-4, -2e-5, 3e-6, 1e-4])
def test_drift_over_a_day(drift: float):
    series = [Series(20, 2.0, 0.2, pause) for pause in np.linspace(2000, 5000, 24)]
    beam_time = carried_out(Plan(series, offset=1800.0, drift=drift))
    estimate = estimated(beam_time)
    assert estimate.sure
    assert estimate.drift == pytest.approx(drift, abs=2e-8)
    assert error(beam_time, estimate) < 0.003


def test_latency_of_the_shutter_is_part_of_the_offset():
    beam_time = carried_out(Plan(MIXED, offset=10.0, latency=0.2))
    assert estimated(beam_time).offset == pytest.approx(9.8, abs=0.002)


def test_headers_of_whole_seconds_are_taken_as_cut():
    beam_time = carried_out(Plan(MIXED, offset=500.0, logged=0.0, seed=3))
    estimate = estimated(beam_time)
    assert estimate.sure
    assert error(beam_time, estimate) < 0.25
    assert estimate.residuals.min() > -0.25
    assert estimate.residuals.max() < 1.25


def test_headers_of_whole_seconds_are_too_coarse_for_short_exposures():
    pauses = (5.0, 17.0, 8.0, 31.0, 12.0, 9.0, 22.0, 14.0, 27.0, 11.0, 6.0, 19.0, 33.0, 7.0)
    plan = Plan([Series(1, 0.02, 0.1, pause) for pause in pauses], logged=0.0)
    estimate = estimated(carried_out(plan))
    assert not estimate.sure
    assert "more than the shortest exposure of 0.02 s" in estimate.reason


def test_series_in_the_midst_of_a_longer_one_is_unsure():
    """Openings went on before and after: images at any of many places match them all."""
    beam_time = carried_out(Plan([Series(100, 1.0, 0.1)]))
    images = beam_time.images()
    some = slice(30, 60)
    part = Images(images.end[some], images.exposure[some], images.columns.iloc[some], images.logged[some])
    estimate = estimate_offset(part, beam_time.shutter())
    assert not estimate.sure
    assert estimate.confidence < 0.5
    assert "30 exposures match an opening also with an offset" in estimate.reason


def test_series_that_misses_its_first_opening_is_unsure():
    beam_time = carried_out(Plan([Series(20, 5.0, 0.1)]))
    shutter = beam_time.shutter()
    late = replace(shutter, times=shutter.times[2:], columns=shutter.columns.iloc[2:].reset_index(drop=True))
    assert not estimate_offset(beam_time.images(), late).sure


def test_motors_between_images_make_a_series_unique():
    """As above, but the distances vary by 50 ms: only one place fits to ms."""
    beam_time = carried_out(Plan([Series(100, 1.0, 0.5, jitter=0.05)], offset=77.0))
    images = beam_time.images()
    some = slice(30, 60)
    part = Images(images.end[some], images.exposure[some], images.columns.iloc[some], images.logged[some])
    estimate = estimate_offset(part, beam_time.shutter())
    assert estimate.sure
    assert error(beam_time, estimate) < 0.05


def test_equal_series_are_told_apart_by_their_pauses():
    plan = Plan([Series(10, 1.0, 0.1, pause) for pause in (20.0, 35.0, 15.0, 60.0, 10.0)], offset=-50.0, drift=5e-5)
    beam_time = carried_out(plan)
    estimate = estimated(beam_time)
    assert estimate.sure
    assert error(beam_time, estimate) < 0.01


def test_foreign_openings_missing_rows_and_dark_frames():
    dark = Series(6, 1.0, 0.2, 5.0, dark=True)
    plan = Plan([*MIXED, dark, *MIXED], offset=9000.0, missing=0.1, duplicated=0.1, foreign=30, alignment=10, seed=5)
    beam_time = carried_out(plan)
    estimate = estimated(beam_time)
    assert estimate.sure
    assert error(beam_time, estimate) < 0.01
    assert estimate.matched < estimate.images


def test_images_of_two_detectors_share_an_opening():
    beam_time = carried_out(Plan(MIXED, offset=60.0, detectors=("Pil1M", "Pil100k")))
    estimate = estimate_offset(beam_time.images(("Pil1M", "Pil100k")), beam_time.shutter())
    assert estimate.sure
    assert error(beam_time, estimate) < 0.01


def test_durations_that_differ_from_exposures_throughout():
    """A shutter that opens for a tenth longer than the exposure: times alone are compared."""
    beam_time = carried_out(Plan(MIXED, offset=60.0))
    shutter = beam_time.shutter()
    longer = replace(shutter, columns=shutter.columns.assign(Duration=shutter.columns["Duration"] * 1.13))
    estimate = estimate_offset(beam_time.images(), longer)
    assert estimate.sure
    assert error(beam_time, estimate) < 0.01


def test_log_of_another_day_is_not_found():
    beam_time = carried_out(Plan(MIXED, offset=3 * 86400.0))
    estimate = estimated(beam_time)
    assert not estimate.sure
    assert estimate.reason == "Peak has no opening of the shutter within 24 h of the images (elsewhere: 28)"
    assert estimate_offset(beam_time.images(), beam_time.shutter(), limit=4 * 86400.0).sure


def test_unrelated_log_is_unsure():
    random = np.random.default_rng(8)
    images = carried_out(Plan([Series(1, 1.0, 0.1, pause) for pause in random.uniform(3, 90, 40)])).images()
    shutter = carried_out(Plan([Series(1, 1.0, 0.1, pause) for pause in random.uniform(3, 90, 40)])).shutter()
    assert not estimate_offset(images, shutter).sure


def test_clock_that_was_set_meanwhile_is_unsure():
    beam_time = carried_out(Plan([*MIXED, *MIXED, *MIXED], offset=60.0))
    shutter = beam_time.shutter()
    times = shutter.times + np.where(np.arange(len(shutter.times)) < len(shutter.times) // 2, 0, 7 * NS)
    estimate = estimate_offset(beam_time.images(), replace(shutter, times=times))
    assert not estimate.sure


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_images(count: int):
    beam_time = carried_out(Plan([Series(3, 1.0, 0.3)]))
    images = beam_time.images()
    few = Images(images.end[:count], images.exposure[:count], images.columns.iloc[:count], images.logged[:count])
    estimate = estimate_offset(few, beam_time.shutter())
    assert not estimate.sure
    assert estimate.reason


def test_table_without_durations():
    with pytest.raises(MergeError, match=r"Dlogger: the automatic offset wants a column Duration .*found Ioni, Diode"):
        estimate_offset(carried_out(EXACT).images(), carried_out(EXACT).logger())


def test_table_without_entries_is_unsure():
    shutter = carried_out(EXACT).shutter()
    empty = replace(shutter, times=shutter.times[:0], columns=shutter.columns.iloc[:0])
    assert "has no opening of the shutter" in estimate_offset(carried_out(EXACT).images(), empty).reason


# --- what all clocks are then ---


def test_loggers_share_the_clock_and_keep_their_differences():
    beam_time = carried_out(EXACT)
    tables = [replace(beam_time.shutter(), offset=100.0), replace(beam_time.logger(), offset=100.5)]
    shutter, logger = synchronised(tables, "Peak", -37.25, 1e-6, START)
    assert (shutter.offset, shutter.drift, shutter.reference) == (-37.25, 1e-6, START)
    assert (logger.offset, logger.drift, logger.reference) == (-36.75, 1e-6, START + NS // 2)


def test_shutter_that_is_missing_is_named():
    with pytest.raises(MergeError, match="wants the table Peak, found Dlogger"):
        synchronised([carried_out(EXACT).logger()], "Peak", 1.0)


def test_offsets_given_are_assessed():
    beam_time = carried_out(Plan(MIXED, offset=12.0, shutter_jitter=0.005))
    right = assess_offset(beam_time.images(), replace(beam_time.shutter(), offset=12.0))
    wrong = assess_offset(beam_time.images(), replace(beam_time.shutter(), offset=-300.0))
    assert (right.matched, wrong.matched) == (28, 0)
    assert right.scatter == pytest.approx(0.005, rel=0.5)
    assert not right.sure


def test_offsets_as_text():
    beam_time = carried_out(Plan(MIXED, offset=12.0, shutter_jitter=0.0))
    estimate = estimated(beam_time)
    tables = synchronised([beam_time.shutter(), beam_time.logger()], "Peak", 12.0)
    lines = offset_table(tables, {"Peak": replace(estimate, confidence=1.0, scatter=0.00123)}).splitlines()
    assert lines == [
        "device   entries  offset s  drift ppm  scatter s   matched  confidence",
        "Peak          56    12.000        0.0     0.0012  28 of 28        1.00",
        f"Dlogger      {len(beam_time.logger().times)}    12.000        0.0          -         -           -",
    ]


def test_doubt_is_said_in_the_table():
    beam_time = carried_out(Plan([Series(2, 1.0, 0.3)]))
    estimate = estimated(beam_time)
    assert offset_table([beam_time.shutter()], {"Peak": estimate}).endswith("unsure")
