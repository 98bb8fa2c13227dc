"""Simulated frames: what a Pilatus would count, and the rings where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from saxs_bluesky.reduction import Calibration, Reducer, read_frame
from saxs_bluesky.simulation import (
    COUNT_CUTOFF,
    DETECTOR_SHAPES,
    SILVER_BEHENATE_PERIOD,
    SilverBehenate,
    SimulatedPilatus,
    Spheres,
    render_frame,
    simulated_calibration,
    write_mask,
    write_simulated_frame,
)


@pytest.fixture(scope="module")
def detector() -> SimulatedPilatus:
    return SimulatedPilatus(Calibration.from_dict(simulated_calibration()).geometry)


@pytest.mark.parametrize("name", DETECTOR_SHAPES)
def test_modules_tile_every_detector(name: str) -> None:
    gaps = SimulatedPilatus(Calibration.from_dict(simulated_calibration(name)).geometry).gaps
    rows, columns = DETECTOR_SHAPES[name]
    assert gaps.shape == (rows, columns)
    assert (~gaps).sum() % (195 * 487) == 0  # whole modules only
    assert not gaps[[0, -1]].all(axis=1).any()


def test_dark_gaps_dead_pixels_and_shadow(detector: SimulatedPilatus, rng: np.random.Generator) -> None:
    image = detector.expose(detector.rate(SilverBehenate()), 10.0, rng)
    assert image.dtype == np.int32
    assert (image[detector.gaps] == -1).all()
    assert (image[detector.dead] == -2).all()
    assert 0 < detector.dead.sum() <= detector.dead_pixels
    assert (image[detector.shadow & ~detector.gaps & ~detector.dead] == 0).all()
    rows = detector.geometry.shape[0]
    center = int(rows - detector.geometry.beam_center[0]), int(detector.geometry.beam_center[1])
    assert detector.shadow[center]
    assert detector.shadow[: center[0], center[1]].all()  # the arm reaches the upper edge
    assert not detector.shadow[center[0] + 40, center[1]]


def test_counts_grow_with_exposure_and_scatter_like_poisson(
    detector: SimulatedPilatus, rng: np.random.Generator
) -> None:
    rate = detector.rate(Spheres())
    counting = ~detector.mask & ~detector.dead
    for exposure in (0.1, 10.0):
        expected = rate[counting] * exposure
        excess = detector.expose(rate, exposure, rng)[counting] - expected
        assert excess.sum() / np.sqrt(expected.sum()) == pytest.approx(0, abs=5)
        assert (excess**2 / expected).mean() == pytest.approx(1, abs=0.02)


def test_counters_are_full_at_the_cutoff(detector: SimulatedPilatus, rng: np.random.Generator) -> None:
    image = detector.expose(detector.rate(SilverBehenate(brightness=1e6)), 100.0, rng)
    assert image.max() == COUNT_CUTOFF


def test_same_seed_gives_the_same_frame() -> None:
    geometry = Calibration.from_dict(simulated_calibration("100K")).geometry
    one, two = (render_frame(geometry, Spheres(), 1.0, rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_spheres_have_the_first_minimum_of_the_form_factor() -> None:
    q = np.linspace(0.3, 0.8, 2000)  # the second is at 7.7253
    rate = Spheres(radius=8.0, polydispersity=1e-6, background=0.0).rate(q)
    # tan(x) = x at x = 4.4934
    assert q[np.argmin(rate)] == pytest.approx(4.4934 / 8.0, rel=1e-3)
    assert Spheres(brightness=3000, background=1).rate(np.array([0.0]))[0] == pytest.approx(3001, rel=1e-3)


def test_rings_of_silver_behenate_come_back_where_they_belong(tmp_path: Path, detector: SimulatedPilatus) -> None:
    write_mask(tmp_path / "mask.tif", detector.mask)
    calibration = Calibration.from_dict(simulated_calibration(mask_file="mask.tif"), folder=tmp_path)
    rng = np.random.default_rng(5)
    write_simulated_frame(tmp_path / "a.tif", detector, detector.rate(SilverBehenate()), 10.0, rng)
    frame = read_frame(tmp_path / "a.tif")
    curve = Reducer(calibration).reduce(frame.image, count_cutoff=frame.header.count_cutoff)[0]

    def ring(q: np.ndarray, height: float, center: float, width: float, a: float, b: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((q - center) / width) ** 2) + a + b * (q - center)

    for order in range(1, 6):
        expected = 2 * np.pi * order / SILVER_BEHENATE_PERIOD
        near = np.abs(curve.axis - expected) < 0.08
        guess = [np.nanmax(curve.intensity[near]), expected + 0.01, 0.01, 1.0, 0.0]
        found, _ = curve_fit(ring, curve.axis[near], curve.intensity[near], guess, sigma=curve.sigma[near])
        assert found[1] == pytest.approx(expected, rel=1e-3)


def test_header_tells_of_the_simulated_frame(tmp_path: Path) -> None:
    geometry = Calibration.from_dict(simulated_calibration("100K")).geometry
    detector = SimulatedPilatus(geometry)
    write_simulated_frame(tmp_path / "a.tif", detector, detector.rate(Spheres()), 0.25, np.random.default_rng(1))
    header = read_frame(tmp_path / "a.tif").header
    assert header.exposure_time == 0.25
    assert header.count_cutoff == COUNT_CUTOFF
    assert header.wavelength == pytest.approx(geometry.wavelength)
    assert header.pixel_size == pytest.approx(geometry.pixel_size)
    assert header.threshold == pytest.approx(12398.42 / 1.54 / 2, abs=1)
