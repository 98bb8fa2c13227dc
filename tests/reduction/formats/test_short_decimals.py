"""Texts of numbers with few decimals: those of ``repr``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saxs_bluesky.reduction.formats.short_decimals import short_decimals


def texts(numbers: list[float]) -> list[str | None]:
    found = short_decimals(np.array(numbers, dtype=np.float64))
    data = found.data.tobytes()
    pieces = [data[begin:end].decode() for begin, end in zip(found.offsets, found.offsets[1:], strict=False)]
    assert all(not piece for piece, other in zip(pieces, found.others, strict=True) if other)
    return [None if other else piece for piece, other in zip(pieces, found.others, strict=True)]


def test_numbers_of_instruments() -> None:
    assert texts([1013.25, -0.5, 137.0, 0.000172, 1080457.0, 0.0, -0.0, 1e14, 999999999999999.0]) == [
        "1013.25",
        "-0.5",
        "137.0",
        "0.000172",
        "1080457.0",
        "0.0",
        "-0.0",
        "100000000000000.0",
        "999999999999999.0",
    ]


@pytest.mark.parametrize("other", [float("nan"), float("inf"), float("-inf"), 0.1 + 0.2, 9.9e-5, 1e15, 5e-324, 1e300])
def test_what_is_left_to_others(other: float) -> None:
    assert texts([1.5, other, 2.25]) == ["1.5", None, "2.25"]


def test_no_numbers() -> None:
    assert texts([]) == []


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(
        st.floats() | st.tuples(st.integers(-(10**15), 10**15), st.integers(0, 19)).map(lambda x: x[0] / 10 ** x[1])
    )
)
def test_texts_are_those_of_repr(numbers: list[float]) -> None:
    found = texts(numbers)
    assert all(text is None or text == repr(number) for text, number in zip(found, numbers, strict=True))


@settings(deadline=None)  # the first call compiles
@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15))
def test_all_with_15_digits_and_no_exponent_have_a_text(digits: int, decimals: int) -> None:
    number = digits / 10**decimals
    (text,) = texts([number])
    assert (text is None) == (0 < abs(number) < 1e-4)
