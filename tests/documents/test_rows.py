"""Rows of a stream, put together by number."""

from __future__ import annotations

import random

import pytest

from saxs_bluesky.documents._rows import Numbers, Ranges


@pytest.mark.parametrize("seed", range(20))
def test_ranges_are_a_set_of_numbers(seed: int) -> None:
    order = random.Random(seed)
    numbers = [order.randrange(40) for _ in range(60)]
    ranges, expected = Ranges(), set[int]()
    for number in numbers:
        assert ranges.add(number) == (number not in expected)
        expected.add(number)
        assert {one for one in range(-1, 42) if one in ranges} == expected
    assert len(ranges._starts) == len([one for one in expected if one - 1 not in expected])


def test_ranges_of_a_long_scan_are_one() -> None:
    ranges = Ranges()
    for number in [*range(0, 1000, 2), *range(999, 0, -2)]:
        assert ranges.add(number)
    assert (ranges._starts, ranges._stops) == ([0], [1000])


def test_numbers_follow_from_the_row_also_where_documents_are_lost() -> None:
    numbers = Numbers()
    assert [numbers.first(row, 3) for row in (2, 1, 5)] == [3, 0, 12]


def test_no_two_frames_have_one_number_when_rows_become_smaller_or_larger() -> None:
    numbers = Numbers()
    found: list[int] = []
    for row, frames in enumerate((2, 2, 1, 1, 3, 3, 1), 1):
        first = numbers.first(row, frames)
        found += range(first, first + frames)
    assert found == list(range(13))
    assert numbers.first(2, 2) == 2  # one that comes late
