"""Calibration files: what loads, what is refused, what is kept."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import CalibrationError, SchemaError
from saxs_bluesky.reduction import Calibration, Reducer


def test_values_arrive_in_units_of_the_geometry(document: dict[str, Any]) -> None:
    document["Geometry"] |= {"Tilt": {"TiltAngleDeg": -10, "TiltRotDeg": 90}, "PixelSizeMicroM": [172, 200]}
    geometry = Calibration.from_dict(document).geometry
    assert geometry.shape == (60, 80)
    assert geometry.beam_center == (25.3, 30.6)
    assert geometry.pixel_size == (0.172, 0.2)
    assert geometry.wavelength == pytest.approx(0.154)
    assert (geometry.tilt_angle, geometry.tilt_rotation) == (math.radians(-10), math.radians(90))


def test_one_pixel_size_means_square_pixels(document: dict[str, Any]) -> None:
    assert Calibration.from_dict(document).geometry.pixel_size == (1.0, 1.0)


def test_other_spellings_load(document: dict[str, Any]) -> None:
    geometry = document["Geometry"]
    geometry["DetectorDistanceMM"] = geometry.pop("DedectorDistanceMM")
    geometry["ImageSize"] = geometry.pop("Imagesize")
    calibration = Calibration.from_dict(document)
    assert calibration.geometry.distance == 200
    assert calibration.document["Geometry"]["DedectorDistanceMM"] == 200
    assert "ImageSize" not in calibration.document["Geometry"]


def test_both_spellings_at_once_are_refused(document: dict[str, Any]) -> None:
    document["Geometry"]["DetectorDistanceMM"] = 3
    with pytest.raises(
        CalibrationError, match='wanted one of "DedectorDistanceMM" and "DetectorDistanceMM", found both'
    ):
        Calibration.from_dict(document)


def test_without_masks_the_whole_detector_is_integrated(document: dict[str, Any]) -> None:
    del document["Masks"]
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(np.ones((60, 80)))
    assert curve.name == "R0"


def test_document_is_complete_and_the_callers_untouched(document: dict[str, Any]) -> None:
    before = json.dumps(document)
    calibration = Calibration.from_dict(document)
    assert json.dumps(document) == before
    assert calibration.document["OverwriteFiles"] is True
    assert "\n" not in calibration.json()
    assert Calibration.from_dict(json.loads(calibration.json())).document == calibration.document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Masks": []}, "wanted at least one entry in Masks or Slices, found none"),
        ({"GISAXSmode": True}, "wanted at least one entry in Slices for GISAXSmode, found none"),
        ({"Masks": [{"qStart": 2, "qStop": 1}]}, r"Masks\[0\]: wanted qStart below qStop, found 2 and 1"),
    ],
)
def test_contradictions_are_refused(document: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=f"^cal.json: {message}"):
        Calibration.from_dict(document | change, where="cal.json")


@pytest.mark.parametrize("start", [0.0, 3.0])
def test_without_an_upper_end_the_integral_parameters_are_0_and_the_curve_is_whole(
    document: dict[str, Any], start: float
) -> None:
    """``qStop: 0`` is the default of deployed programs."""
    image = np.random.default_rng(1).poisson(20, (60, 80))
    (whole,) = Reducer(Calibration.from_dict(document)).reduce(image)
    document["Masks"][0] |= {"qStart": start, "qStop": 0}
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(image)
    assert (curve.integral.I0, curve.integral.I1, curve.integral.I2) == (0.0, 0.0, 0.0)
    assert np.array_equal(curve.axis, whole.axis)
    assert np.array_equal(curve.intensity, whole.intensity, equal_nan=True)


def test_impossible_geometry_names_the_calibration(document: dict[str, Any]) -> None:
    document["Geometry"] |= {"DedectorDistanceMM": 1.0, "Tilt": {"TiltAngleDeg": 80}}
    with pytest.raises(CalibrationError, match=r"^cal\.json: wanted all pixels at scattering angles below 90"):
        Calibration.from_dict(document, where="cal.json")


def test_number_of_mask_contents_must_fit(document: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match="wanted one mask for each of the 1 entries of Masks, found 2"):
        Calibration.from_dict(document, masks=[None, None])


def test_file_that_is_absent_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"gone\.json: wanted a calibration file, found No such file"):
        Calibration.from_file(tmp_path / "gone.json")
    (tmp_path / "bad.json").write_text("{]")
    with pytest.raises(SchemaError, match=r"bad\.json: wanted JSON"):
        Calibration.from_file(tmp_path / "bad.json")


def test_typo_is_answered_with_the_right_key(tmp_path: Path, document: dict[str, Any]) -> None:
    document["Geometry"]["BeamCentre"] = document["Geometry"].pop("BeamCenter")
    (tmp_path / "cal.json").write_text(json.dumps(document))
    with pytest.raises(SchemaError, match=r'cal\.json: .*unknown key "BeamCentre", did you mean "BeamCenter"\?'):
        Calibration.from_file(tmp_path / "cal.json")


def test_real_calibrations_load(shared_data: Path) -> None:
    for name in ("calibration.json", "calibration_tilt10.json"):
        calibration = Calibration.from_file(shared_data / name)
        assert calibration.geometry.shape == (1043, 981)
        assert calibration.load_mask(0).shape == (1043, 981)


def test_calibration_and_reducer_travel_between_processes(document: dict[str, Any], rng: np.random.Generator) -> None:
    reducer = Reducer(Calibration.from_dict(document))
    image = rng.poisson(10, (60, 80))
    copy = pickle.loads(pickle.dumps(reducer))
    np.testing.assert_array_equal(copy.reduce(image)[0].intensity, reducer.reduce(image)[0].intensity)


def test_calibration_that_is_used_while_it_is_pickled(document: dict[str, Any]) -> None:
    """What is worked out once comes to the calibration in one thread while another sends it to a worker."""
    calibration = Calibration.from_dict(document)

    class UsesIt:
        def __reduce__(self) -> tuple[type[str], tuple[str]]:
            return str, (calibration.sha256,)

    object.__setattr__(calibration, "where", UsesIt())
    assert "sha256" not in vars(calibration)
    assert pickle.loads(pickle.dumps(calibration)).where == calibration.sha256
