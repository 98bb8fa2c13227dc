"""The polarization factor and its place in the operator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pyFAI.integrator.azimuthal import AzimuthalIntegrator as PyFAI

from saxs_bluesky.reduction import Calibration, Geometry, Polarization, Reducer, polarization_factor

GEOMETRY = Geometry((201, 201), (100.5, 100.5), 100.0, (1.0, 1.0), 0.1)  # pixel (100, 100) is the beam's
RIGHT, ABOVE = (100, 200), (0, 100)  # both at 2theta = 45 degrees


def test_horizontal_polarization_weakens_what_goes_sideways() -> None:
    factor = polarization_factor(GEOMETRY, Polarization(1.0))
    assert factor[100, 100] == pytest.approx(1)
    assert factor[RIGHT] == pytest.approx(0.5)  # cos(45 degrees)**2
    assert factor[ABOVE] == pytest.approx(1)


def test_angle_turns_the_plane_of_polarization() -> None:
    factor = polarization_factor(GEOMETRY, Polarization(1.0, math.pi / 2))
    assert factor[RIGHT] == pytest.approx(1)
    assert factor[ABOVE] == pytest.approx(0.5)


def test_unpolarized_beam_gives_the_thomson_factor() -> None:
    two_theta = GEOMETRY.two_theta_of_pixels()
    expected = (1 + np.cos(two_theta) ** 2) / 2
    np.testing.assert_allclose(polarization_factor(GEOMETRY, Polarization(0.5)), expected, rtol=1e-12)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.95, 1.0])
def test_pyfai_gives_the_same_factor(fraction: float) -> None:
    pyfai = PyFAI(wavelength=1e-10)
    pyfai.setFit2D(100, 100.5, 100.5, pixelX=1000, pixelY=1000)
    theirs = np.flipud(pyfai.polarization(GEOMETRY.shape, factor=2 * fraction - 1))
    np.testing.assert_allclose(polarization_factor(GEOMETRY, Polarization(fraction)), theirs, rtol=1e-6)


@pytest.mark.parametrize("phi_mode", [False, True])
def test_integrating_the_inverse_of_the_correction_gives_one(document: dict[str, Any], phi_mode: bool) -> None:
    document["PolarizationCorrection"] = {"Fraction": 0.95, "Angle": 10.0}
    document["Masks"][0]["Phi-mode"] = phi_mode
    calibration = Calibration.from_dict(document)
    assert calibration.polarization is not None
    factor = polarization_factor(calibration.geometry, calibration.polarization)
    (curve,) = Reducer(calibration).reduce(factor)
    filled = ~np.isnan(curve.intensity)
    np.testing.assert_allclose(curve.intensity[filled], 1, rtol=2e-12)


def test_without_the_key_nothing_is_corrected(document: dict[str, Any]) -> None:
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(np.ones((60, 80)))
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 1)
