"""``saxsconverter``: calibrations from Fit2D, older SAXSdog, Nika and pyFAI, and back to pyFAI."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saxs_bluesky.cli._command import Exit, make_parser, print_error, print_status, run
from saxs_bluesky.errors import CalibrationError, OutputError, system_errors_as
from saxs_bluesky.reduction import Conversion, conversion, image_shape, poni_text
from saxs_bluesky.support.replacing import replacing

_DESCRIPTION = """\
Make a calibration of what another program has written: the output of Fit2D, a calibration of an
older SAXSdog, values of Nika, or a .poni file of pyFAI. Which of them it is, is seen from the content.

Where OUT is there already, it is updated in place: what IN says is put in, all else stays. With
-t it is replaced, and what IN does not say comes from FILE. With neither, it comes from the defaults,
and the values that need checking are named.
"""

_EXAMPLES = """\
examples:
  saxsconverter fit2d.log cal.json                put a new fit into the calibration in use
  saxsconverter -t cal.json fit2d.log new.json    the same, into another file
  saxsconverter old.json old.json                 bring an old calibration to the present form
  saxsconverter cal.json cal.poni                 for pyFAI, and for what reads its files
  saxsconverter -i a.tif pyfai.poni cal.json      a geometry that does not say how large images are

The beam centre of Nika and pyFAI counts from the top of the image and a calibration's from the bottom, so
the number of rows must be known: it is taken from IN where it says it, else from the image given with -i, else
from the Imagesize of OUT or FILE.
Paths of masks stay as they are. They count from the folder of the calibration that holds them.

exit code 0: written; 2: not written, with the reason.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsconverter, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser("saxsconverter", _DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("source", type=Path, metavar="IN", help="the file to convert")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="where to: .json is a calibration, .poni a geometry for pyFAI"
    )
    parser.add_argument(
        "-t", "--template", type=Path, metavar="FILE", help="calibration to start from, in place of OUT"
    )
    parser.add_argument(
        "-i",
        "--image",
        metavar="IMAGE",
        help="an image of the detector, for its rows and columns: TIFF, EDF, CBF, or HDF5 (IMAGE::/dataset)",
    )
    return parser


def _saxsconverter(options: argparse.Namespace) -> int:
    suffix = options.out.suffix.lower()
    if suffix not in (".json", ".poni"):
        raise OutputError(f"{options.out}: wanted a name that ends in .json or .poni, found {suffix or 'no ending'}")
    base: Path | None = options.template
    if base is None and suffix == ".json" and options.out.exists():
        base = options.out
    shape = None if options.image is None else image_shape(options.image)
    converted = conversion(_read(options.source), str(options.source), template=_template(base), shape=shape)
    document = converted.document
    _write(options.out, poni_text(document) if suffix == ".poni" else json.dumps(document, indent=2) + "\n")
    print_status(_summary(options, base, converted))
    if converted.remark:
        print_error(f"saxsconverter: {converted.remark}")
    return Exit.DONE


def _template(path: Path | None) -> dict[str, Any] | None:
    """The calibration to start from, which may be an old one too."""
    if path is None:
        return None
    template = conversion(_read(path), str(path))
    if template.assumed:
        missing = ", ".join(template.assumed)
        raise CalibrationError(f"{path}: wanted a complete calibration to start from, found none of {missing}")
    return template.document


def _read(path: Path) -> str:
    with system_errors_as(CalibrationError, lambda reason: f"{path}: wanted a file to read, found {reason}"):
        content = path.read_bytes()
    if b"\0" in content:
        raise CalibrationError(f"{path}: wanted text, found binary data")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Text from the instrument's Windows computer; only its titles and units are beyond ASCII.
        return content.decode("latin-1")


def _write(path: Path, text: str) -> None:
    with (
        system_errors_as(OutputError, lambda reason: f"{path}: the calibration cannot be written ({reason})"),
        replacing(path) as temporary,
    ):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _summary(options: argparse.Namespace, base: Path | None, converted: Conversion) -> str:
    done = (
        f"{options.out}: {'updated' if base == options.out else 'written'} from {options.source} ({converted.source})"
    )
    if base is not None and base != options.out:
        done += f", the rest from {base}"
    if not converted.assumed:
        return done
    values = converted.document | converted.document["Geometry"]
    assumed = ", ".join(f"{name} {json.dumps(values[name])}" for name in converted.assumed)
    return f"{done}; not said there and so assumed, please check: {assumed}"
