"""Scattering angles and vectors of pixels, against hand-worked numbers and pyFAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyFAI.integrator.azimuthal import AzimuthalIntegrator as PyFAI

from saxs_bluesky.errors import GeometryError
from saxs_bluesky.reduction import Geometry


def straight(**changes: object) -> Geometry:
    values = {
        "shape": (4, 6),
        "beam_center": (1.0, 2.0),
        "distance": 100.0,
        "pixel_size": (1.0, 2.0),
        "wavelength": 0.1,
    }
    return Geometry(**(values | changes))  # type: ignore[arg-type]


def test_beam_centre_counts_from_the_bottom_left_corner() -> None:
    x, y = straight().pixel_centers()
    # Column 2 is centred half a pixel (of 2 mm) right of x = 2; row 3, the lowest, half a pixel above y = 0.
    assert x[0, 2] == 1.0
    assert y[3, 0] == 0.5
    assert y[0, 0] == -2.5


def test_scattering_angle_without_tilt_is_the_arctangent() -> None:
    geometry = straight()
    x, y = geometry.pixel_centers()
    expected = np.arctan(np.hypot(x, y) / 100)
    np.testing.assert_allclose(geometry.two_theta_of_pixels(), expected, rtol=1e-14)
    np.testing.assert_allclose(geometry.q_of_pixels(), 4 * np.pi / 0.1 * np.sin(expected / 2), rtol=1e-14)


def test_q_keeps_its_precision_next_to_the_beam() -> None:
    # The formula with arccos would give 0 here: 1 - cos(2theta) is below the resolution of a float.
    q = straight().q(np.array([1e-7]), np.array([0.0]))
    assert q[0] == pytest.approx(2 * np.pi / 0.1 * 1e-9, rel=1e-12)


def test_tilted_detector_follows_the_documented_formula() -> None:
    geometry = straight(tilt_angle=math.radians(-10), tilt_rotation=math.radians(73.569), distance=50.0)
    x, y = geometry.pixel_centers()
    r, phi, d = np.hypot(x, y), np.arctan2(y, x), geometry.distance
    alpha = np.arcsin(np.sin(geometry.tilt_angle) * np.sin(phi + geometry.tilt_rotation + np.pi / 2))
    length = np.sqrt(d**2 + r**2 - 2 * d * r * np.cos(np.pi / 2 + alpha))
    two_theta = np.arccos((length**2 + d**2 - r**2) / (2 * length * d))
    np.testing.assert_allclose(geometry.two_theta_of_pixels(), two_theta, rtol=1e-10)


def test_phi_is_zero_to_the_right_and_grows_clockwise() -> None:
    phi = Geometry((3, 3), (1.5, 1.5), 100.0, (1.0, 1.0), 0.1).phi_of_pixels()
    assert phi[1, 2] == 0
    assert phi[2, 1] == pytest.approx(np.pi / 2)  # below
    assert phi[1, 0] == pytest.approx(np.pi)


def test_detector_behind_the_sample_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"below 90 degrees, found 137\.8 degrees"):
        straight(distance=1.0, tilt_angle=math.radians(60))


@settings(max_examples=30, deadline=None)
@given(
    # pyFAI finds its rotations by inverse cosines, which loses the direction of a tilt of nearly nothing.
    tilt=st.floats(-40, 40).map(lambda tilt: tilt if abs(tilt) > 1e-3 else 0.0),
    rotation=st.floats(-360, 360),
    distance=st.floats(100, 5000),
    center=st.tuples(st.floats(-50, 150), st.floats(-50, 150)),
    pixel_size=st.tuples(st.floats(0.05, 0.5), st.floats(0.05, 0.5)),
)
def test_q_of_every_pixel_equals_pyfai(
    tilt: float,
    rotation: float,
    distance: float,
    center: tuple[float, float],
    pixel_size: tuple[float, float],
) -> None:
    shape = (70, 90)
    ours = Geometry(
        shape, center, distance, pixel_size, 0.154, math.radians(tilt), math.radians(rotation)
    ).q_of_pixels()  # fmt: skip
    pyfai = PyFAI(wavelength=1.54e-10)
    pyfai.setFit2D(
        distance, center[1], center[0], tilt, rotation, pixelX=pixel_size[1] * 1000, pixelY=pixel_size[0] * 1000
    )
    # Not qArray: it takes pixel centres from single precision corners, off by 1e-7.
    theirs = np.flipud(pyfai.qFunction(*np.indices(shape, dtype=float)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
