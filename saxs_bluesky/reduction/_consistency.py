"""What a calibration says of a detector, against what the header of an image says.

A value of one that is wrong by a factor gives curves that look as good as any. Headers are often not exact, though:
they have what somebody typed into the detector's program, or where a motor stands. So only what differs by more than
that is worth a word; and what the detector writes where nobody told it anything means that it is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from saxs_bluesky.reduction._calibration import Calibration
from saxs_bluesky.reduction.formats.pilatus_header import DIGITS, PilatusHeader

# How much is a little. The wavelength of a real header is 0.6 % beside that of a careful calibration.
_WAVELENGTH = 0.01
_PIXEL_SIZE = 0.01
_DISTANCE = 0.02  # a nominal distance counts from somewhere in the detector's housing
_BEAM_CENTER = 5.0  # pixels

_LENGTH = re.compile(rf"({DIGITS})\s*(mm|cm|m)?\b")
_PAIR = re.compile(rf"\(?\s*({DIGITS})\s*,\s*({DIGITS})\s*\)?")
_MILLIMETRES = {"m": 1000.0, "cm": 10.0, "mm": 1.0, None: 1000.0}
_DEFAULT_DISTANCE = 1000.0  # mm: what a Pilatus writes until it is told


def differences(calibration: Calibration, header: PilatusHeader) -> list[str]:
    """List what differs by more than a tolerance, one text with both values for each quantity.

    Compared are the wavelength and the size of pixels (1 %), the distance (2 %) and the beam centre (5 pixels), as far
    as the header has them. Values of 0, ``Beam_xy (0.00, 0.00)`` and ``Detector_distance 1.00000 m`` mean that nothing
    is known, and are ignored.

    Parameters
    ----------
    calibration
        What images are reduced with.
    header
        Header of one of them.

    Returns
    -------
    One text for each quantity that differs.
    """
    return [*_wavelength(calibration, header), *_geometry(calibration, header), *_beam_center(calibration, header)]


def _wavelength(calibration: Calibration, header: PilatusHeader) -> Iterator[str]:
    ours, theirs = calibration.geometry.wavelength, header.wavelength
    if _differ(ours, theirs, _WAVELENGTH):
        yield f"Wavelength {ours * 10:.6g}, in the image {(theirs or 0) * 10:.6g} A"


def _geometry(calibration: Calibration, header: PilatusHeader) -> Iterator[str]:
    geometry = calibration.geometry
    distance = _distance(header.entries.get("Detector_distance", ""))
    if _differ(geometry.distance, distance, _DISTANCE):
        yield f"DedectorDistanceMM {geometry.distance:.6g}, in the image {distance:.6g} mm"
    sizes = header.pixel_size
    if sizes is not None and any(
        _differ(ours, theirs, _PIXEL_SIZE) for ours, theirs in zip(geometry.pixel_size, sizes, strict=True)
    ):
        ours, theirs = ([float(f"{size * 1000:.6g}") for size in pair] for pair in (geometry.pixel_size, sizes))
        yield f"PixelSizeMicroM {ours}, in the image {theirs} um"


def _beam_center(calibration: Calibration, header: PilatusHeader) -> Iterator[str]:
    match = _PAIR.match(header.entries.get("Beam_xy", ""))
    if match is None:
        return
    x, y = float(match[1]), float(match[2])
    if not (math.isfinite(x) and math.isfinite(y)) or x == y == 0:
        return
    rows = calibration.geometry.shape[0]
    ours = calibration.geometry.beam_center
    theirs = (rows - y, x)  # the detector counts from the top
    if math.dist(ours, theirs) > _BEAM_CENTER:
        yield (
            f"BeamCenter [{ours[0]:.6g}, {ours[1]:.6g}], in the image [{theirs[0]:.6g}, {theirs[1]:.6g}] (its Beam_xy "
            f"({x:.6g}, {y:.6g}); BeamCenter is [y from the bottom edge, x])"
        )


def _distance(text: str) -> float | None:
    """In mm; None where it is not known."""
    match = _LENGTH.match(text)
    if match is None:
        return None
    distance = float(match[1]) * _MILLIMETRES[match[2]]
    return None if distance == _DEFAULT_DISTANCE else distance


def _differ(ours: float, theirs: float | None, tolerance: float) -> bool:
    """True if a known value differs from ours by more than the tolerance, relative to ours."""
    return theirs is not None and 0 < theirs < math.inf and abs(theirs - ours) > tolerance * ours
