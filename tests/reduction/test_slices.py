"""Straight cuts for grazing incidence: which pixels, which axis."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import CalibrationError
from saxs_bluesky.reduction import Calibration, Curve, Reducer

IMAGE = np.arange(60 * 80).reshape(60, 80)


def cut(document: dict[str, Any], **entry: Any) -> Curve:
    document = copy.deepcopy(document) | {"Slices": [{"CutPosition": 1, "CutMargin": 0} | entry], "GISAXSmode": True}
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(IMAGE)
    return curve


def test_rows_count_from_the_bottom_by_default(document: dict[str, Any]) -> None:
    np.testing.assert_array_equal(cut(document, CutPosition=1).intensity, IMAGE[59])
    np.testing.assert_array_equal(cut(document, CutPosition=60).intensity, IMAGE[0])


def test_rows_count_from_the_top_where_asked(document: dict[str, Any]) -> None:
    np.testing.assert_array_equal(cut(document, CutPosition=1, CutOrigin="top-left").intensity, IMAGE[0])


def test_columns_count_from_the_left_and_run_upwards(document: dict[str, Any]) -> None:
    for origin in ("bottom-left", "top-left"):
        curve = cut(document, Direction="y", CutPosition=3, CutOrigin=origin)
        np.testing.assert_array_equal(curve.intensity, IMAGE[::-1, 2])


def test_margin_averages_the_rows_around(document: dict[str, Any]) -> None:
    curve = cut(document, CutPosition=10, CutMargin=2)
    np.testing.assert_allclose(curve.intensity, IMAGE[48:53].mean(axis=0))
    np.testing.assert_allclose(curve.sigma, np.sqrt(IMAGE[48:53].sum(axis=0)) / 5)


def test_margin_is_clipped_at_the_edge(document: dict[str, Any]) -> None:
    np.testing.assert_allclose(cut(document, CutPosition=1, CutMargin=3).intensity, IMAGE[56:].mean(axis=0))


def test_in_plane_axis(document: dict[str, Any]) -> None:
    axis = cut(document).axis
    # Column 70 is centred at 70.5 - 30.6 pixels of 1 mm from the beam, 200 mm behind the sample.
    assert axis[70] == pytest.approx(4 * math.pi / 0.154 * math.sin(math.atan(39.9 / 200) / 2), rel=1e-12)
    assert axis[30] == pytest.approx(4 * math.pi / 0.154 * math.sin(math.atan(-0.1 / 200) / 2), rel=1e-12)


def test_vertical_axis_points_up_and_knows_the_incident_angle(document: dict[str, Any]) -> None:
    curve = cut(document, Direction="y", Plane="Vertical", IncidentAngle=0.5)
    # The lowest row is centred 0.5 pixels above the edge, the beam 25.3.
    angle, incident = math.atan((0.5 - 25.3) / 200), math.radians(0.5)
    assert curve.axis[0] == pytest.approx(
        2 * math.pi / 0.154 * (math.sin(angle - incident) + math.sin(incident)), rel=1e-12
    )
    assert (np.diff(curve.axis) > 0).all()
    assert (curve.axis_label, curve.axis_unit) == ("q_v", "1/nm")


def test_mask_of_the_slice_applies_and_only_where_referred_to(document: dict[str, Any]) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[59, 10:20] = 1
    document["Slices"] = [{"CutPosition": 1, "CutMargin": 0, "MaskRef": ref} for ref in (0, -1)]
    document["Masks"][0]["MaskFile"] = "mask.npy"
    calibration = Calibration.from_dict(document, masks=[_npy(mask)])
    _, masked, unmasked = Reducer(calibration).reduce(IMAGE)
    assert np.isnan(masked.intensity[10:20]).all()
    assert not np.isnan(masked.intensity[20:]).any()
    np.testing.assert_array_equal(unmasked.intensity, IMAGE[59])


def test_invalid_pixels_are_left_out_of_the_mean(document: dict[str, Any]) -> None:
    document |= {"Slices": [{"CutPosition": 2, "CutMargin": 1}], "GISAXSmode": True}
    image = np.full((60, 80), 7)
    image[59, 5] = -1
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(image)
    np.testing.assert_array_equal(curve.intensity, 7.0)
    assert curve.sigma[5] == pytest.approx(math.sqrt(14) / 2)


def test_gisaxs_mode_skips_the_masks_but_keeps_the_numbers(document: dict[str, Any]) -> None:
    assert cut(document).name == "S1"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"CutPosition": 61}, r"Slices\[0\]\.CutPosition: wanted a number from 1 to 60 \(rows\), found 61"),
        ({"CutPosition": 81, "Direction": "y"}, r"from 1 to 80 \(columns\), found 81"),
        ({"MaskRef": 1}, r"Slices\[0\]\.MaskRef: wanted -1 or an index into the 1 Masks, found 1"),
    ],
)
def test_impossible_cuts_are_refused(document: dict[str, Any], entry: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        cut(document, **entry)


def _npy(array: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
