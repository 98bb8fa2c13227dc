"""Geometries of pyFAI (``.poni`` files), to and from calibrations.

Let ``u`` be the direction of the beam in the axes of the detector: down the image, to its right, and
away from the sample along the normal. A point of the detector at ``(y, x)`` from the beam centre
lies behind the plane normal to the beam by ``y u_down + x u_right``; comparing with the depth in
`saxs_bluesky.reduction.Geometry`,

    u_down = -sin(tilt) sin(rot),   u_right = sin(tilt) cos(rot),   u_normal = cos(tilt).

pyFAI puts the detector at ``Distance`` along its normal, with the foot of the perpendicular from the
sample (the PONI) at ``(Poni1, Poni2)`` from the first corner of the image, and then turns it about
axes 1 (down), 2 (right) and 3 (the beam). Turning the beam back instead,

    u_down = sin(Rot2),   u_right = -cos(Rot2) sin(Rot1),   u_normal = cos(Rot2) cos(Rot1).

The beam reaches the plane of the detector after ``d = Distance / u_normal``, so the beam centre is at
``(Poni1 + d u_down, Poni2 + d u_right)``. ``Rot3`` turns the detector about the beam: scattering
angles do not see it, and azimuths and the plane of polarization are counted from the image here, not
from the laboratory. Reading passes over it. Writing chooses it so that the detector is turned about one
axis in its own plane, without a turn about the beam, which is how Fit2D thinks of a tilt:

    tan(Rot3) = sin(Rot1) sin(Rot2) / (cos(Rot1) + cos(Rot2)).

What ``Rot3`` is beyond that turns the image in the laboratory, and so the plane of polarization, which is
horizontal there, in the image: the ``Angle`` of a calibration's ``PolarizationCorrection``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from saxs_bluesky.errors import CalibrationError
from saxs_bluesky.reduction._calibration import Calibration
from saxs_bluesky.schemas import parse_json

# Rows and columns of detectors that pyFAI knows by name alone, and the edge of their pixels in um:
# DECTRIS's data sheets.
_PIXELS = {"pilatus": 172.0, "eiger": 75.0}
_SHAPES = {
    "pilatus100k": (195, 487),
    "pilatus200k": (407, 487),
    "pilatus300k": (619, 487),
    "pilatus300kw": (195, 1475),
    "pilatus900k": (619, 1475),
    "pilatus1m": (1043, 981),
    "pilatus2m": (1679, 1475),
    "pilatus6m": (2527, 2463),
    "eiger500k": (514, 1030),
    "eiger1m": (1065, 1030),
    "eiger4m": (2167, 2070),
    "eiger9m": (3269, 3110),
    "eiger16m": (4371, 4150),
    "eiger2250k": (512, 512),
    "eiger2500k": (512, 1028),
    "eiger21m": (1062, 1028),
    "eiger21mw": (512, 2068),
    "eiger22mw": (512, 4148),
    "eiger24m": (2162, 2068),
    "eiger29m": (3262, 3108),
    "eiger216m": (4362, 4148),
}
_DISTORTIONS = ("splinefile", "x_offset_file", "y_offset_file")
_AS_STORED = 3
_LITTLE_TURN = math.radians(0.5)  # costs 0.2 % at 2theta 26 degrees


@dataclass(frozen=True)
class _Detector:
    """Shape (rows, columns), edges of a pixel (y, x) in um, and pyFAI's number of the first corner."""

    shape: tuple[int, int]
    pixel_size: tuple[float, float]
    orientation: int


@dataclass(frozen=True)
class _Pose:
    """Distance along the beam and beam centre from the first corner, mm; direction of the beam as above."""

    distance: float
    center_y: float
    center_x: float
    down: float
    right: float
    normal: float


def rounded(value: float, digits: int = 12) -> float:
    """Value without the noise in its last digits that arithmetic leaves, for files that people read.

    12 digits hold a beam centre to a billionth of a pixel.
    """
    return float(f"{value:.{digits}g}") + 0.0  # -0.0 becomes 0.0


def is_poni(text: str) -> bool:
    """True if a text looks like a ``.poni`` file."""
    return re.search(r"^\s*poni(_version|1|2)\s*:", text, re.IGNORECASE | re.MULTILINE) is not None


def poni_text(calibration: Calibration | Mapping[str, Any]) -> str:
    """Geometry of a calibration as the text of a ``.poni`` file, version 2.1.

    pyFAI then finds the same q for the same pixels of the image as it is stored (row 0 first).

    Parameters
    ----------
    calibration
        A calibration, or its document.

    Returns
    -------
    Content of the file.

    Raises
    ------
    CalibrationError, SchemaError
        A document is given that is no calibration.
    """
    if not isinstance(calibration, Calibration):
        calibration = Calibration.from_dict(calibration)
    geometry = calibration.geometry
    rows, columns = geometry.shape
    pixel1, pixel2 = (size / 1000 for size in geometry.pixel_size)
    sin_tilt = math.sin(geometry.tilt_angle)
    down = -sin_tilt * math.sin(geometry.tilt_rotation)
    right = sin_tilt * math.cos(geometry.tilt_rotation)
    normal = math.cos(geometry.tilt_angle)
    distance = geometry.distance / 1000
    rot1 = math.atan2(-right, normal)
    rot2 = math.atan2(down, math.hypot(right, normal))
    detector = {
        "pixel1": rounded(pixel1, 15),
        "pixel2": rounded(pixel2, 15),
        "max_shape": [rows, columns],
        "orientation": _AS_STORED,
    }
    values = {
        "Distance": distance * normal,
        "Poni1": (rows - geometry.beam_center[0]) * pixel1 - distance * down,
        "Poni2": geometry.beam_center[1] * pixel2 - distance * right,
        "Rot1": rot1,
        "Rot2": rot2,
        "Rot3": _rot3_of_tilt(rot1, rot2),
        "Wavelength": geometry.wavelength * 1e-9,
    }
    lines = [
        "# Written by saxs-bluesky. Lengths in metres, angles in radians; 1 counts down the image, 2 to the right.",
        "poni_version: 2.1",
        "Detector: Detector",
        f"Detector_config: {json.dumps(detector)}",
        *(f"{name}: {rounded(value, 15)!r}" for name, value in values.items()),
    ]
    return "\n".join(lines) + "\n"


def poni_changes(
    text: str, where: str, template: Mapping[str, Any] | None, shape: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Read a ``.poni`` file, as changes of a calibration document.

    Parameters
    ----------
    text
        Versions 1, 2, 2.1, and 3 without parallax; where a file holds several geometries one after
        the other, as pyFAI writes them, the last counts.
    where
        What errors call it.
    template
        A complete calibration document that gives what the file leaves open: the shape of the
        image, the size of pixels, the wavelength.
    shape
        Rows and columns of an image of the detector, where one is at hand.

    Raises
    ------
    CalibrationError
        A value is missing or no number, or the geometry is beyond what a calibration can say.
    """
    fields = _fields(text)
    _check_version(fields, where)
    detector = _detector(fields, where, None if template is None else template["Geometry"], shape)
    pose = _as_stored(_pose(fields, where), detector)
    size_y, size_x = (size / 1000 for size in detector.pixel_size)
    # atan2 would take the -0.0 that no tilt leaves for a half turn.
    rotation = math.atan2(0.0 - pose.down, 0.0 + pose.right)
    changes: dict[str, Any] = {
        "Geometry": {
            "Tilt": {
                "TiltRotDeg": rounded(math.degrees(rotation)),
                "TiltAngleDeg": rounded(math.degrees(math.atan2(math.hypot(pose.down, pose.right), pose.normal))),
            },
            "BeamCenter": [rounded(detector.shape[0] - pose.center_y / size_y), rounded(pose.center_x / size_x)],
            "DedectorDistanceMM": rounded(pose.distance),
            "PixelSizeMicroM": [rounded(size) for size in detector.pixel_size],
            "Imagesize": list(detector.shape),
        }
    }
    if "wavelength" in fields:
        changes["Wavelength"] = rounded(_number(fields, "Wavelength", where) * 1e10)
    elif template is None:
        raise CalibrationError(f'{where}: wanted a line "Wavelength: ..." (metres) or a template, found neither')
    return changes


def polarization_remark(text: str, where: str, calibration: Calibration) -> str:
    """Remark about the plane of polarization; empty where calibration and ``.poni`` file agree.

    Parameters
    ----------
    text, where
        As for `poni_changes`.
    calibration
        What the file was made into.
    """
    turn = _turn(_fields(text), where)
    correction = calibration.polarization
    ours = 0.0 if correction is None else correction.angle
    if abs(_half_turn(turn - ours)) < _LITTLE_TURN:
        return ""
    geometry = calibration.geometry
    fraction = 1.0 if correction is None else correction.fraction
    two_theta = float(geometry.two_theta(*geometry.corners).max())
    error = _largest_error(turn - ours, fraction, two_theta)
    plane = f"{math.degrees(turn):.1f}"
    has = (
        "a PolarizationCorrection with Angle 0 would be"
        if correction is None
        else (f"PolarizationCorrection with Angle {math.degrees(ours):.6g} is")
    )
    return (
        f"{where}: Rot3 turns the image about the beam, so that the laboratory's horizontal plane has Angle {plane} "
        f"in it: {has} wrong by up to {100 * error:.2g} % of the intensity (2theta {math.degrees(two_theta):.1f} "
        f"degrees, in the corner); set Angle to {plane} if the beam is polarized horizontally"
    )


def _turn(fields: Mapping[str, str], where: str) -> float:
    """Direction of the laboratory's horizontal plane in the image, as ``Angle`` counts; radians in (-pi/2, pi/2]."""
    if "rot3" not in fields:
        return 0.0
    rot1, rot2 = _number(fields, "Rot1", where), _number(fields, "Rot2", where)
    turn = _number(fields, "Rot3", where) - _rot3_of_tilt(rot1, rot2)
    config = parse_json(fields.get("detector_config", "{}"), f"{where}: Detector_config")
    return _half_turn(-turn if _orientation(config, where) in (2, 4) else turn)  # mirrored


def _rot3_of_tilt(rot1: float, rot2: float) -> float:
    return math.atan2(math.sin(rot1) * math.sin(rot2), math.cos(rot1) + math.cos(rot2))


def _half_turn(angle: float) -> float:
    """Angle of a plane, in (-pi/2, pi/2]."""
    return -((math.pi / 2 - angle) % math.pi - math.pi / 2)


def _largest_error(turn: float, fraction: float, two_theta: float) -> float:
    """By how much intensities at a scattering angle differ that are corrected for a plane turned away, relative."""
    sine2 = math.sin(two_theta) ** 2

    def factor(phi: float) -> float:
        return 1 - sine2 * (fraction * math.cos(phi) ** 2 + (1 - fraction) * math.sin(phi) ** 2)

    return max(abs(factor(phi - turn) / factor(phi) - 1) for phi in map(math.radians, range(360)))


def _pose(fields: Mapping[str, str], where: str) -> _Pose:
    rot1, rot2 = _number(fields, "Rot1", where), _number(fields, "Rot2", where)
    down, right = math.sin(rot2), -math.cos(rot2) * math.sin(rot1)
    normal = math.cos(rot2) * math.cos(rot1)
    if normal <= 0:
        raise CalibrationError(
            f"{where}: wanted Rot1 and Rot2 that tilt the detector by less than 90 degrees, found "
            f"{math.degrees(math.acos(normal)):.1f} degrees"
        )
    distance = _number(fields, "Distance", where) / normal * 1000
    return _Pose(
        distance=distance,
        center_y=_number(fields, "Poni1", where) * 1000 + distance * down,
        center_x=_number(fields, "Poni2", where) * 1000 + distance * right,
        down=down,
        right=right,
        normal=normal,
    )


def _as_stored(pose: _Pose, detector: _Detector) -> _Pose:
    """Pose counted from the top left corner of the image as it is stored.

    As the image is stored, pyFAI counts from its corner at the bottom right for orientation 1, bottom
    left for 2, top left for 3, top right for 4. (Its names for them are those of the image upside
    down and seen from behind.)
    """
    height, width = (n * size / 1000 for n, size in zip(detector.shape, detector.pixel_size, strict=True))
    if detector.orientation in (1, 2):
        pose = replace(pose, center_y=height - pose.center_y, down=-pose.down)
    if detector.orientation in (1, 4):
        pose = replace(pose, center_x=width - pose.center_x, right=-pose.right)
    return pose


def _fields(text: str) -> dict[str, str]:
    """Values by names in lower case; a value None is absent."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.lstrip().startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return {name: value for name, value in fields.items() if value.lower() not in ("", "none")}


def _check_version(fields: Mapping[str, str], where: str) -> None:
    version = fields.get("poni_version", "1")
    if version not in ("1", "2", "2.1", "3"):
        raise CalibrationError(f"{where}: wanted poni_version 1, 2, 2.1 or 3, found {version}")
    if fields.get("parallax", "false").lower() != "false":
        raise CalibrationError(f"{where}: wanted a geometry without correction of parallax, found Parallax: true")


def _number(fields: Mapping[str, str], name: str, where: str) -> float:
    text = fields.get(name.lower())
    if text is None:
        raise CalibrationError(f'{where}: wanted a line "{name}: ...", found none')
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CalibrationError(f"{where}: {name}: wanted a number, found {text}")
    return number


def _detector(
    fields: Mapping[str, str], where: str, template: Mapping[str, Any] | None, shape: tuple[int, int] | None
) -> _Detector:
    config = parse_json(fields.get("detector_config", "{}"), f"{where}: Detector_config")
    for name in _DISTORTIONS:
        if name in fields or config.get(name):
            raise CalibrationError(f"{where}: wanted a detector of equal pixels, found one with distortion ({name})")
    pixel_size = _pixel_size(fields, config, where, template)
    found = _shape(fields, config, pixel_size, where)
    if found is not None and shape is not None and found != shape:
        raise CalibrationError(f"{where}: wanted images of shape {found}, found one of shape {shape}")
    found = found or shape
    if found is None and template is not None:
        found = int(template["Imagesize"][0]), int(template["Imagesize"][1])
    if found is None:
        raise CalibrationError(
            f"{where}: wanted the shape of the image (max_shape in Detector_config, or a Pilatus or Eiger by name), "
            f"found detector {fields.get('detector', 'without name')}: BeamCenter counts from the bottom row; "
            "give an image of the detector (--image FILE), or a template"
        )
    return _Detector(found, pixel_size, _orientation(config, where))


def _orientation(config: Mapping[str, Any], where: str) -> int:
    orientation = config.get("orientation") or _AS_STORED
    if orientation not in (1, 2, 3, 4):
        raise CalibrationError(f"{where}: Detector_config: wanted orientation 1, 2, 3 or 4, found {orientation!r}")
    return int(orientation)


def _pixel_size(
    fields: Mapping[str, str], config: Mapping[str, Any], where: str, template: Mapping[str, Any] | None
) -> tuple[float, float]:
    """Edges of a pixel (y, x), um."""
    given = {name: str(config[name]) for name in ("pixel1", "pixel2") if config.get(name) is not None}
    given = given or {f"pixel{i}": fields[f"pixelsize{i}"] for i in (1, 2) if f"pixelsize{i}" in fields}
    if given:
        sizes = _number(given, "pixel1", where) * 1e6, _number(given, "pixel2", where) * 1e6
        if min(sizes) <= 0:
            raise CalibrationError(f"{where}: wanted pixels of sizes above 0, found {sizes[0]} um and {sizes[1]} um")
        return sizes
    named = _named(fields)
    if named is not None:
        return named[1], named[1]
    if template is not None:
        return float(template["PixelSizeMicroM"][0]), float(template["PixelSizeMicroM"][-1])
    raise CalibrationError(
        f"{where}: wanted the size of pixels (pixel1 and pixel2 in Detector_config, PixelSize1 and PixelSize2, "
        f"a Pilatus or Eiger by name) or a template, found detector {fields.get('detector', 'without name')}"
    )


def _shape(
    fields: Mapping[str, str], config: Mapping[str, Any], pixel_size: tuple[float, float], where: str
) -> tuple[int, int] | None:
    """Rows and columns of the image; None where the file does not say."""
    shape = config.get("max_shape")
    if shape is not None:
        if not (isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)):
            raise CalibrationError(f"{where}: Detector_config: wanted max_shape [rows, columns], found {shape!r}")
        return shape[0], shape[1]
    named = _named(fields)
    # With larger pixels than its own the detector was binned, and has fewer of them.
    return named[0] if named is not None and max(pixel_size) < 1.5 * named[1] else None


def _named(fields: Mapping[str, str]) -> tuple[tuple[int, int], float] | None:
    """Shape and pixel size (um) of a detector known by name; with a sensor of CdTe they are the same."""
    name = re.sub(r"[^a-z0-9]|cdte", "", fields.get("detector", "").lower())
    if name not in _SHAPES:
        return None
    return _SHAPES[name], next(size for family, size in _PIXELS.items() if name.startswith(family))
