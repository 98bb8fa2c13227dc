"""pyFAI's .poni files, against pyFAI itself and hand-worked numbers."""

from __future__ import annotations

import math
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyFAI
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyFAI.detectors import detector_factory
from pyFAI.integrator.azimuthal import AzimuthalIntegrator as PyFAI

from saxs_bluesky.errors import CalibrationError, SchemaError
from saxs_bluesky.reduction import Calibration, Polarization, conversion, polarization_factor
from saxs_bluesky.reduction.formats.converters import convert
from saxs_bluesky.reduction.formats.poni import _fields, _turn, polarization_remark, poni_text

SHAPE = (14, 18)

CONFIG = '{"pixel1": 0.0001, "pixel2": 0.0002, "max_shape": [14, 18], "orientation": 3}'

PONI = {
    "poni_version": "2.1",
    "Detector": "Detector",
    "Detector_config": CONFIG,
    "Distance": "0.2",
    "Poni1": "0.0004",
    "Poni2": "0.0018",
    "Rot1": "0.0",
    "Rot2": "0.0",
    "Rot3": "0.0",
    "Wavelength": "1.54e-10",
}


def poni(**changes: str | None) -> str:
    """Text of a .poni file; a change to None leaves the line out."""
    fields = PONI | changes
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)


def calibration_document(**geometry: Any) -> dict[str, Any]:
    return {
        "Geometry": {
            "BeamCenter": [4.25, 9.0],
            "DedectorDistanceMM": 200.0,
            "PixelSizeMicroM": [100.0, 200.0],
            "Imagesize": list(SHAPE),
            **geometry,
        },
        "Wavelength": 1.54,
    }


def load(text: str) -> PyFAI:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.poni"
        path.write_text(text, encoding="utf-8")
        return pyFAI.load(str(path))


def save(integrator: PyFAI) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.poni"
        integrator.save(str(path))
        return path.read_text(encoding="utf-8")


def their_q(integrator: PyFAI) -> Any:
    """pyFAI's q of every pixel, 1/nm, with the positions of pixels in double precision.

    (``qArray`` is the same, but keeps positions in single precision for a detector of known shape.)
    """
    rows, columns = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    return integrator.qFunction(rows, columns)


def our_q(document: dict[str, Any]) -> Any:
    return Calibration.from_dict(document).geometry.q_of_pixels()


def assert_same_q(ours: Any, theirs: Any) -> None:
    # pyFAI loses digits next to the beam centre, so what is compared there is absolute.
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * ours.max())


angles = st.floats(-0.7, 0.7)
positions = st.floats(-0.01, 0.01)


@settings(max_examples=25, deadline=None)
@given(
    tilt=st.floats(-50, 50),
    rotation=st.floats(-360, 360),
    distance=st.floats(20, 5000),
    center=st.tuples(st.floats(-20, 40), st.floats(-20, 40)),
    pixel_size=st.tuples(st.floats(50, 200), st.floats(50, 200)),
)
def test_pyfai_finds_our_q_from_the_poni_we_write(
    tilt: float,
    rotation: float,
    distance: float,
    center: tuple[float, float],
    pixel_size: tuple[float, float],
) -> None:
    document = calibration_document(
        Tilt={"TiltAngleDeg": tilt, "TiltRotDeg": rotation},
        BeamCenter=list(center),
        DedectorDistanceMM=distance,
        PixelSizeMicroM=list(pixel_size),
    )
    integrator = load(poni_text(document))
    assert integrator.detector.max_shape == SHAPE
    assert_same_q(our_q(document), their_q(integrator))


@settings(max_examples=60, deadline=None)
@given(
    distance=st.floats(0.05, 5),
    poni1=positions,
    poni2=positions,
    rot1=angles,
    rot2=angles,
    rot3=st.floats(-4, 4),
    orientation=st.sampled_from([1, 2, 3, 4]),
)
def test_we_find_the_q_of_pyfai_from_its_poni(
    distance: float, poni1: float, poni2: float, rot1: float, rot2: float, rot3: float, orientation: int
) -> None:
    config = {"pixel1": 1e-4, "pixel2": 2e-4, "max_shape": SHAPE, "orientation": orientation}
    detector = detector_factory("Detector", config)
    integrator = PyFAI(distance, poni1, poni2, rot1, rot2, rot3, detector=detector, wavelength=1e-10)
    assert_same_q(our_q(convert(save(integrator), "a.poni")), their_q(integrator))


def test_q_array_of_a_loaded_poni_is_ours_to_single_precision() -> None:
    document = calibration_document(Tilt={"TiltAngleDeg": -10, "TiltRotDeg": 73.569})
    np.testing.assert_allclose(load(poni_text(document)).qArray(SHAPE), our_q(document), rtol=1e-6, atol=1e-6)


def test_untilted_poni_is_below_the_beam_centre() -> None:
    lines = poni_text(calibration_document()).splitlines()
    assert lines[1:] == [
        "poni_version: 2.1",
        "Detector: Detector",
        'Detector_config: {"pixel1": 0.0001, "pixel2": 0.0002, "max_shape": [14, 18], "orientation": 3}',
        "Distance: 0.2",
        "Poni1: 0.000975",  # (14 - 4.25) rows of 0.1 mm from the top
        "Poni2: 0.0018",
        "Rot1: 0.0",
        "Rot2: 0.0",
        "Rot3: 0.0",
        "Wavelength: 1.54e-10",
    ]


def test_tilt_of_30_degrees_moves_the_foot_of_the_perpendicular_by_half_the_distance() -> None:
    # With rotation 0 the right side lies behind: the perpendicular meets the detector 200 sin(30) = 100 mm left of
    # the beam centre, at 200 cos(30) mm.
    text = poni_text(calibration_document(Tilt={"TiltAngleDeg": 30, "TiltRotDeg": 0}))
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    assert float(values["Distance"]) == pytest.approx(0.2 * math.sqrt(3) / 2)
    assert float(values["Poni2"]) == pytest.approx(0.0018 - 0.1)
    assert float(values["Rot1"]) == pytest.approx(-math.pi / 6)
    assert float(values["Rot2"]) == 0


def test_written_rot3_is_that_of_fit2d_tilts() -> None:
    document = calibration_document(Tilt={"TiltAngleDeg": 10, "TiltRotDeg": 30})
    pyfai = PyFAI()
    # pyFAI's Fit2D sees the image upside down, where the tilt axis turns the other way.
    pyfai.setFit2D(200, 9, 9.75, 10, -30, pixelX=200, pixelY=100)
    ours = load(poni_text(document))
    assert [ours.rot1, ours.rot2, ours.rot3] == pytest.approx([pyfai.rot1, pyfai.rot2, pyfai.rot3], rel=1e-12)


def test_poni_there_and_back_is_the_same_calibration() -> None:
    document = calibration_document(Tilt={"TiltAngleDeg": 10, "TiltRotDeg": 73.569})
    assert convert(poni_text(document), "a.poni")["Geometry"] == document["Geometry"]


def test_negative_tilt_comes_back_as_a_positive_one_half_a_turn_on() -> None:
    document = calibration_document(Tilt={"TiltAngleDeg": -10, "TiltRotDeg": 73.569})
    tilt = convert(poni_text(document), "a.poni")["Geometry"]["Tilt"]
    assert tilt == pytest.approx({"TiltAngleDeg": 10, "TiltRotDeg": 73.569 - 180})


def test_beam_centre_of_a_poni_counts_from_the_bottom() -> None:
    document = convert(poni(), "a.poni")
    assert document["Geometry"] == {
        "Tilt": {"TiltRotDeg": 0.0, "TiltAngleDeg": 0.0},
        "BeamCenter": [10.0, 9.0],  # 14 rows less 0.4 mm / 0.1 mm; 1.8 mm / 0.2 mm
        "DedectorDistanceMM": 200.0,
        "PixelSizeMicroM": [100.0, 200.0],
        "Imagesize": [14, 18],
    }
    assert document["Wavelength"] == 1.54


def test_last_of_several_geometries_counts() -> None:
    document = convert(poni() + "# Calibration done later\n" + poni(Distance="0.3"), "a.poni")
    assert document["Geometry"]["DedectorDistanceMM"] == 300.0


@pytest.mark.parametrize(
    "name",
    [
        "Pilatus100k", "Pilatus200k", "Pilatus300k", "Pilatus300kw", "Pilatus900k", "Pilatus1M", "Pilatus2M",
        "Pilatus6M", "PilatusCdTe300k", "PilatusCdTe2M", "Eiger500k", "Eiger1M", "Eiger4M", "Eiger9M", "Eiger16M",
        "Eiger2_250k", "Eiger2_500k", "Eiger2_1M", "Eiger2_1MW", "Eiger2_2MW", "Eiger2_4M", "Eiger2_9M", "Eiger2_16M",
        "Eiger2CdTe_4M",
    ],
)  # fmt: skip
def test_detectors_known_by_name_are_as_pyfai_has_them(name: str) -> None:
    detector = detector_factory(name)
    geometry = convert(poni(Detector=name, Detector_config="{}"), "a.poni")["Geometry"]
    assert geometry["Imagesize"] == list(detector.max_shape)
    assert geometry["PixelSizeMicroM"] == pytest.approx([detector.pixel1 * 1e6, detector.pixel2 * 1e6])


def test_spoken_name_of_a_detector_is_understood() -> None:
    assert convert(poni(Detector="Eiger2 CdTe 1M-W", Detector_config=None), "a")["Geometry"]["Imagesize"] == [512, 2068]


def test_binned_detector_has_not_the_shape_of_its_name() -> None:
    text = poni(Detector="Eiger4M", Detector_config='{"pixel1": 0.00015, "pixel2": 0.00015}')
    with pytest.raises(CalibrationError, match="wanted the shape of the image"):
        convert(text, "a.poni")


def test_version_1_has_pixel_sizes_and_leaves_the_shape_to_the_template() -> None:
    text = poni(poni_version=None, Detector=None, Detector_config=None, PixelSize1="0.0001", PixelSize2="0.0002")
    template = calibration_document(Imagesize=[20, 30], PixelSizeMicroM=[50.0])
    geometry = convert(text, "a.poni", template=template)["Geometry"]
    assert geometry["PixelSizeMicroM"] == [100.0, 200.0]
    assert geometry["Imagesize"] == [20, 30]
    assert geometry["BeamCenter"] == [16.0, 9.0]


def test_version_1_of_a_named_detector_needs_no_template() -> None:
    text = poni(poni_version=None, Detector="Pilatus1M", Detector_config=None, SplineFile="None")
    assert convert(text, "a.poni")["Geometry"]["Imagesize"] == [1043, 981]


def test_unknown_detector_takes_pixels_and_shape_of_the_template() -> None:
    text = poni(Detector="Rayonix", Detector_config='{"orientation": 3}')
    geometry = convert(text, "a.poni", template=calibration_document(PixelSizeMicroM=[100.0]))["Geometry"]
    assert geometry["PixelSizeMicroM"] == [100.0, 100.0]
    assert geometry["Imagesize"] == [14, 18]


def test_wavelength_of_the_template_serves_where_the_poni_has_none() -> None:
    template = calibration_document() | {"Wavelength": 0.9}
    assert convert(poni(Wavelength=None), "a.poni", template=template)["Wavelength"] == 0.9
    assert convert(poni(Wavelength="None"), "a.poni", template=template)["Wavelength"] == 0.9
    assert convert(poni(), "a.poni", template=template)["Wavelength"] == 1.54


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Wavelength": None}, r'a\.poni: wanted a line "Wavelength: \.\.\." \(metres\) or a template, found neither'),
        ({"Rot2": None}, r'a\.poni: wanted a line "Rot2: \.\.\.", found none'),
        ({"Poni1": "0.1 m"}, r"a\.poni: Poni1: wanted a number, found 0\.1 m"),
        ({"Rot1": "inf"}, "Rot1: wanted a number, found inf"),
        ({"Rot1": "1.8"}, r"tilt the detector by less than 90 degrees, found 103\.1 degrees"),
        ({"poni_version": "4"}, r"wanted poni_version 1, 2, 2\.1 or 3, found 4"),
        ({"poni_version": "3", "Parallax": "True"}, "without correction of parallax"),
        ({"SplineFile": "frelon.spline"}, r"wanted a detector of equal pixels, found .*\(splinefile\)"),
        ({"Detector_config": '{"x_offset_file": "x.edf"}'}, r"found one with distortion \(x_offset_file\)"),
        ({"Detector_config": '{"pixel1": 1e-4, "pixel2": -1e-4}'}, "wanted pixels of sizes above 0"),
        ({"Detector_config": '{"pixel1": 1e-4, "pixel2": "wide"}'}, "pixel2: wanted a number, found wide"),
        ({"Detector_config": '{"pixel1": 1e-4, "pixel2": 1e-4}'}, "wanted the shape of the image"),
        (
            {"Detector_config": CONFIG.replace("[14, 18]", "[14.5, 18]")},
            r"wanted max_shape \[rows, columns\], found \[14\.5, 18\]",
        ),
        ({"Detector_config": CONFIG.replace(": 3", ": 7")}, "wanted orientation 1, 2, 3 or 4, found 7"),
        ({"Detector_config": '{"max_shape": [14, 18]}'}, "wanted the size of pixels .* found detector Detector"),
    ],
)
def test_what_a_poni_lacks_is_named(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        convert(poni(**changes), "a.poni")


def test_broken_detector_config_is_named() -> None:
    with pytest.raises(SchemaError, match=r"a\.poni: Detector_config: wanted JSON, found"):
        convert(poni(Detector_config="{pixel1: 1}"), "a.poni")


def test_negative_distance_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"Geometry\.DedectorDistanceMM: wanted a number not below 0.001, found -200"):
        convert(poni(Distance="-0.2"), "a.poni")


def test_pixels_beyond_90_degrees_are_refused() -> None:
    with pytest.raises(CalibrationError, match="below 90 degrees"):
        convert(poni(Distance="0.0001", Rot1="1.2", Poni2="0"), "a.poni")


def test_version_3_without_parallax_is_read() -> None:
    assert convert(poni(poni_version="3", Parallax="False"), "a.poni") == convert(poni(), "a.poni")


def test_poni_of_no_calibration_is_refused() -> None:
    with pytest.raises(SchemaError, match='"Wavelength" is missing'):
        poni_text({"Geometry": calibration_document()["Geometry"]})


def turned(orientation: int = 3, **changes: str) -> str:
    """A detector that reaches to 2theta 26 degrees and more, in any orientation."""
    config = f'{{"pixel1": 0.01, "pixel2": 0.01, "max_shape": [14, 18], "orientation": {orientation}}}'
    return poni(Detector_config=config, Poni1="0.07", Poni2="0.09", **changes)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@pytest.mark.parametrize("rot3", [0.3, -1.2, 2.5])
@pytest.mark.parametrize(("rot1", "rot2", "precise"), [(0.0, 0.0, 1e-6), (0.05, -0.08, 0.01)])
def test_angle_of_polarization_that_is_told_is_that_of_pyfai(
    orientation: int, rot1: float, rot2: float, rot3: float, precise: float
) -> None:
    text = turned(orientation, Rot1=str(rot1), Rot2=str(rot2), Rot3=str(rot3))
    calibration = Calibration.from_dict(convert(text, "a.poni"))
    remark = polarization_remark(text, "a.poni", calibration)
    told = float(re.search(r"has Angle (-?[\d.]+) in it", remark)[1])  # type: ignore[index]
    angle = math.degrees(_turn(_fields(text), "a.poni"))
    assert told == pytest.approx(angle, abs=0.051)
    # pyFAI's factor is 2 P - 1.
    theirs = np.asarray(load(text).polarization(factor=0.96, shape=SHAPE))
    ours = polarization_factor(calibration.geometry, Polarization(0.98, math.radians(angle)))
    np.testing.assert_allclose(ours, theirs, atol=precise)
    unturned = polarization_factor(calibration.geometry, Polarization(0.98, 0.0))
    assert np.abs(unturned - theirs).max() > 0.02


def test_remark_on_polarization_says_how_much_it_costs() -> None:
    # A corner at 2theta 26 degrees: factors from 1 - sin(26)**2 = 0.81 to 1, which a turn by 30 changes by up to
    # sin(26)**2 sin(30) = 0.096, where they are 0.9.
    text = turned(Rot3=str(math.radians(30)), Distance="0.2338")
    document = convert(text, "a.poni")
    remark = polarization_remark(text, "a.poni", Calibration.from_dict(document))
    assert remark.startswith(
        "a.poni: Rot3 turns the image about the beam, so that the laboratory's horizontal plane has Angle 30.0 in "
        "it: a PolarizationCorrection with Angle 0 would be wrong by up to 11 % of the intensity (2theta 26.0 degrees"
    )
    for angle, told in ((0.0, True), (29.0, True), (30.2, False), (-150.0, False)):
        corrected = document | {"PolarizationCorrection": {"Fraction": 0.98, "Angle": angle}}
        remark = polarization_remark(text, "a.poni", Calibration.from_dict(corrected))
        assert (f"PolarizationCorrection with Angle {angle:g} is wrong" in remark) is told


@pytest.mark.parametrize("rot3", [0.0, math.pi, -math.pi])
def test_image_that_is_not_turned_is_no_word_worth(rot3: float) -> None:
    text = turned(Rot3=str(rot3))
    assert polarization_remark(text, "a.poni", Calibration.from_dict(convert(text, "a.poni"))) == ""
    written = poni_text(calibration_document(Tilt={"TiltRotDeg": 73.0, "TiltAngleDeg": 20.0}))
    assert polarization_remark(written, "b.poni", Calibration.from_dict(convert(written, "b.poni"))) == ""


VERSION_1 = {
    "poni_version": None,
    "Detector": None,
    "Detector_config": None,
    "PixelSize1": "1e-4",
    "PixelSize2": "2e-4",
}
NO_SHAPE = {"Detector_config": CONFIG.replace("[14, 18]", "null")}


@pytest.mark.parametrize("changes", [VERSION_1, NO_SHAPE], ids=["version 1", "max_shape null"])
def test_image_of_the_detector_gives_the_shape(changes: dict[str, str | None]) -> None:
    with pytest.raises(CalibrationError, match=r"give an image of the detector \(--image FILE\), or a template"):
        convert(poni(**changes), "a.poni")
    document = conversion(poni(**changes), "a.poni", shape=(14, 18)).document
    assert document["Geometry"] == convert(poni(), "a.poni")["Geometry"]
    # The image goes before a template, and not against the file itself.
    template = calibration_document(Imagesize=[100, 200])
    assert (
        conversion(poni(**changes), "a.poni", template=template, shape=(14, 18)).document["Geometry"]
        == (document["Geometry"])
    )
    with pytest.raises(CalibrationError, match=r"a\.poni: wanted images of shape \(14, 18\), found one of .*\(5, 5\)"):
        conversion(poni(), "a.poni", shape=(5, 5))
