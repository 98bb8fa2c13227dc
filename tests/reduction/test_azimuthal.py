"""Phi mode: curves over the azimuth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import CalibrationError
from saxs_bluesky.reduction import AzimuthalIntegrator, Calibration, Geometry, Reducer

GEOMETRY = Geometry((201, 201), (100.5, 100.5), 500.0, (1.0, 1.0), 0.154)
EVERYWHERE = np.ones(GEOMETRY.shape, bool)


def q_at(radius: float) -> float:
    return float(GEOMETRY.q(np.array(radius), np.array(0.0)))


def ring(**changes: Any) -> AzimuthalIntegrator:
    values = {"q_start": q_at(50), "q_stop": q_at(60), "pixels_per_bin": 6.0}
    return AzimuthalIntegrator("P0", GEOMETRY, EVERYWHERE, **(values | changes))


def test_axis_covers_the_circle_with_bins_as_wide_as_asked_for_at_the_outer_edge() -> None:
    integrator = ring()
    bins = integrator.axis.size
    assert bins == round(2 * np.pi * 60 / 6)
    assert integrator.axis[0] == pytest.approx(-np.pi + np.pi / bins)
    assert integrator.axis[-1] == pytest.approx(np.pi - np.pi / bins)


def test_spot_appears_at_its_azimuth() -> None:
    image = np.zeros(GEOMETRY.shape)
    image[155, 100] = 1000  # straight below the beam: a quarter turn clockwise from the right
    curve = ring().integrate(image)
    assert curve.axis[np.nanargmax(curve.intensity)] == pytest.approx(np.pi / 2, abs=np.pi / curve.axis.size)
    assert (curve.kind, curve.axis_label, curve.axis_unit) == ("azimuthal", "phi", "rad")


def test_only_the_ring_takes_part() -> None:
    q = GEOMETRY.q_of_pixels()
    inside = (q >= q_at(50)) & (q <= q_at(60))
    curve = ring().integrate(np.where(inside, 3.0, 1e9))
    np.testing.assert_array_equal(curve.intensity, 3.0)


def test_ones_give_one_right_across_the_beam_centre() -> None:
    curve = ring(q_start=0.0, q_stop=10.0, pixels_per_bin=1.0).integrate(np.ones(GEOMETRY.shape))
    np.testing.assert_array_equal(curve.intensity, 1.0)


def test_integral_parameters_are_zero() -> None:
    integral = ring().integrate(np.ones(GEOMETRY.shape)).integral
    assert (integral.I0, integral.I1, integral.I2) == (0, 0, 0)
    assert np.isnan(integral.correlation_length)


def test_ring_beside_the_detector_is_refused(document: dict[str, Any]) -> None:
    document["Masks"][0] |= {"Phi-mode": True, "qStart": 100.0, "qStop": 101.0}
    with pytest.raises(CalibrationError, match=r"between qStart 100\.0 and qStop 101\.0 1/nm, found none: q on this"):
        Reducer(Calibration.from_dict(document))


def test_ring_without_an_outer_edge_is_the_whole_detector(document: dict[str, Any]) -> None:
    """``qStop: 0`` is the default of deployed programs."""
    image = np.random.default_rng(1).poisson(20, (60, 80))
    document["Masks"][0] |= {"Phi-mode": True, "qStop": 0}
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(image)
    document["Masks"][0]["qStop"] = 1000.0
    (whole,) = Reducer(Calibration.from_dict(document)).reduce(image)
    assert np.array_equal(curve.intensity, whole.intensity, equal_nan=True)
    assert np.isfinite(curve.intensity).all()
