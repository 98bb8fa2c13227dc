"""Which of many equal occurrences get a line in the log."""

from __future__ import annotations

from saxs_bluesky.support.log_throttle import is_logged


def test_first_ten_and_one_in_a_thousand_are_logged() -> None:
    assert [number for number in range(1, 2500) if is_logged(number)] == [*range(1, 11), 1000, 2000]


def test_less_may_be_logged_one_by_one() -> None:
    assert [number for number in range(1, 2500) if is_logged(number, first=1)] == [1, 1000, 2000]
