"""Calibrations from elsewhere: Fit2D, older SAXSdog, Nika and pyFAI, to a calibration document.

Each reader turns one format into changes: a part of a calibration document, nested as the
document is, that holds what the source says and nothing else. The changes are then put into a
template.

Nika counts the beam centre ``(X, Y)`` from the centre of the top left pixel, and gives the tilt as
two angles ``h`` and ``v``, so that (facts of the format, SAXSdog's documentation)

    BeamCenter = [rows - Y - 0.5, X + 0.5]
    a = sin(-h),  b = sin(v)
    TiltAngleDeg = asin(hypot(a, b)),  TiltRotDeg = atan2(b, a)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saxs_bluesky.errors import CalibrationError
from saxs_bluesky.reduction._calibration import Calibration, complete_document, own_spelling
from saxs_bluesky.reduction.formats.poni import is_poni, polarization_remark, poni_changes, rounded
from saxs_bluesky.schemas import default_document, load_schema, parse_json

_FIT2D = "Fit2D text"
_FLAT = "an older SAXSdog calibration"
_NESTED = "a SAXSdog calibration"
_NIKA = "Nika values"
_PONI = "a pyFAI .poni file"

# What a line of Fit2D is called before its "=", and the quantity it gives.
_FIT2D_LABELS = {
    "beam centre": "beam centre",
    "beam center": "beam centre",
    "sample to detector distance": "distance",
    "tilt plane rotation angle": "rotation",
    "angle of tilt plane rotation": "rotation",
    "tilt angle": "tilt",
    "angle of tilt": "tilt",
    "wavelength": "wavelength",
    "pixel size": "pixel size",
    "pixel sizes": "pixel size",
}
# How many numbers a quantity has, and how its unit may begin; a line without unit means the first.
_FIT2D_QUANTITIES = {
    "beam centre": (2, ("pixel", "x/y pixel")),
    "distance": (1, ("mm", "millimet")),
    "rotation": (1, ("deg",)),
    "tilt": (1, ("deg",)),
    "wavelength": (1, ("angstrom", "a", "å")),
    "pixel size": (2, ("um", "micron", "x/y um", "x/y micron")),
}
_FIT2D_LINE = re.compile(
    r"\s*(?:info\s*:)?\s*(?:refined|best fit)?\s*(?P<label>[a-z ]+?)\s*(?:\((?P<unit>[^()]*)\))?\s*=(?P<values>.*)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\s*,?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?)(?![\d.])")

_NIKA_NAMES = (
    "BeamCenterX",
    "BeamCenterY",
    "SampleToCCDDistance",
    "HorizontalTilt",
    "VerticalTilt",
    "PixelSizeX",
    "PixelSizeY",
    "Wavelength",
)
# Other formats have a Wavelength too.
_NIKA_OWN = {name.lower() for name in _NIKA_NAMES} - {"wavelength"}

_FLAT_GEOMETRY = {
    "Tilt",
    "BeamCenter",
    "DedectorDistanceMM",
    "DetectorDistanceMM",
    "PixelSizeMicroM",
    "Imagesize",
    "ImageSize",
}
_FLAT_MASK = {"MaskFile", "Oversampling", "PixelPerRadialElement"}
_MEASURED = ("BeamCenter", "DedectorDistanceMM", "PixelSizeMicroM", "Imagesize", "Wavelength")


@dataclass(frozen=True)
class Conversion:
    """A converted calibration.

    Parameters
    ----------
    document
        The complete calibration document.
    source
        Name of the format that it was read from.
    assumed
        Names of measured quantities that neither the source nor a template gave: these are the
        schema's defaults, to be checked.
    remark
        What the source says that a calibration cannot; empty where there is nothing.
    """

    document: dict[str, Any]
    source: str
    assumed: tuple[str, ...]
    remark: str = ""


def convert(source_text: str, where: str, *, template: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make a calibration document of a text in any format that `conversion` reads; see there.

    Parameters
    ----------
    source_text
        Content of the source.
    where
        What errors call the source.
    template
        A calibration document that gives all that the source does not say.

    Returns
    -------
    The calibration document.
    """
    return conversion(source_text, where, template=template).document


def conversion(
    source_text: str,
    where: str,
    *,
    template: Mapping[str, Any] | None = None,
    shape: tuple[int, int] | None = None,
) -> Conversion:
    """Make a calibration document of a text in another format, which is recognised by its content.

    - Fit2D: lines such as ``INFO: Refined Beam centre = 387.772  808.370 (X/Y pixels)``; where a
      quantity comes more than once, the last line counts. A centre in mm is passed over.
    - SAXSdog: calibrations as they are now and as older versions had them, without ``Geometry``. The
      mask of an older one goes into the first entry of ``Masks``.
    - Nika: its parameters, one ``Name = value`` a line, or as a JSON object. Its beam centre counts
      from the top, the calibration's from the bottom: the number of rows is that of ``Imagesize`` in
      the template.
    - pyFAI: ``.poni``.

    Parameters
    ----------
    source_text
        Content of the source.
    where
        What errors call the source.
    template
        A calibration document that gives all that the source does not say; the defaults of the
        schema without it.
    shape
        Rows and columns of an image of the detector, where one is at hand: they go before those of the template.

    Returns
    -------
    The document, and what had to be assumed.

    Raises
    ------
    CalibrationError
        The text is in no known format, lacks what cannot be assumed, says that images have another shape, or
        makes an impossible geometry.
    SchemaError
        The template, or the document made, does not fit the schema of calibrations.
    """
    base = default_document(load_schema("calibration"))
    if template is not None:
        base = complete_document(template, "template")
    if shape is not None:
        base = _merged(base, {"Geometry": {"Imagesize": list(shape)}})
    text = source_text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        source, changes = _from_json(parse_json(text, where), where, base)
    elif is_poni(text):
        source, changes = _PONI, poni_changes(text, where, None if template is None else base, shape)
    elif nika := _nika_values(text):
        source, changes = _NIKA, _nika_changes(nika, where, base)
    else:
        source, changes = _FIT2D, _fit2d_changes(text, where)
    calibration = Calibration.from_dict(_merged(base, changes), where=where)
    if shape is not None and calibration.geometry.shape != shape:
        raise CalibrationError(
            f"{where}: wanted images of shape {calibration.geometry.shape}, found one of shape {shape}"
        )
    given = changes.keys() | changes.get("Geometry", {}).keys() | ({"Imagesize"} if shape is not None else set())
    assumed = () if template is not None else tuple(name for name in _MEASURED if name not in given)
    remark = polarization_remark(text, where, calibration) if source == _PONI else ""
    return Conversion(dict(calibration.document), source, assumed, remark)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Base with the changes put in: objects key by key, all else as a whole; None takes a key away."""
    merged = dict(base)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


def _from_json(document: dict[str, Any], where: str, base: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if "Geometry" in document:
        return _NESTED, own_spelling(document, where)
    values = {name.lower(): str(value) for name, value in document.items()}
    if values.keys() & _NIKA_OWN:
        return _NIKA, _nika_changes(values, where, base)
    if document.keys() & (_FLAT_GEOMETRY | _FLAT_MASK):
        return _FLAT, _flat_changes(document, where, base)
    if document.keys() & load_schema("calibration")["properties"].keys():
        return _NESTED, document
    raise CalibrationError(_unknown(where, "a JSON object with " + (", ".join(document) or "nothing in it")))


def _flat_changes(document: Mapping[str, Any], where: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Read a calibration of SAXSdog from before it had ``Geometry``."""
    changes = {name: value for name, value in document.items() if name not in _FLAT_GEOMETRY | _FLAT_MASK}
    geometry = {name: value for name, value in document.items() if name in _FLAT_GEOMETRY}
    if "Tilt" in geometry:
        geometry["Tilt"] = _object_or_none(geometry["Tilt"], f"{where}: Tilt") or {"TiltRotDeg": 0, "TiltAngleDeg": 0}
    if "PolarizationCorrection" in changes:
        correction = changes["PolarizationCorrection"]
        changes["PolarizationCorrection"] = _object_or_none(correction, f"{where}: PolarizationCorrection")
    if geometry:
        changes["Geometry"] = own_spelling({"Geometry": geometry}, where)["Geometry"]
    mask = {name: value for name, value in document.items() if name in _FLAT_MASK}
    if mask:
        if mask.get("MaskFile", "") is None:
            mask["MaskFile"] = ""
        first, *others = base["Masks"] or [{}]
        changes["Masks"] = [first | mask, *others]
    return changes


def _object_or_none(value: Any, where: str) -> dict[str, Any] | None:
    """Value where it is an object; None where it stands for an absent correction."""
    if isinstance(value, dict):
        return value
    if not value:
        return None
    raise CalibrationError(f"{where}: wanted an object, or null for none, found {value!r}")


def _nika_values(text: str) -> dict[str, str]:
    """Nika's parameters in a text, by names in lower case; nothing where none of its own is there."""
    values = {}
    for entry in re.split(r"[\r\n;]", text):
        name, equals, value = entry.partition("=")
        if equals and name.strip().lower() in _NIKA_OWN | {"wavelength"}:
            values[name.strip().lower()] = value.strip()
    return values if values.keys() & _NIKA_OWN else {}


def _nika_changes(values: Mapping[str, str], where: str, base: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {
        name.lower(): _plain_number(values[name.lower()], f"{where}: {name}")
        for name in _NIKA_NAMES
        if name.lower() in values
    }
    geometry: dict[str, Any] = {}
    if center := _both(numbers, "BeamCenterX", "BeamCenterY", where):
        rows = base["Geometry"]["Imagesize"][0]
        geometry["BeamCenter"] = [rounded(rows - center[1] - 0.5), rounded(center[0] + 0.5)]
    if tilts := _both(numbers, "HorizontalTilt", "VerticalTilt", where):
        geometry["Tilt"] = _nika_tilt(*tilts, where)
    if pixel := _both(numbers, "PixelSizeX", "PixelSizeY", where):
        geometry["PixelSizeMicroM"] = [rounded(pixel[1] * 1000), rounded(pixel[0] * 1000)]
    if "sampletoccddistance" in numbers:
        geometry["DedectorDistanceMM"] = numbers["sampletoccddistance"]
    changes: dict[str, Any] = {"Geometry": geometry}
    if "wavelength" in numbers:
        changes["Wavelength"] = numbers["wavelength"]
    return changes


def _nika_tilt(horizontal: float, vertical: float, where: str) -> dict[str, float]:
    a, b = math.sin(-math.radians(horizontal)), math.sin(math.radians(vertical))
    sine = math.hypot(a, b)
    if sine >= 1:
        raise CalibrationError(
            f"{where}: wanted HorizontalTilt and VerticalTilt that make a tilt below 90 degrees, found "
            f"{horizontal} and {vertical} degrees"
        )
    # atan2 would take the -0.0 that no horizontal tilt leaves for a half turn.
    rotation = math.atan2(b, a) if sine else 0.0
    return {"TiltRotDeg": rounded(math.degrees(rotation)), "TiltAngleDeg": rounded(math.degrees(math.asin(sine)))}


def _both(numbers: Mapping[str, float], first: str, second: str, where: str) -> tuple[float, float] | None:
    found = [name for name in (first, second) if name.lower() in numbers]
    if len(found) == 1:
        raise CalibrationError(f"{where}: wanted {first} and {second}, found {found[0]} alone")
    return (numbers[first.lower()], numbers[second.lower()]) if found else None


def _plain_number(text: str, where: str) -> float:
    match = _NUMBER.fullmatch(text)
    number = _value(match) if match else math.nan
    if not math.isfinite(number):
        raise CalibrationError(f"{where}: wanted a number, found {text[:60]!r}")
    return number


def _fit2d_changes(text: str, where: str) -> dict[str, Any]:
    found: dict[str, list[float]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _FIT2D_LINE.fullmatch(line)
        quantity = match and _FIT2D_LABELS.get(" ".join(match["label"].lower().split()))
        if match and quantity:
            values = _fit2d_values(match, quantity, f"{where}: line {number}")
            if values is not None:
                found[quantity] = values
    if not found:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        raise CalibrationError(_unknown(where, f"text that begins with {first[:60]!r}" if first else "nothing in it"))
    return _fit2d_document(found)


def _fit2d_values(match: re.Match[str], quantity: str, where: str) -> list[float] | None:
    """The numbers of a line of Fit2D; None for a centre in mm."""
    count, units = _FIT2D_QUANTITIES[quantity]
    values, end = [], 0
    while number := _NUMBER.match(match["values"], end):
        values.append(_value(number))
        end = number.end()
    unit = " ".join((match["unit"] or match["values"][end:]).strip(" \t.()").lower().split())
    if quantity == "beam centre" and "mm" in unit:
        return None
    if quantity == "pixel size" and len(values) == 1:
        values *= 2
    if len(values) != count:
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise CalibrationError(f"{where}: wanted {wanted} after '=', found {match['values'].strip()!r}")
    if unit and not unit.startswith(units):
        raise CalibrationError(f"{where}: wanted the {quantity} in {units[0]}, found {unit!r}")
    return values


def _fit2d_document(found: Mapping[str, list[float]]) -> dict[str, Any]:
    tilt = {"TiltRotDeg": found.get("rotation"), "TiltAngleDeg": found.get("tilt")}
    geometry: dict[str, Any] = {"Tilt": {name: values[0] for name, values in tilt.items() if values}}
    # Fit2D has x before y, a calibration y before x.
    if "beam centre" in found:
        geometry["BeamCenter"] = found["beam centre"][::-1]
    if "pixel size" in found:
        geometry["PixelSizeMicroM"] = found["pixel size"][::-1]
    if "distance" in found:
        geometry["DedectorDistanceMM"] = found["distance"][0]
    changes: dict[str, Any] = {"Geometry": geometry}
    if "wavelength" in found:
        changes["Wavelength"] = found["wavelength"][0]
    return changes


def _value(match: re.Match[str]) -> float:
    """Number of a match; Fortran writes D for the exponent of a double."""
    return float(match[1].upper().replace("D", "E"))


def _unknown(where: str, found: str) -> str:
    return (
        f'{where}: wanted Fit2D text (a line like "INFO: Refined Beam centre = ..."), a SAXSdog calibration (JSON), '
        f'Nika values ("BeamCenterX = ...") or pyFAI .poni, found {found}'
    )
