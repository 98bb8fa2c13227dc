"""``plotchi``: draw curves, and compare them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from saxs_bluesky.cli._command import Exit, make_parser, print_error, print_status, run
from saxs_bluesky.cli._figure import figure_in_window
from saxs_bluesky.cli._options import add_scales, add_shared
from saxs_bluesky.errors import CurveFileError
from saxs_bluesky.plotting import compare_curves, save_figure
from saxs_bluesky.reduction import Q_UNITS, Curve, in_unit, read_chi


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = build_parser()
    return run(parser, lambda options: _plotchi(parser, options), arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "plotchi",
        "Draw the curves in .chi files over each other, in a window or, with -o, into a file.\n"
        "Reads files of SAXSdog and Fit2D too.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  plotchi sample.chi                           look at a curve, with its error\n"
        "  plotchi -l -o all.png work/*.chi             all curves of a folder in one picture\n"
        "  plotchi -l -c -o d.pdf buffer.chi sample.chi what differs from the buffer\n"
        "  plotchi -u 1/nm -c -o d.pdf ours.chi fit2d.chi   curves whose axes have different units\n"
        "\n"
        "exit codes:\n"
        "  0  all files are drawn\n"
        "  1  at least one file could not be read, each named with the reason; the others are drawn\n"
        "  2  no picture: wrong usage, axes of different units, no display to open a window on, or\n"
        "     nowhere to write"
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="CHIFILE", help="curves; -c compares with the first")
    option = parser.add_argument
    option("-o", "--out", type=Path, metavar="FILE", help="write the picture here; .png, .svg, .pdf and others")
    option(
        "-c",
        "--compare",
        action="store_true",
        help="draw below the curves how they differ from the first, in counts per pixel and in percent",
    )
    option("-l", "--log", action="store_true", help="logarithmic intensity, the same as -y log")
    option("-n", "--no-legend", action="store_true", help="leave out the names of the curves")
    option("-t", "--title", metavar="TEXT", help="text above the picture")
    add_shared(parser, "skip", "clip")
    option(
        "-u",
        "--unit",
        choices=Q_UNITS,
        help="give the axis of q in this unit, %(choices)s; default: that of the files, which must be the same in all",
    )
    add_scales(parser, y_default="linear, or log with -l")
    return parser


def _plotchi(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.compare and len(options.files) < 2:
        parser.error("-c/--compare: needs at least two files")
    readable = list(_read_all(parser.prog, options))
    if not readable:
        return Exit.SOME_FAILED
    paths, curves = zip(*readable, strict=True)
    _warn_of_missing(parser.prog, paths, curves, options)
    figure = compare_curves(
        curves,
        _labels(paths),
        difference=options.compare and len(curves) > 1,
        x_scale=options.xaxisistype or "linear",
        y_scale=options.yaxisistype or ("log" if options.log else "linear"),
        legend=not options.no_legend,
        title=options.title,
        figure=None if options.out else figure_in_window("plotchi", example="-o curves.png"),
    )
    if options.out:
        print_status(f"{save_figure(figure, options.out)}: written")
    else:
        _show()
    return Exit.DONE if len(curves) == len(options.files) else Exit.SOME_FAILED


def _read_all(name: str, options: argparse.Namespace) -> Iterator[tuple[Path, Curve]]:
    """Read what can be read, and complain of each file that cannot."""
    for path in options.files:
        try:
            curve = _without_ends(path, read_chi(path).curve, options.skip, options.clip)
            yield path, _in_unit(path, curve, options.unit) if options.unit else curve
        except CurveFileError as error:
            if options.debug:
                raise
            print_error(f"{name}: {error}")


def _in_unit(path: Path, curve: Curve, unit: str) -> Curve:
    try:
        return in_unit(curve, unit)
    except CurveFileError as error:
        raise CurveFileError(f"{path}: {error}") from error


def _warn_of_missing(name: str, paths: Sequence[Path], curves: Sequence[Curve], options: argparse.Namespace) -> None:
    """Say what of the curves the picture cannot show, or shows at the user's word."""
    units = {curve.axis_unit for curve in curves} - {""}
    for path, curve in zip(paths, curves, strict=True):
        if np.isnan(curve.intensity).all():
            print_error(f"{name}: {path}: no point has an intensity (all NaN), so there is nothing to draw")
        elif options.xaxisistype == "log" and (hidden := int(np.count_nonzero(curve.axis <= 0))):
            print_error(
                f"{name}: {path}: {hidden} of {curve.axis.size} points lie at 0 or below, off the logarithmic axis"
            )
        if units and not curve.axis_unit:
            told = " or ".join(sorted(units))
            print_error(f"{name}: {path}: the axis ({curve.axis_label!r}) has no unit, drawn as if in {told}")


def _without_ends(path: Path, curve: Curve, skip: int, clip: int) -> Curve:
    """Leave out points at both ends, of which beamstop and corners make poor ones."""
    count = curve.axis.size
    if skip + clip >= count:
        raise CurveFileError(
            f"{path}: wanted points to draw between the first {skip} (-s) and the last {clip} (-k), "
            f"found {count} in all"
        )
    kept = slice(skip, count - clip)
    return replace(curve, axis=curve.axis[kept], intensity=curve.intensity[kept], sigma=curve.sigma[kept])


def _labels(paths: Sequence[Path]) -> list[str]:
    """Names of the files; with their folders where the names alone are not different."""
    names = Counter(path.stem for path in paths)
    return [path.stem if names[path.stem] == 1 else str(path) for path in paths]


def _show() -> None:
    import matplotlib.pyplot as plt

    plt.show()
