"""The compiled sums against plain arithmetic with whole numbers, for every kind of image."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import BinningOperator, Calibration, Reducer, without_invalid
from saxs_bluesky.reduction._pixels import LimitedImage, valid_limits

TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i2", ">i4", ">u4", ">f4", ">f8"]
CUTOFF = 100
SHAPE = (5, 6)
BINS = 4

seeds = st.integers(0, 2**32 - 1)


def random_matrix(rng: np.random.Generator, largest: int = 9) -> sparse.csr_array:
    counts = rng.integers(0, largest + 1, (BINS, SHAPE[0] * SHAPE[1]))
    counts[rng.random(counts.shape) < 0.6] = 0
    return sparse.csr_array(counts.astype(np.min_scalar_type(largest)))


def random_image(rng: np.random.Generator, dtype: str) -> np.ndarray:
    """Counts on either side of both limits, as far as the type goes; whole numbers."""
    lowest = 0 if np.dtype(dtype).kind == "u" else -3
    return rng.integers(lowest, CUTOFF + 20, SHAPE).astype(dtype)


def plain_curve(matrix: Any, image: Any, takes_part: Any) -> tuple[list[float], list[float], list[float]]:
    """Intensity, sigma and deviation, a pixel at a time; NaN in empty bins."""
    intensity, sigma, deviation = [], [], []
    for row in matrix.toarray():
        pairs = [
            (int(w), int(n)) for w, n, taken in zip(row, image.ravel(), takes_part.ravel(), strict=True) if w and taken
        ]
        area = sum(w for w, _ in pairs)
        if not area:
            for column in (intensity, sigma, deviation):
                column.append(np.nan)
            continue
        mean = Fraction(sum(w * n for w, n in pairs), area)
        intensity.append(float(mean))
        sigma.append(np.sqrt(max(0, sum(w * w * n for w, n in pairs))) / area)
        deviation.append(np.sqrt(float(sum(w * (n - mean) ** 2 for w, n in pairs) / area)))
    return intensity, sigma, deviation


@pytest.mark.parametrize("cutoff", [None, 0, 1, CUTOFF, 2**31, 2**40])
@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u1", "u4", "u8"])
def test_whole_numbers_as_far_as_their_type_goes(dtype: str, cutoff: float | None) -> None:
    ends = np.iinfo(dtype)
    last = CUTOFF - 1
    wanted = [ends.min, ends.min + 1, -1, 0, 1, last, CUTOFF, 2**31 - 1, 2**31, 2**32 - 1, ends.max - 1, ends.max]
    values = [value for value in wanted if ends.min <= value <= ends.max]
    image = np.array([values], dtype)
    operator = BinningOperator(sparse.csr_array(np.eye(len(values), dtype=np.uint8)))
    binned = operator.apply(LimitedImage(image, valid_limits(cutoff, image.dtype)))
    # By hand: what an unsigned type keeps for gaps and bad pixels. A cutoff of 0 is none.
    flags = {"u1": {255}, "u4": {2**32 - 2, 2**32 - 1}, "u8": {2**64 - 2, 2**64 - 1}}.get(dtype, set())
    expected = [float(n) if n >= 0 and (not cutoff or n < cutoff) and n not in flags else np.nan for n in values]
    np.testing.assert_array_equal(binned.intensity, expected)


@given(seed=seeds, dtype=st.sampled_from(TYPES), largest=st.sampled_from([1, 9, 255, 400]))
@settings(deadline=None)
def test_valid_pixels_of_any_type_are_summed_exactly(seed: int, dtype: str, largest: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, image = random_matrix(rng, largest), random_image(rng, dtype)
    binned = BinningOperator(matrix).apply(LimitedImage(image, valid_limits(CUTOFF, image.dtype)), deviation=True)
    intensity, sigma, deviation = plain_curve(matrix, image, (image >= 0) & (image < CUTOFF))
    np.testing.assert_array_equal(binned.intensity, intensity)
    np.testing.assert_array_equal(binned.sigma, sigma)
    assert binned.deviation is not None
    np.testing.assert_allclose(binned.deviation, deviation, rtol=1e-14)


@st.composite
def columns_of_few_kinds(draw: st.DrawFn) -> np.ndarray:
    """Counts (bins, pixels) as pixels have them: many alike, some unused, wide, or in the first bin and the last."""
    rng = np.random.default_rng(draw(seeds))
    bins, pixels, kinds = draw(st.integers(1, 40)), draw(st.integers(1, 300)), draw(st.integers(1, 30))
    largest = draw(st.sampled_from([1, 9, 225, 256, 1024]))
    counts = np.zeros((kinds, bins), np.min_scalar_type(largest))
    for kind in counts[draw(st.integers(0, 1)) :]:  # the first perhaps unused
        reach = rng.integers(1, min(bins, rng.choice([2, 3, 40])) + 1)
        kind[(rng.integers(bins) + np.arange(reach)) % bins] = rng.integers(0, largest + 1, reach)
    return counts[rng.integers(kinds, size=pixels)].T


@given(counts=columns_of_few_kinds(), seed=seeds, dtype=st.sampled_from(["i4", "u4", "f4"]), valid=st.booleans())
@settings(deadline=None)
def test_pixels_alike_in_some_bins_are_told_apart_by_the_others(
    counts: np.ndarray, seed: int, dtype: str, valid: bool
) -> None:
    image = np.random.default_rng(seed).integers(0 if valid else CUTOFF - 20, CUTOFF + 20, (1, counts.shape[1]))
    operator = BinningOperator(sparse.csr_array(counts))
    np.testing.assert_array_equal(operator.counts.toarray(), counts)
    binned = operator.apply(LimitedImage(image.astype(dtype), valid_limits(CUTOFF, np.dtype(dtype))), deviation=True)
    intensity, sigma, deviation = plain_curve(sparse.csr_array(counts), image, image < CUTOFF)
    np.testing.assert_array_equal(binned.intensity, intensity)
    np.testing.assert_array_equal(binned.sigma, sigma)
    assert binned.deviation is not None
    np.testing.assert_allclose(binned.deviation, deviation, rtol=1e-14)


@pytest.mark.parametrize("kinds", [2**16, 2**16 + 1])
def test_as_many_kinds_of_pixels_as_two_bytes_number_and_one_more(kinds: int) -> None:
    numbers = np.arange(kinds)
    counts = sparse.coo_array((numbers + 1, (numbers % 7, numbers)), shape=(7, kinds))
    image = np.arange(kinds, dtype=np.int32)[None, :] % 50
    wanted = [np.average(image[0, b::7], weights=numbers[b::7] + 1) for b in range(7)]
    np.testing.assert_allclose(BinningOperator(counts).apply(image).intensity, wanted, rtol=1e-14)


def test_frame_without_a_valid_pixel_has_no_curve() -> None:
    operator = BinningOperator(random_matrix(np.random.default_rng(1)))
    for invalid in (-1, CUTOFF, np.iinfo(np.int32).min, np.iinfo(np.int32).max):
        frame = LimitedImage(np.full(SHAPE, invalid, np.int32), valid_limits(CUTOFF, np.dtype(np.int32)))
        assert np.isnan(operator.apply(frame).intensity).all()


def test_bins_without_any_pixel_have_no_curve() -> None:
    operator = BinningOperator(sparse.csr_array((BINS, 30), dtype=np.uint8))
    assert np.isnan(operator.apply(np.ones(SHAPE, np.int32), deviation=True).intensity).all()
    np.testing.assert_array_equal(operator.counts.toarray(), np.zeros((BINS, 30)))


@given(seed=seeds, dtype=st.sampled_from(TYPES), limited=st.booleans())
@settings(deadline=None)
def test_masked_pixels_are_left_out_with_limits_and_without(seed: int, dtype: str, limited: bool) -> None:
    rng = np.random.default_rng(seed)
    matrix, image, mask = random_matrix(rng), random_image(rng, dtype), rng.random(SHAPE) > 0.5
    frame = LimitedImage(np.ma.MaskedArray(image, mask), valid_limits(CUTOFF, image.dtype) if limited else None)
    binned = BinningOperator(matrix).apply(frame, deviation=True)
    takes_part = ~mask & ((image >= 0) & (image < CUTOFF) if limited else True)
    intensity, sigma, deviation = plain_curve(matrix, image, takes_part)
    np.testing.assert_array_equal(binned.intensity, intensity)
    np.testing.assert_array_equal(binned.sigma, sigma)
    assert binned.deviation is not None
    np.testing.assert_allclose(binned.deviation, deviation, rtol=1e-14)


@given(seed=seeds, dtype=st.sampled_from(TYPES), masked=st.booleans())
@settings(deadline=None)
def test_correction_enters_each_sum_with_its_power(seed: int, dtype: str, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    matrix, image, mask = random_matrix(rng), random_image(rng, dtype), rng.random(SHAPE) > 0.5
    correction = 1 + rng.random(SHAPE)
    operator = BinningOperator(matrix, correction)
    frame = np.ma.MaskedArray(image, mask) if masked else image
    binned = operator.apply(LimitedImage(frame, valid_limits(CUTOFF, image.dtype)), deviation=True)
    valid = (image >= 0) & (image < CUTOFF) & ~(mask & masked)
    w = matrix.toarray().astype(float) * valid.ravel()
    c, n = correction.ravel(), np.where(valid, image, 0).ravel().astype(float)
    with np.errstate(invalid="ignore"):
        area = w.sum(axis=1)
        mean = (w * c * n).sum(axis=1) / area
        sigma = np.sqrt((w**2 * c**2 * n).sum(axis=1)) / area
        deviation = np.sqrt((w * (c * n - mean[:, None]) ** 2).sum(axis=1) / area)
    np.testing.assert_allclose(binned.intensity, mean, rtol=1e-12)
    np.testing.assert_allclose(binned.sigma, sigma, rtol=1e-12)
    assert binned.deviation is not None
    np.testing.assert_allclose(binned.deviation, deviation, rtol=1e-9, atol=1e-5)


def test_deviation_of_high_counts_does_not_cancel() -> None:
    counts = np.array([[1_000_000, 1_000_000, 1_000_001]], np.int32)
    binned = BinningOperator(sparse.csr_array(np.ones((1, 3), np.uint8))).apply(counts, deviation=True)
    assert binned.deviation is not None
    assert binned.deviation[0] == pytest.approx(np.sqrt(2) / 3, rel=1e-15)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_left_out_within_limits_and_shows_without(dtype: str, bad: float) -> None:
    operator = BinningOperator(sparse.csr_array(np.ones((1, 3), np.uint8)))
    image = np.array([[4, bad, 6]], dtype)
    valid = operator.apply(LimitedImage(image, valid_limits(None, image.dtype)), deviation=True)
    assert valid.deviation is not None
    assert (valid.intensity[0], valid.deviation[0]) == (5.0, 1.0)
    np.testing.assert_array_equal(operator.apply(image).intensity, [bad])
    assert operator.apply(np.ma.masked_invalid(image)).intensity[0] == 5.0


@pytest.mark.parametrize(("cutoff", "mean"), [(7, 5.0), (6.5, 5.0), (6.0, 4.0), (0, 5.0), (-1.5, 5.0), (2.0**40, 5.0)])
def test_a_pixel_at_the_cutoff_is_saturated(cutoff: float, mean: float) -> None:
    operator = BinningOperator(sparse.csr_array(np.ones((1, 2), np.uint8)))
    for dtype in ("i4", "u4", "f4", "f8", "i8"):
        image = np.array([[4, 6]], dtype)
        binned = operator.apply(LimitedImage(image, valid_limits(cutoff, image.dtype)))
        np.testing.assert_array_equal(binned.intensity, [mean])
        np.testing.assert_array_equal(operator.apply(without_invalid(image, cutoff)).intensity, [mean])


def test_extreme_counts_are_read_as_they_are() -> None:
    operator = BinningOperator(sparse.csr_array(np.ones((1, 1), np.uint8)))
    for dtype in ("i1", "i2", "i4", "u1", "u2", "u4"):
        for extreme in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            assert operator.apply(np.array([[extreme]], dtype)).intensity[0] == extreme


LAYOUTS = {
    "read-only": lambda image: _read_only(image.copy()),
    "by columns": np.asfortranarray,
    "a window": lambda image: np.pad(image, 2)[2:-2, 2:-2],
    "every other pixel": lambda image: image.repeat(2, axis=0).repeat(2, axis=1)[::2, ::2],
    "upside down": lambda image: image[::-1].copy()[::-1],
    "misaligned": lambda image: np.frombuffer(b"x" + image.tobytes(), image.dtype, offset=1).reshape(image.shape),
    "big-endian": lambda image: image.astype(image.dtype.newbyteorder(">")),
    "a subclass": lambda image: image.view(np.matrix),
}


def _read_only(image: np.ndarray) -> np.ndarray:
    image.flags.writeable = False
    return image


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_image_may_lie_in_memory_as_it_likes(
    document: dict[str, Any], rng: np.random.Generator, layout: str, dtype: str
) -> None:
    reducer = Reducer(Calibration.from_dict(document))
    image = rng.integers(-2, 50, (60, 80)).astype(dtype)
    found = reducer.reduce(LAYOUTS[layout](image), count_cutoff=40)[0]
    wanted = reducer.reduce(image, count_cutoff=40)[0]
    np.testing.assert_array_equal(found.intensity, wanted.intensity)
    np.testing.assert_array_equal(found.sigma, wanted.sigma)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("polarized", [False, True])
def test_calibrations_own_integrators_see_what_recipes_see(
    document: dict[str, Any], rng: np.random.Generator, dtype: str, polarized: bool
) -> None:
    document["Masks"].append({"Phi-mode": True, "qStop": 20.0})
    document["Slices"] = [{"CutPosition": 5, "CutMargin": 2}]
    if polarized:
        document["PolarizationCorrection"] = {"Fraction": 0.9, "Angle": 0.0}
    reducer = Reducer(Calibration.from_dict(document), deviation=True)
    image = rng.integers(0 if "u" in dtype else -2, CUTOFF + 20, (60, 80)).astype(dtype)
    for curve, integrator in zip(reducer.reduce(image, count_cutoff=CUTOFF), reducer.integrators, strict=True):
        wanted = integrator.integrate(without_invalid(image, CUTOFF))
        for quantity in ("intensity", "sigma", "deviation"):
            np.testing.assert_allclose(
                getattr(curve, quantity), getattr(wanted, quantity), rtol=1e-9 if polarized else 0
            )


def test_image_of_another_size_is_refused() -> None:
    operator = BinningOperator(random_matrix(np.random.default_rng(1)))
    for size in (29, 31):
        with pytest.raises(FrameError, match=f"wanted an image of 30 pixels, found {size}"):
            operator.apply(np.ones((1, size), np.int32))


def test_frame_of_a_detector_needs_no_memory_of_an_images_size(document: dict[str, Any]) -> None:
    document["Geometry"] |= {"Imagesize": [500, 600], "BeamCenter": [250.0, 300.0]}
    reducer = Reducer(Calibration.from_dict(document), deviation=True)
    image = np.ones((500, 600), np.int32)
    reducer.reduce(image)
    tracemalloc.start()
    try:
        reducer.reduce(image, count_cutoff=1000)
        assert tracemalloc.get_traced_memory()[1] < image.nbytes / 10
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_threads_share_an_operator(rng: np.random.Generator, dtype: str) -> None:
    matrix = random_matrix(rng)
    operator = BinningOperator(matrix)
    frames = [
        LimitedImage(
            np.ma.MaskedArray(random_image(rng, dtype), rng.random(SHAPE) > 0.7), valid_limits(cutoff, np.dtype(dtype))
        )
        for cutoff in range(20, CUTOFF)
    ]
    expected = [operator.apply(frame).intensity for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda frame: operator.apply(frame).intensity, frames * 10))
    for position, intensity in enumerate(found):
        np.testing.assert_array_equal(intensity, expected[position % len(frames)])
