"""The sparse operator against a slow and simple one, and its exactness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saxs_bluesky.reduction import AzimuthalIntegrator, Geometry, RadialIntegrator

GEOMETRY = Geometry((40, 50), (17.3, 22.8), 200.0, (1.0, 1.0), 0.154, 0.1, 1.0)


def plain_counts(geometry: Geometry, used: np.ndarray, oversampling: int, bin_of: Any, bins: int) -> np.ndarray:
    """Subpixels of each pixel in each bin, the same subpixel of all pixels at a time."""
    counts = np.zeros((bins, used.size))
    pixels = np.flatnonzero(used)
    rows, columns = np.divmod(pixels, geometry.shape[1])
    for i in range(oversampling):
        for j in range(oversampling):
            x, y = geometry.plane_position(rows + (i + 0.5) / oversampling, columns + (j + 0.5) / oversampling)
            counts[bin_of(x, y).astype(int), pixels] += 1
    return counts


@pytest.mark.parametrize("oversampling", [1, 2, 3, 4, 15, 16, 32])
@pytest.mark.parametrize("pixels_per_bin", [0.2, 1.0, 3.5, 1000.0])
def test_radial_operator_equals_a_plain_count(
    rng: np.random.Generator, oversampling: int, pixels_per_bin: float
) -> None:
    used = rng.random(GEOMETRY.shape) > 0.3
    integrator = RadialIntegrator("R0", GEOMETRY, used, oversampling=oversampling, pixels_per_bin=pixels_per_bin)
    width = 2 * integrator.axis[0]
    counts = plain_counts(GEOMETRY, used, oversampling, lambda x, y: GEOMETRY.q(x, y) / width, integrator.axis.size)
    np.testing.assert_array_equal(integrator.operator.counts.toarray(), counts)


@pytest.mark.parametrize("oversampling", [1, 3, 15, 16, 32])
@pytest.mark.parametrize("pixels_per_bin", [0.2, 1.0, 1000.0])
def test_azimuthal_operator_equals_a_plain_count_over_the_cut_and_at_the_centre(
    rng: np.random.Generator, oversampling: int, pixels_per_bin: float
) -> None:
    used = rng.random(GEOMETRY.shape) > 0.3
    used[15:19, 20:25] = True  # the centre, where a pixel reaches all around, and the cut beside it
    integrator = AzimuthalIntegrator("P0", GEOMETRY, used, oversampling=oversampling, pixels_per_bin=pixels_per_bin)
    bins = integrator.axis.size

    def bin_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.minimum(bins - 1, (np.arctan2(y, x) + np.pi) * bins / (2 * np.pi))

    counts = plain_counts(GEOMETRY, used, oversampling, bin_of, bins)
    assert oversampling <= 3 or bins == 1 or np.logical_and(counts[0], counts[-1]).any()
    np.testing.assert_array_equal(integrator.operator.counts.toarray(), counts)


def test_number_and_centres_of_bins_follow_the_documented_scale() -> None:
    integrator = RadialIntegrator("R0", GEOMETRY, np.ones(GEOMETRY.shape, bool), oversampling=2, pixels_per_bin=2.0)
    offsets = (np.arange(2 * 40) + 0.5) / 2, (np.arange(2 * 50) + 0.5) / 2
    x, y = GEOMETRY.plane_position(offsets[0][:, None], offsets[1][None, :])
    q = GEOMETRY.q(x, y)
    scale = np.hypot(x, y).max() / q.max() / 2.0
    assert integrator.axis.size == int(q.max() * scale) + 1
    np.testing.assert_allclose(integrator.axis, (np.arange(integrator.axis.size) + 0.5) / scale, rtol=1e-13)


def test_ones_integrate_to_exactly_one_at_every_mask_border(rng: np.random.Generator) -> None:
    used = rng.random(GEOMETRY.shape) > 0.5
    used[10:20] = False
    for oversampling in (1, 2, 3, 5, 7):
        curve = RadialIntegrator("R0", GEOMETRY, used, oversampling=oversampling).integrate(np.ones(GEOMETRY.shape))
        filled = ~np.isnan(curve.intensity)
        assert filled.any()
        np.testing.assert_array_equal(curve.intensity[filled], 1.0)


def test_ones_integrate_to_one_where_single_frames_leave_pixels_out(rng: np.random.Generator) -> None:
    integrator = RadialIntegrator("R0", GEOMETRY, rng.random(GEOMETRY.shape) > 0.2)
    for _ in range(3):
        image = np.ma.MaskedArray(np.ones(GEOMETRY.shape), mask=rng.random(GEOMETRY.shape) > 0.5)
        image.data[image.mask] = 1e6
        curve = integrator.integrate(image)
        np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 1.0)


def test_bins_without_pixels_hold_nan() -> None:
    used = np.ones(GEOMETRY.shape, bool)
    used[GEOMETRY.q_of_pixels() < 2.0] = False
    curve = RadialIntegrator("R0", GEOMETRY, used).integrate(np.ones(GEOMETRY.shape))
    empty = curve.axis < 1.8
    assert empty.any()
    assert np.isnan(curve.intensity[empty]).all()
    assert np.isnan(curve.sigma[empty]).all()


def test_a_detector_that_is_masked_throughout_gives_nan() -> None:
    curve = RadialIntegrator("R0", GEOMETRY, np.zeros(GEOMETRY.shape, bool)).integrate(np.ones(GEOMETRY.shape))
    assert np.isnan(curve.intensity).all()


def test_errors_follow_their_definitions(rng: np.random.Generator) -> None:
    used = rng.random(GEOMETRY.shape) > 0.2
    correction = 1 + 0.3 * rng.random(GEOMETRY.shape)
    image = rng.poisson(20, GEOMETRY.shape)
    integrator = RadialIntegrator("R0", GEOMETRY, used, correction=correction, deviation=True)
    curve = integrator.integrate(image)
    w = integrator.operator.counts.toarray()
    n, c = image.ravel(), correction.ravel()
    with np.errstate(invalid="ignore"):
        mean = (w * c * n).sum(axis=1) / w.sum(axis=1)
        sigma = np.sqrt((w**2 * c**2 * n).sum(axis=1)) / w.sum(axis=1)
        deviation = np.sqrt((w * (c * n - mean[:, None]) ** 2).sum(axis=1) / w.sum(axis=1))
    np.testing.assert_allclose(curve.intensity, mean, rtol=1e-12)
    np.testing.assert_allclose(curve.sigma, sigma, rtol=1e-12)
    assert curve.deviation is not None
    np.testing.assert_allclose(curve.deviation, deviation, rtol=1e-6, atol=1e-6)


def test_integer_and_float_images_give_the_same_curve(rng: np.random.Generator) -> None:
    integrator = RadialIntegrator("R0", GEOMETRY, np.ones(GEOMETRY.shape, bool))
    image = rng.integers(0, 1_000_000, GEOMETRY.shape)
    reference = integrator.integrate(image).intensity
    for dtype in (np.int32, np.uint32, np.float32, np.float64):
        np.testing.assert_array_equal(integrator.integrate(image.astype(dtype)).intensity, reference)


def test_poisson_sigma_is_the_scatter_of_repeated_frames(rng: np.random.Generator) -> None:
    repeats = 400
    expected = 30 * np.exp(-GEOMETRY.q_of_pixels() / 3) + 0.5
    integrator = RadialIntegrator("R0", GEOMETRY, np.ones(GEOMETRY.shape, bool))
    curves = [integrator.integrate(rng.poisson(expected)) for _ in range(repeats)]
    intensity = np.array([curve.intensity for curve in curves])
    variance = np.mean([curve.sigma**2 for curve in curves], axis=0)
    degrees = repeats - 1
    chi_squared = ((intensity - intensity.mean(axis=0)) ** 2).sum(axis=0) / variance / degrees
    filled = ~np.isnan(chi_squared)
    # Each bin scatters by sqrt(2 / degrees); the mean over the bins by that over sqrt(bins).
    spread = np.sqrt(2 / degrees)
    assert np.abs(chi_squared[filled] - 1).max() < 4.5 * spread
    assert abs(chi_squared[filled].mean() - 1) < 4 * spread / np.sqrt(filled.sum())
