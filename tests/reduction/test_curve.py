"""Integral parameters, with numbers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from saxs_bluesky.reduction import IntegralParameters, integral_parameters

Q = np.array([0.5, 1.5, 2.5, 3.5])
INTENSITY = np.array([8.0, 4.0, np.nan, 2.0])


def test_sums_over_the_whole_curve_skip_nan() -> None:
    integral = integral_parameters(Q, INTENSITY, 0, 10)
    assert integral.I0 == 8 + 4 + 2
    assert integral.I1 == 8 * 0.5 + 4 * 1.5 + 2 * 3.5
    assert integral.I2 == 8 * 0.25 + 4 * 2.25 + 2 * 12.25
    assert integral.correlation_length == pytest.approx(17 / 35.5)


def test_range_is_inclusive_and_clipped() -> None:
    assert integral_parameters(Q, INTENSITY, 1.5, 1e9).I0 == 6
    assert integral_parameters(Q, INTENSITY, 0.4, 1.6).I1 == 8 * 0.5 + 4 * 1.5


@pytest.mark.parametrize(
    ("begin", "end", "coverage"),
    [(0, 10, 0.75), (0, 2, 1.0), (1.5, 2.5, 0.5), (1.6, 3.4, 0.0), (1.6, 1.7, 0.0), (4, 10, 0.0), (3, 1, 0.0)],
)
def test_coverage_is_the_share_of_bins_with_data_and_nothing_known_is_not_0(
    begin: float, end: float, coverage: float
) -> None:
    integral = integral_parameters(Q, INTENSITY, begin, end)
    assert integral.coverage == coverage
    numbers = (integral.I0, integral.I1, integral.I2, integral.correlation_length)
    assert [math.isnan(number) for number in numbers] == [coverage == 0.0] * 4
    # A beam that is off is known.
    dark = integral_parameters(Q, np.where(np.isnan(INTENSITY), np.nan, 0.0), 0, 10)
    assert (dark.I0, dark.I1, dark.I2, dark.coverage) == (0.0, 0.0, 0.0, 0.75)


def test_bin_width_enters() -> None:
    assert integral_parameters(Q / 10, INTENSITY, 0, 10).I0 == pytest.approx(1.4)


def test_correlation_length_of_nothing_is_nan() -> None:
    assert np.isnan(IntegralParameters().correlation_length)


def test_without_a_range_no_integral_parameters_are_asked_for() -> None:
    assert integral_parameters(Q, INTENSITY, 0, 0) == IntegralParameters()
    assert IntegralParameters().I2 == 0.0
