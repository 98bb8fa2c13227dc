"""What the axis of a curve is, from the labels that programs write over it."""

from __future__ import annotations

import re
from dataclasses import replace

from saxs_bluesky.errors import CurveFileError
from saxs_bluesky.reduction._curve import Curve

_TO_THE_MINUS_1 = r"\s*\^?\s*[{(]?\s*[-\u2212]\s*1"
_NANOMETRE, _ANGSTROM = r"(?:nm|nanomet\w*)", r"(?:ang\w*|\u00e5|\\aa|(?<![^\W_])a)"
# Fit2D: "Q value (Inverse Nanometres)"; pyFAI: "q_A^-1", "q_nm^-1".
_INVERSE = {
    unit: re.compile(
        rf"(?:inverse|per|1\s*/)\s*{length}(?![^\W_])|{length}(?:{_TO_THE_MINUS_1}|\u207b\u00b9)", re.IGNORECASE
    )
    for unit, length in (("1/nm", _NANOMETRE), ("1/A", _ANGSTROM))
}
_Q = re.compile(r"\s*(?:scattering vector\s*)?\$?q(?![^\W_])", re.IGNORECASE)
_BARE = {"1/nm": re.compile(r"(?<![^\W_])nm(?![^\W_])", re.IGNORECASE), "1/A": re.compile(r"\u00e5|ang", re.IGNORECASE)}
_TWO_THETA = re.compile(r"(?:2|two)[\s_-]*(?:th|\u03b8|\\theta|\$\\theta)", re.IGNORECASE)
_RADIANS = re.compile(r"rad", re.IGNORECASE)

_FACTORS = {("1/A", "1/nm"): 10.0, ("1/nm", "1/A"): 0.1}
#: Units that one curve can be converted between.
Q_UNITS = ("1/nm", "1/A")


def inverse_length(text: str) -> str | None:
    """``1/nm`` or ``1/A`` where a text names one of them in any of its spellings."""
    return next((unit for unit, pattern in _INVERSE.items() if pattern.search(text)), None)


def axis_of_text(text: str) -> tuple[str, str]:
    """Label and unit of an axis from free text; the text itself and no unit where it is not known.

    ``q`` comes in ``1/nm`` or ``1/A``, ``2theta`` in ``rad`` or, where nothing else is said, ``deg``.
    """
    text = text.strip()
    if _TWO_THETA.search(text):
        return "2theta", "rad" if _RADIANS.search(text) else "deg"
    unit = inverse_length(text)
    if _Q.match(text):
        unit = unit or next((unit for unit, pattern in _BARE.items() if pattern.search(text)), None)
        return ("q", unit) if unit else (text, "")
    return text, unit or ""


def in_unit(curve: Curve, unit: str) -> Curve:
    """The curve with its axis in another unit.

    Parameters
    ----------
    curve
        The curve; it is not changed.
    unit
        Unit of the new axis: ``1/nm`` or ``1/A``, or the one that it has.

    Returns
    -------
    A curve with the same intensities.

    Raises
    ------
    CurveFileError
        There is no way from the axis's unit to that one.
    """
    if curve.axis_unit == unit:
        return curve
    factor = _FACTORS.get((curve.axis_unit, unit))
    if factor is None:
        found = (
            f"{curve.axis_label} in {curve.axis_unit}" if curve.axis_unit else f"{curve.axis_label!r} without a unit"
        )
        raise CurveFileError(f"wanted an axis that can be given in {unit}, found {found}")
    return replace(curve, axis=curve.axis * factor, axis_unit=unit)
