"""``.chi`` files: writing SAXSdog's layout, reading it, its early form, and Fit2D's.

Four header lines, then one row a bin. Users' scripts read the rows with
``numpy.loadtxt(file, skiprows=4)``.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.errors import CurveFileError, OutputError, system_reason
from saxs_bluesky.reduction._calibration import PROVENANCE, Calibration
from saxs_bluesky.reduction._curve import Curve, CurveKind, IntegralParameters
from saxs_bluesky.reduction.arrays import FloatArray
from saxs_bluesky.reduction.formats._decimals import Cells, cells, text
from saxs_bluesky.reduction.formats.axis_labels import axis_of_text, inverse_length
from saxs_bluesky.reduction.formats.curve_provenance import CurveProvenance, provenance_in
from saxs_bluesky.support.replacing import replacing

# The labels of the format, by the label of the curve's axis.
_LABELS = {
    "q": "Scattering Vector  q [$nm^{-1}$]",
    "phi": "Phi Angle [rad]",
    "q_h": "horizontal scattering vector  $ q_{h} [nm^{-1}]$",
    "q_v": "vertical scattering Vector $q_{v} [nm^{-1}]$",
}
_KINDS: dict[str, CurveKind] = {"q": "radial", "phi": "azimuthal", "q_h": "slice", "q_v": "slice"}
_UNITS = {"q": "1/nm", "phi": "rad", "q_h": "1/nm", "q_v": "1/nm"}
#: Axis and unit of a curve, by what the format calls it.
LABELLED_AXES = {label: (axis, _UNITS[axis]) for axis, label in _LABELS.items()}
_HEADER_LINES = 4
_A_FIRST_LINE = 8192  # bytes; a calibration with its provenance has some thousands at most
_NEWLINE = np.frombuffer(b"\n\0\0\0", np.uint32)  # as wide as a word of the cells


@dataclass(frozen=True, eq=False)
class ChiFile:
    """What a ``.chi`` file holds: the curve, its four header lines, the calibration, and what it was made of.

    ``calibration`` and ``provenance`` are None in files that do not tell them.
    """

    curve: Curve
    header: tuple[str, ...]
    calibration: dict[str, Any] | None
    provenance: CurveProvenance | None = None


def write_chi(
    path: str | Path, curve: Curve, calibration: Calibration, provenance: CurveProvenance | None = None
) -> None:
    """Write a curve; the file appears under its name only when it is whole.

    Parameters
    ----------
    path
        Where to; the folder must exist.
    curve
        What to write.
    calibration
        With which it was made: the first line of the file.
    provenance
        What else it was made of, as the end of that line.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(chi_bytes(curve, calibration, provenance))
    except OSError as error:
        raise OutputError(f"{path}: the curve cannot be written ({system_reason(error)})") from error


def chi_bytes(curve: Curve, calibration: Calibration, provenance: CurveProvenance | None = None) -> bytes:
    """Make the content of a ``.chi`` file, as `write_chi` writes it.

    Parameters
    ----------
    curve
        What to write.
    calibration
        What it was made with.
    provenance
        What is known of its image; None: nothing.

    Returns
    -------
    Content of the file.
    """
    first = calibration.json() if provenance is None else provenance.in_line(calibration.json())
    labels = json.dumps(chi_labels(curve))
    integral = curve.integral
    if curve.kind == "slice":
        header = [first, labels, "Intensity"]
    else:
        header = [first, json.dumps({"I0": integral.I0, "I1": integral.I1, "I2": integral.I2}), labels]
    return "\n".join([*header, f"{curve.axis.size:7d}\n"]).encode() + _rows(curve)


def chi_labels(curve: Curve) -> list[str]:
    """Labels of the three columns of a curve in the format."""
    label = _LABELS.get(curve.axis_label, f"{curve.axis_label} [{curve.axis_unit}]")
    return [label, "Intensity (Count/Pixel)", "Error Margin"]


def _rows(curve: Curve) -> bytes:
    axis = _axis_cells(np.asarray(curve.axis, np.float64).tobytes())
    intensity, sigma = cells(np.array([curve.intensity, curve.sigma], np.float64))
    ends = np.broadcast_to(_NEWLINE, (len(axis), 1))
    return text(np.concatenate([axis, intensity, sigma, ends], axis=1))


@lru_cache(maxsize=32)
def _axis_cells(axis: bytes) -> Cells:
    """An axis is rendered once, for it is the same in the curves of all frames."""
    return cells(np.frombuffer(axis))


def chi_is_whole(path: str | Path) -> bool:
    """True if a file exists and has as many rows as its fourth line says, the last one ended by a newline.

    The rows are counted and not read: this takes a hundredth of the time of `read_chi`.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    True if nothing is missing.
    """
    return first_line_if_whole(path) is not None


def first_line_if_whole(path: str | Path) -> bytes | None:
    """The first line of a file that is there and whole, in the sense of `chi_is_whole`; None of any other."""
    content = _content(path)
    return content[: content.index(b"\n")] if content is not None and _is_whole(content) else None


def first_line(path: str | Path) -> bytes | None:
    """The first line of a file, however long the file is; None where it cannot be read, or has none."""
    size = _A_FIRST_LINE
    while (content := _content(path, size)) is not None:
        line, newline, _ = content.partition(b"\n")
        if newline:
            return line
        if len(content) < size:
            return None
        size *= 16
    return None


def _content(path: str | Path, most: int | None = None) -> bytes | None:
    """Content of a file, or its first bytes; None if it is no file or cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would wait for a writer
    except (OSError, ValueError):
        return None
    try:
        size = os.fstat(file).st_size
        return os.pread(file, size if most is None else min(size, most), 0)
    except OSError:  # a folder, a pipe
        return None
    finally:
        os.close(file)


def _is_whole(content: bytes) -> bool:
    *header, rows = content.split(b"\n", _HEADER_LINES)
    # Early files of SAXSdog end in a blank.
    if len(header) < _HEADER_LINES or rows[rows.rfind(b"\n") + 1 :].strip():
        return False
    return header[-1].split()[:1] == [b"%d" % rows.count(b"\n")]


def read_chi(path: str | Path) -> ChiFile:
    """Read a curve that this package, SAXSdog, or Fit2D wrote.

    Errors that the file does not hold (Fit2D's files have none) are NaN.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The curve, and what its header says of it.

    Raises
    ------
    CurveFileError
        The file is absent, cut short, or no ``.chi`` file.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CurveFileError(f"{path}: wanted a .chi file, found {error.strerror}") from error
    text = _decoded(content)
    if "\0" in text:
        raise CurveFileError(f"{path}: wanted a .chi file, found bytes that are no text")
    lines = re.split(r"\r\n|\n|\r", text)  # not at what else Unicode takes for the end of a line
    if not lines[-1]:
        lines.pop()
    header = tuple(lines[:_HEADER_LINES])
    columns = _parse_rows(header, [line for line in lines[_HEADER_LINES:] if line.strip()], path)
    label, unit = _axis_of(header)
    axis, intensity = columns[:, 0], columns[:, 1]
    curve = Curve(
        name=_name_of(path, label),
        kind=_KINDS.get(label, "recipe"),
        axis=axis,
        axis_label=label,
        axis_unit=unit,
        intensity=intensity,
        sigma=columns[:, 2] if columns.shape[1] > 2 else np.full_like(intensity, np.nan),
        integral=_integral_of(header[1]),
    )
    calibration = _json(header[0])
    if not isinstance(calibration, dict):
        return ChiFile(curve, header, None)
    calibration.pop(PROVENANCE, None)
    return ChiFile(curve, header, calibration, provenance_in(header[0].encode(errors="surrogatepass")))


def _decoded(content: bytes) -> str:
    """Text in UTF-8, or in the encodings of other programs' times: titles hold names of files, axes a micro or an A."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _parse_rows(header: tuple[str, ...], rows: list[str], path: Path) -> FloatArray:
    count = header[-1].split() if len(header) == _HEADER_LINES else []
    if not count or not count[0].isdecimal():
        raise CurveFileError(f"{path}: wanted a number of rows in line {_HEADER_LINES}, found no .chi file")
    if len(rows) != int(count[0]):
        raise CurveFileError(f"{path}: wanted {count[0]} rows (line {_HEADER_LINES}), found {len(rows)}")
    try:
        columns = np.array([row.split() for row in rows], dtype=np.float64)
    except ValueError as error:
        raise CurveFileError(f"{path}: wanted rows of numbers, found {error}") from error
    if columns.ndim != 2 or columns.shape[1] not in (2, 3):
        raise CurveFileError(f"{path}: wanted rows of two or three numbers, found shape {columns.shape}")
    return columns


def _axis_of(header: tuple[str, ...]) -> tuple[str, str]:
    """Label and unit of the axis, from labels in JSON or from free text."""
    for line in header[1:3]:
        labels = _json(line)
        if isinstance(labels, list) and labels:
            if labels[0] in _LABELS.values():
                return LABELLED_AXES[labels[0]]
            match = re.fullmatch(r"(.*?)\s*\[(.*)\]", str(labels[0]))
            if match is None:
                return str(labels[0]), ""
            return match[1], inverse_length(match[2]) or match[2]
    return axis_of_text(header[1])


def _name_of(path: Path, label: str) -> str:
    match = re.search(r"_c([A-Za-z]\w*)$", path.stem)
    if match:
        return match[1]
    return {"azimuthal": "P0", "slice": "S0"}.get(_KINDS.get(label, ""), "R0")


def _integral_of(line: str) -> IntegralParameters:
    values = _json(line)
    if not isinstance(values, dict):
        return IntegralParameters()
    return IntegralParameters(**{key: float(values.get(key, 0.0)) for key in ("I0", "I1", "I2")})


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None  # free text: older files and Fit2D's
