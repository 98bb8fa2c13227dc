"""What a calibration and the header of an image say differently, and what of a calibration makes no curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.reduction import Calibration, PilatusHeader, Reducer, differences, read_header, write_frame

ENTRIES = {
    "Wavelength": "1.5400 A",
    "Detector_distance": "0.20000 m",
    "Pixel_size": "1e-3 m x 1e-3 m",
    "Beam_xy": "(30.60, 34.70) pixels",  # 60 rows - 25.3
}


def found(document: dict[str, Any], tmp_path: Path, **entries: str) -> list[str]:
    """What is told of the small detector's calibration beside a real file with such a header."""
    write_frame(tmp_path / "a.tif", np.ones((60, 80)), PilatusHeader(entries=ENTRIES | entries))
    return differences(Calibration.from_dict(document), read_header(tmp_path / "a.tif").header)


def test_header_that_says_the_same_is_no_word_worth(document: dict[str, Any], tmp_path: Path) -> None:
    assert found(document, tmp_path) == []


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"Wavelength": "0.154 A"}, "Wavelength 1.54, in the image 0.154 A"),
        ({"Wavelength": "1.5600 A"}, "Wavelength 1.54, in the image 1.56 A"),
        ({"Detector_distance": "2.00000 m"}, "DedectorDistanceMM 200, in the image 2000 mm"),
        ({"Detector_distance": "0.20500 m"}, "DedectorDistanceMM 200, in the image 205 mm"),
        ({"Detector_distance": "300 mm"}, "DedectorDistanceMM 200, in the image 300 mm"),
        ({"Pixel_size": "172e-6 m x 172e-6 m"}, "PixelSizeMicroM [1000.0, 1000.0], in the image [172.0, 172.0] um"),
        ({"Pixel_size": "1e-3 m x 2e-3 m"}, "PixelSizeMicroM [1000.0, 1000.0], in the image [2000.0, 1000.0] um"),
        (
            {"Beam_xy": "(30.60, 25.30) pixels"},  # copied into BeamCenter as it is
            "BeamCenter [25.3, 30.6], in the image [34.7, 30.6] (its Beam_xy (30.6, 25.3); BeamCenter is [y from the "
            "bottom edge, x])",
        ),
        (
            {"Beam_xy": "(36.00, 34.70) pixels"},
            "BeamCenter [25.3, 30.6], in the image [25.3, 36] (its Beam_xy (36, 34.7); BeamCenter is [y from the "
            "bottom edge, x])",
        ),
    ],
)
def test_both_values_are_named(document: dict[str, Any], tmp_path: Path, entries: dict[str, str], text: str) -> None:
    assert found(document, tmp_path, **entries) == [text]


@pytest.mark.parametrize(
    "entries",
    [
        {"Wavelength": "1.5499 A"},  # 0.6 %
        {"Detector_distance": "0.20300 m"},  # 1.5 %
        {"Pixel_size": "1.005e-3 m x 1e-3 m"},
        {"Beam_xy": "(34.00, 31.70) pixels"},  # 4.5 pixels away
        # What a detector writes that nobody told anything.
        {"Wavelength": "0.0000 A"},
        {"Wavelength": "not set"},
        {"Detector_distance": "1.00000 m"},
        {"Detector_distance": "0.00000 m"},
        {"Detector_distance": "not set"},
        {"Beam_xy": "(0.00, 0.00) pixels"},
        {"Beam_xy": "not set"},
        {"Pixel_size": "0 m x 0 m"},
        {"Detector_distance": "1e999 m", "Beam_xy": "(1e999, 2)", "Wavelength": "1e999 A"},
    ],
)
def test_little_differences_and_defaults_are_passed_over(
    document: dict[str, Any], tmp_path: Path, entries: dict[str, str]
) -> None:
    assert found(document, tmp_path, **entries) == []


def test_every_difference_is_told(document: dict[str, Any], tmp_path: Path) -> None:
    entries = {"Wavelength": "0.5 A", "Detector_distance": "5 m", "Pixel_size": "1e-6 m x 1e-6 m", "Beam_xy": "(1, 1)"}
    assert len(found(document, tmp_path, **entries)) == 4


def test_real_headers(shared_data: Path) -> None:
    calibration = Calibration.from_file(shared_data / "calibration.json")
    assert differences(calibration, read_header(shared_data / "pilatus1m_buffer.tif").header) == []
    for name in ("pilatus100k_header_defaults.tiff", "saxslab_image.tiff"):
        assert differences(calibration, read_header(shared_data / "real" / name).header) == []


def remarks(document: dict[str, Any], tmp_path: Path, mask: np.ndarray) -> tuple[str, ...]:
    np.save(tmp_path / "m.npy", mask)
    document["Masks"][0]["MaskFile"] = "m.npy"
    return Reducer(Calibration.from_dict(document, folder=tmp_path, where="cal.json")).remarks


ALL, NOTHING = np.full((60, 80), 255, "u1"), np.zeros((60, 80), "u1")


def test_mask_that_leaves_no_pixel(document: dict[str, Any], tmp_path: Path) -> None:
    assert remarks(document, tmp_path, NOTHING) == ()
    document["Slices"] = [{"CutPosition": 5, "MaskRef": 0}, {"CutPosition": 5}]
    assert remarks(document, tmp_path, ALL) == (
        "Masks[0] of cal.json makes a curve of NaN: m.npy masks every pixel (masked are the pixels that are not 0)",
        "Slices[0] of cal.json makes a curve of NaN: m.npy masks all of its strip",
    )


def test_mask_that_leaves_no_pixel_of_a_ring(document: dict[str, Any], tmp_path: Path) -> None:
    document["Masks"][0] |= {"Phi-mode": True, "qStart": 0.0, "qStop": 0.3}
    mask = NOTHING.copy()
    mask[25:45, 20:40] = 1  # around the beam
    assert remarks(document, tmp_path, mask) == (
        "Masks[0] of cal.json makes a curve of NaN: m.npy masks every pixel between qStart and qStop (masked are the "
        "pixels that are not 0)",
    )


def test_range_of_q_beside_the_curve(document: dict[str, Any], tmp_path: Path) -> None:
    document["Masks"][0] |= {"qStart": 30.0, "qStop": 40.0}
    (remark,) = remarks(document, tmp_path, NOTHING)
    assert remark.startswith(
        "Masks[0] of cal.json has integral parameters of 0: no point of its curve lies between qStart 30 and qStop 40 "
        "1/nm; its pixels have q from 0.0"
    )
    document["Masks"][0] |= {"qStart": 0.0, "qStop": 40.0}  # reaches over
    assert remarks(document, tmp_path, NOTHING) == ()


def test_range_of_q_under_the_mask(document: dict[str, Any], tmp_path: Path) -> None:
    document["Masks"][0] |= {"qStart": 0.0, "qStop": 0.3}
    mask = NOTHING.copy()
    mask[25:45, 20:40] = 1
    (remark,) = remarks(document, tmp_path, mask)
    assert "no point of its curve lies between qStart 0 and qStop 0.3 1/nm" in remark
