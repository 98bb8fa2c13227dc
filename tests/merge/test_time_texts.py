"""Times in log files, as whole nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxs_bluesky.merge._time_texts import plain_time, read_dates, read_seconds

VIENNA = ZoneInfo("Europe/Vienna")


def test_seconds_since_1904_are_exact() -> None:
    """As float64 they are off by up to 128 ns."""
    read = read_seconds(pa.array(["3488781543.25", "3488781543.206", "3488781543.123456789"]))
    assert read.times.tolist() == [3488781543250000000, 3488781543206000000, 3488781543123456789]
    assert float("3488781543.206") * 1e9 != 3488781543206000000


@given(st.lists(st.decimals(-9_000_000_000, 9_000_000_000, places=11), min_size=1), st.booleans())
def test_equal_to_decimal_arithmetic(values: list[Decimal], comma: bool) -> None:
    texts = [f"{value:f}".replace(".", "," if comma else ".") for value in values]
    expected = [int((value * 10**9).to_integral_value(ROUND_HALF_EVEN)) for value in values]
    assert read_seconds(pa.array(texts)).times.tolist() == expected


def test_forms_of_seconds() -> None:
    texts = [" 3488781543,206 ", "3.48878154325E+9", "-1.5", "+.5", "5.", "1e-6", "0003", "1.0000000005000000000000001"]
    read = read_seconds(pa.array([*texts, "bad"]))
    assert read.times[:-1].tolist() == [
        3488781543206000000, 3488781543250000000, -1500000000, 500000000, 5000000000, 1000, 3000000000, 1000000000,
    ]  # fmt: skip
    assert read.valid.tolist() == [True] * 8 + [False]


@pytest.mark.parametrize(
    "text",
    ["", None, "abc", "nan", "inf", "1e300", "1e-300", "9999999999", "99999999999999999999", "0x10", "1_0", "1.2.3"],
)
def test_what_is_no_time_in_seconds(text: str | None) -> None:
    read = read_seconds(pa.array([text, "1.5"], pa.string()))
    assert (read.times.tolist(), read.valid.tolist()) == ([0, 1500000000], [False, True])


@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), min_size=1))
def test_any_text_is_read_or_left_out(texts: list[str | None]) -> None:
    assert len(read_seconds(pa.array(texts, pa.string())).valid) == len(texts)
    assert len(read_dates(pa.array(texts, pa.string()), VIENNA).valid) == len(texts)


def test_forms_of_dates() -> None:
    texts = [
        "2014-07-21T10:00:00.123456789", "2014/07/21 10:00", "21.07.2014  10:00:00,5", "2014:07:21 10:00:21",
        "2014-07-21 10:00:00Z", "2014-07-21T12:00:00+0200", "2014-01-21 10:00:00",
    ]  # fmt: skip
    read = read_dates(pa.array(texts), VIENNA)
    expected = [
        "2014-07-21T08:00:00.123456789", "2014-07-21T08:00", "2014-07-21T08:00:00.5", "2014-07-21T08:00:21",
        "2014-07-21T10:00", "2014-07-21T10:00", "2014-01-21T09:00",
    ]  # fmt: skip
    assert read.times.tolist() == np.array(expected, "M8[ns]").astype(int).tolist()
    assert read.valid.all()


@pytest.mark.parametrize(
    "text", [None, "", "2014-13-01 10:00", "9999-01-01 10:00", "2014-07-21", "10:00:00", "07/21/2014 1:00"]
)
def test_what_is_no_date(text: str | None) -> None:
    read = read_dates(pa.array([text], pa.string()), VIENNA)
    assert (read.times.tolist(), read.valid.tolist()) == ([0], [False])


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_dates_with_zone(naive: datetime, minutes: int) -> None:
    aware = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert read_dates(pa.array([aware.isoformat()]), VIENNA).times.tolist() == [expected]


def test_plain_time() -> None:
    assert plain_time(1405936800_999999999) == "2014-07-21 10:00:00"
