"""Decimal text of floats: byte by byte what Python's own formatting gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from saxs_bluesky.reduction.arrays import FloatArray
from saxs_bluesky.reduction.formats._decimals import cells, text


def assert_as_python(values: FloatArray) -> None:
    assert text(cells(values)) == "".join(f" {value:.18e}" for value in values.ravel().tolist()).encode()


@settings(deadline=None, max_examples=500)
@given(arrays(np.float64, st.integers(0, 30), elements=st.floats()))
@example(
    np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308])
)
def test_any_floats(values: FloatArray) -> None:
    assert_as_python(values)


@settings(deadline=None, max_examples=500)
@given(arrays(np.float64, 30, elements=st.floats(-1e15, 1e15)))
def test_floats_of_a_plausible_size(values: FloatArray) -> None:
    assert_as_python(values)


@settings(deadline=None)
@given(arrays(np.int64, 30, elements=st.integers(-(2**53), 2**53)), st.integers(0, 90))
def test_binary_fractions_with_their_ties(numerators: np.ndarray[tuple[int], np.dtype[np.int64]], n: int) -> None:
    assert_as_python(numerators / 2.0**n)


def test_ties_go_to_the_even_digit() -> None:
    odd = np.array([1, 3, 5]) / 2**14  # 14 decimals, the last one 5; six digits stand before them
    assert text(cells(131072 + odd)) == (
        b" 1.310720000610351562e+05"  # 0.00006103515625
        b" 1.310720001831054688e+05"  # 0.00018310546875
        b" 1.310720003051757812e+05"  # 0.00030517578125
    )
    assert_as_python(131072 + odd)


def test_powers_of_ten_and_their_neighbours() -> None:
    powers = np.array([float(f"1e{k}") for k in range(-323, 309)])
    near = [powers]
    for direction in (0.0, np.inf):
        step = powers
        for _ in range(20):
            step = np.nextafter(step, direction)
            near.append(step)
    assert_as_python(np.array(near))
    assert_as_python(-np.array(near))


def test_borders_of_the_range_without_python() -> None:
    borders = np.array([1e-9, 1e14])
    assert_as_python(np.array([borders, np.nextafter(borders, 0), np.nextafter(borders, np.inf)]))


def test_a_million_random_floats(rng: np.random.Generator) -> None:
    assert_as_python(10 ** rng.uniform(-10, 15, 500_000))
    assert_as_python(rng.uniform(0, 1e4, 250_000))
    assert_as_python(np.sqrt(rng.integers(0, 10**6, 250_000)) / rng.integers(1, 500, 250_000))


def test_random_bits(rng: np.random.Generator) -> None:
    assert_as_python(rng.integers(0, 2**64, 100_000, dtype=np.uint64).view(np.float64))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3), (1, 2, 3)])
def test_shapes(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    values = rng.random(shape)
    assert cells(values).shape == (*shape, 7)
    assert_as_python(values)
