"""Wall clocks and zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge import wall_times
from saxs_bluesky.merge._clocks import from_wall, time_zone
from saxs_bluesky.merge._tables import NS, Times

VIENNA = ZoneInfo("Europe/Vienna")


def wall(*texts: str) -> Times:
    return np.array(texts, "M8[ns]").view(np.int64)


def utc(*texts: str) -> list[int]:
    return wall(*texts).tolist()


def test_utc_is_left_alone() -> None:
    times = wall("2014-07-21T10:00:00.123456789")
    assert from_wall(times, ZoneInfo("UTC")).times is times


def test_winter_and_summer() -> None:
    found = from_wall(wall("2014-01-01T12:00", "2014-07-01T12:00:00.000000001"), VIENNA)
    assert found.times.tolist() == utc("2014-01-01T11:00", "2014-07-01T10:00:00.000000001")
    assert (found.ambiguous, found.absent) == (0, 0)


def test_hour_that_is_shown_twice_goes_by_the_order() -> None:
    """Logged every 20 minutes through the end of daylight saving, 03:00 being 02:00 again; then the next year's."""
    shown = wall(
        "2014-10-26T01:50", "2014-10-26T02:10", "2014-10-26T02:50", "2014-10-26T02:10", "2014-10-26T02:30",
        "2014-10-26T03:00", "2015-10-25T02:10",
    )  # fmt: skip
    found = from_wall(shown, VIENNA)
    assert found.times.tolist() == utc(
        "2014-10-25T23:50", "2014-10-26T00:10", "2014-10-26T00:50", "2014-10-26T01:10", "2014-10-26T01:30",
        "2014-10-26T02:00", "2015-10-25T00:10",
    )  # fmt: skip
    assert found.ambiguous == 5


def test_small_steps_back_in_that_hour_are_no_second_hour() -> None:
    shown = wall("2014-10-26T02:10:00", "2014-10-26T02:09:59", "2014-10-26T02:10:01")
    assert np.diff(from_wall(shown, VIENNA).times).tolist() == [-NS, 2 * NS]


def test_skipped_time_is_of_a_clock_that_was_not_changed() -> None:
    found = from_wall(wall("2014-03-30T01:59", "2014-03-30T02:30", "2014-03-30T03:31"), VIENNA)
    assert found.times.tolist() == utc("2014-03-30T00:59", "2014-03-30T01:30", "2014-03-30T01:31")
    assert found.absent == 1


@given(
    seconds=st.integers(0, 2_000_000_000),
    zone=st.sampled_from(["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Europe/Dublin", "Asia/Kolkata"]),
)
def test_equal_to_the_standard_library(seconds: int, zone: str) -> None:
    naive = datetime(1970, 1, 2, tzinfo=UTC) + timedelta(seconds=seconds)
    expected = naive.replace(tzinfo=ZoneInfo(zone)).timestamp()
    shown = np.array([round(naive.timestamp()) * NS + 7])
    assert from_wall(shown, ZoneInfo(zone)).times.tolist() == [round(expected) * NS + 7]


@given(st.lists(st.integers(1_390_000_000, 1_420_000_000), min_size=1, unique=True))
def test_back_and_forth(seconds: list[int]) -> None:
    times = np.sort(np.array(seconds)) * NS
    shown = wall_times(times, "Europe/Vienna")
    back = from_wall(shown.as_unit("ns").asi8, VIENNA)
    assert (wall_times(back.times, "Europe/Vienna") == shown).all()
    assert np.count_nonzero(back.times != times) <= back.ambiguous


def test_unknown_zone() -> None:
    with pytest.raises(MergeError, match="file: wanted a time zone such as Europe/Vienna, found 'x"):
        time_zone("x" * 500, "file")
