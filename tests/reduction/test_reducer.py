"""The reducer: names, invalid pixels, extra integrators, shapes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import CalibrationError, FrameError
from saxs_bluesky.reduction import Calibration, Curve, Integrator, Reducer


def test_curves_are_numbered_over_masks_then_slices(document: dict[str, Any]) -> None:
    document["Masks"].append({"Phi-mode": True, "qStop": 20.0})
    document["Slices"] = [{"CutPosition": 5}]
    curves = Reducer(Calibration.from_dict(document)).reduce(np.ones((60, 80)))
    assert [curve.name for curve in curves] == ["R0", "P1", "S2"]


@pytest.mark.parametrize("bad", [-1, -2, 1000, 1001])
def test_pixels_without_counts_are_left_out(document: dict[str, Any], bad: int) -> None:
    image = np.full((60, 80), 5, np.int32)
    image[20:30, 20:40] = bad
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(image, count_cutoff=1000)
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 5.0)


@pytest.mark.parametrize("cutoff", [0, -1, float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("dtype", ["i4", "u4", "f8"])
def test_cutoff_that_is_none_leaves_no_pixel_out(document: dict[str, Any], dtype: str, cutoff: float) -> None:
    image = np.full((60, 80), 5, dtype)
    reducer = Reducer(Calibration.from_dict(document), extra_integrators=[Total()])
    for found, expected in zip(reducer.reduce(image, count_cutoff=cutoff), reducer.reduce(image), strict=True):
        np.testing.assert_array_equal(found.intensity, expected.intensity)
        assert np.nansum(found.intensity) > 0


@pytest.mark.parametrize(
    ("dtype", "bad", "count"),
    [
        ("u4", 2**32 - 1, 2**32 - 3),
        ("u4", 2**32 - 2, 2**32 - 3),
        (">u4", 2**32 - 1, 2**32 - 3),
        ("u2", 65535, 65533),
        ("u2", 65534, 65533),
        (">u2", 65535, 65533),
        ("u1", 255, 254),
        ("u8", 2**64 - 1, 2**53),
        ("u8", 2**64 - 2, 2**53),
    ],
)
def test_highest_values_of_unsigned_images_are_no_counts(
    document: dict[str, Any], dtype: str, bad: int, count: int
) -> None:
    image = np.full((60, 80), 5, dtype)
    image[20:30, 20:40] = bad
    # For the calibration's own integrators, and for a user's.
    reducer = Reducer(Calibration.from_dict(document), extra_integrators=[Total()])
    curve, total = reducer.reduce(image)
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 5.0)
    assert total.intensity[0] == 5 * (60 * 80 - 10 * 20)
    # The highest count beside them stays one.
    curve, _ = reducer.reduce(np.full((60, 80), count, dtype))
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], float(count))
    # A cutoff of the detector's below them counts as ever.
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(np.full((60, 80), 5, dtype), count_cutoff=5)
    assert np.isnan(curve.intensity).all()


def test_nan_pixels_of_float_images_are_left_out(document: dict[str, Any]) -> None:
    image = np.full((60, 80), 5.0)
    image[20:30, 20:40] = np.nan
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(image)
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 5.0)


def test_invalid_pixels_can_be_kept(document: dict[str, Any]) -> None:
    (curve,) = Reducer(Calibration.from_dict(document), leave_out_invalid=False).reduce(np.full((60, 80), -1))
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], -1.0)


def test_pixels_that_the_caller_masks_are_left_out(document: dict[str, Any]) -> None:
    image = np.ma.MaskedArray(np.full((60, 80), 5), mask=False)
    image[20:30, 20:40] = 77
    image[20:30, 20:40] = np.ma.masked
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(image)
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 5.0)


def test_image_is_not_changed(document: dict[str, Any], rng: np.random.Generator) -> None:
    for dtype in (np.int32, np.float64):
        image = rng.integers(-2, 100, (60, 80)).astype(dtype)
        before = image.copy()
        Reducer(Calibration.from_dict(document)).reduce(image)
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(80, 60), (60, 81), (4800,), (1, 60, 80)])
def test_wrong_shape_is_refused(document: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match=r"wanted an image of shape \(60, 80\) \(Imagesize in cal\.json\), found"):
        Reducer(Calibration.from_dict(document, where="cal.json")).reduce(np.ones(shape))


def test_image_of_complex_numbers_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match="wanted an image of real numbers, found complex128"):
        Reducer(Calibration.from_dict(document)).reduce(np.ones((60, 80), complex))


def test_second_error_estimate_is_made_where_asked_for(document: dict[str, Any], rng: np.random.Generator) -> None:
    calibration, image = Calibration.from_dict(document), rng.poisson(10, (60, 80))
    assert Reducer(calibration).reduce(image)[0].deviation is None
    deviation = Reducer(calibration, deviation=True).reduce(image)[0].deviation
    assert deviation is not None
    assert np.nanmedian(deviation) == pytest.approx(np.sqrt(10), rel=0.2)


class Total:
    """A user's own integrator: the sum over the whole image."""

    name = "Total"
    axis = np.array([0.0])

    def integrate(self, image: Any) -> Curve:
        total = np.array([float(image.sum())])
        return Curve(self.name, "recipe", self.axis, "nothing", "1", total, np.sqrt(total))


def test_extra_integrator_stands_beside_the_calibrations_own(document: dict[str, Any]) -> None:
    image = np.ones((60, 80))
    image[0, 0] = -1  # left out for extra integrators too
    assert isinstance(Total(), Integrator)
    curves = Reducer(Calibration.from_dict(document), extra_integrators=[Total()]).reduce(image)
    assert [curve.name for curve in curves] == ["R0", "Total"]
    assert curves[1].intensity[0] == 60 * 80 - 1


@pytest.mark.parametrize(
    ("integrator", "message"),
    [
        (object(), r"wanted an integrator \(name, axis, integrate\), found object"),
        (type("Named", (Total,), {"name": "../evil"})(), "letters, digits and underscores, found '../evil'"),
        (type("Taken", (Total,), {"name": "R0"})(), "of different names, found 'R0' twice"),
    ],
)
def test_bad_extra_integrators_are_refused(document: dict[str, Any], integrator: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Reducer(Calibration.from_dict(document), extra_integrators=[integrator])


def test_threads_share_a_reducer(document: dict[str, Any], rng: np.random.Generator) -> None:
    reducer = Reducer(Calibration.from_dict(document))
    images = [rng.integers(-2, 50, (60, 80)) for _ in range(40)]  # other pixels left out in each
    expected = [Reducer(reducer.calibration).reduce(image)[0].intensity for image in images]
    with ThreadPoolExecutor(8) as pool:
        curves = list(pool.map(lambda image: reducer.reduce(image)[0].intensity, images * 5))
    for position, intensity in enumerate(curves):
        np.testing.assert_array_equal(intensity, expected[position % 40])
