"""``saxsdmerge``: one table of a beam time, with a row for each image and what the loggers say at it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from saxs_bluesky.cli._command import Exit, make_parser, print_error, print_status, run
from saxs_bluesky.cli._figure import figure_in_window
from saxs_bluesky.cli._options import add_shared
from saxs_bluesky.cli._service import open_writer
from saxs_bluesky.errors import MergeError, system_reason
from saxs_bluesky.plotting import can_open_windows, save_figure
from saxs_bluesky.schemas import parse_json

if TYPE_CHECKING:
    from saxs_bluesky.merge import LogSource, MergeJob, MergeResult

#: What files of these suffixes are in the configuration.
_FORMATS = {".csv": "csv", ".json": "json", ".hdf": "hdf", ".h5": "hdf", ".xls": "exel", ".xlsx": "exel"} | {
    ".parquet": "parquet",
    ".nc": "netcdf",
}
_TABLE_NAMES = ("Peak", "Dlogger")  # of the first two logs, as SAXSdog calls them
_CATALOG_SECONDS = 30.0  # for a catalog that is slow or away when the command ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = build_parser()
    if arguments is None:
        sys.argv[1:] = _without_digit_option(sys.argv[1:])
    else:
        arguments = _without_digit_option(arguments)
    return run(parser, lambda options: _saxsdmerge(parser, options), arguments)


def _without_digit_option(arguments: Sequence[str]) -> list[str]:
    """Arguments with ``--syncfirst`` for ``-1``, its spelling in SAXSdog.

    As an option of the parser it would make negative numbers options too: ``-t -37.25``.
    """
    before = ["", *arguments]
    return [
        "--syncfirst" if word == "-1" and last not in ("-t", "--timeoffset") else word
        for last, word in zip(before, arguments, strict=False)
    ]


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsdmerge",
        "Merge the images of a beam time with the logs of the beamline: one table with a row for each\n"
        "image, and what its header, the detector's log and every logger say at it.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  saxsdmerge -l images peakinteg.log datalogger.log   clocks by the first opening of the shutter\n"
        "  saxsdmerge -a -o run7.csv images peak.log dl.log    clocks by all openings of the shutter\n"
        "  saxsdmerge -t 37.25 images peak.log dl.log          the loggers' clock is 37.25 s ahead\n"
        "  saxsdmerge -C mergeconf.json -b images              as a configuration says, without a picture\n"
        "\n"
        "exit codes:\n"
        "  0  all is merged\n"
        "  1  something was left out or not written, each named with the reason\n"
        "  2  nothing is merged: wrong usage, no images, or clocks that cannot be synchronised"
    )
    parser.add_argument("imagedir", type=Path, metavar="IMAGEDIR", help="folder of the images; subfolders count")
    parser.add_argument(
        "logs",
        nargs="*",
        type=Path,
        metavar="LOG",
        help="logs, each a table: first that of the shutter (peakinteg.log), then that of the data logger, then "
        "others, named after their files; times in seconds since 1904, or as dates",
    )
    option = parser.add_argument
    option("-C", "--conf", type=Path, metavar="FILE", help="merge configuration (JSON); its tables replace LOG")
    option(
        "--base",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder that each RemotePath of the configuration is relative to; default: the current one",
    )
    clocks = parser.add_mutually_exclusive_group()
    clocks.add_argument(
        "-l", "--syncfirst", action="store_true", help="the shutter's first opening belongs to the first image"
    )
    clocks.add_argument(
        "-z", "--synczero", action="store_true", help="the shutter's first opening belongs to the zero image"
    )
    clocks.add_argument(
        "-a", "--auto", action="store_true", help="find the clocks' offset and drift from all openings and exposures"
    )
    option("--zeroname", metavar="TEXT", help="what the name of the zero image contains; default: zero_1M_00000.tif")
    option(
        "-t",
        "--timeoffset",
        type=float,
        metavar="SEC",
        help="the loggers' clock minus the images' clock, in seconds; it is subtracted from the times of the logs",
    )
    option(
        "-o",
        "--outfile",
        type=Path,
        metavar="FILE",
        help="the table: .csv, .json, .hdf, .xlsx (.xls is written as .xlsx), .parquet or .nc; the other files are "
        "written beside it; default: merged.csv, or what the configuration says",
    )
    option("-c", "--includechi", action="store_true", help="put the curves into the HDF5 file")
    option("-f", "--includetif", action="store_true", help="put the images into the HDF5 file")
    option("-b", "--batch", action="store_true", help="do not show the picture of exposures and openings")
    option("--plot", type=Path, metavar="FILE", help="write that picture into a file instead: .png, .pdf, .svg")
    add_shared(parser, "catalog")
    return parser


def _saxsdmerge(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.conf and options.logs:
        parser.error("-C/--conf: the configuration names the logs; found logs as arguments too")
    if not options.conf and not options.logs:
        parser.error("wanted logs to merge with, or a configuration (-C)")
    # Only here, since pandas takes a second to load.
    from saxs_bluesky.merge import carry_out

    job = _job(options)
    with tqdm(unit=" images", desc="reading", disable=None, leave=False, file=sys.stderr) as bar:
        result = carry_out(job, lambda text: bar.write(text, file=sys.stderr), on_image=bar.update)
    for path in result.files:
        print_status(f"{path}: written")
    catalogued = _record(options, result)
    _draw(options, result)
    for problem in result.problems:
        print_error(f"saxsdmerge: not done: {problem}")
    return Exit.SOME_FAILED if result.problems or not catalogued else Exit.DONE


def _job(options: argparse.Namespace) -> MergeJob:
    from saxs_bluesky.merge import MergeJob, MergeSettings, output_place

    document, where = _document(options)
    settings = MergeSettings.from_dict(document, where)
    if options.outfile:
        folder, name = options.outfile.parent, options.outfile.stem
    elif options.conf:
        folder, name = output_place(options.imagedir.absolute(), settings.output_name)
    else:
        folder, name = Path(), "merged"
    if not options.imagedir.is_dir():
        raise MergeError(f"{options.imagedir}: wanted the folder of the images, found none")
    return MergeJob(
        document=document,
        settings=settings,
        images=options.imagedir.absolute(),
        logs=[_log_files(options, table) for table in settings.tables],
        folder=folder.absolute(),
        name=name,
    )


def _document(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The configuration: the file's, changed by the options; or one made of them."""
    if options.conf:
        try:
            text = options.conf.read_bytes()
        except OSError as error:
            raise MergeError(f"{options.conf}: wanted a merge configuration, found {system_reason(error)}") from error
        document, where = parse_json(text, str(options.conf)), str(options.conf)
    else:
        document, where = {"LogDataTables": _tables(options.logs), "OutputFormats": {}}, "saxsdmerge"
    if options.timeoffset is not None:
        document["TimeOffset"] = options.timeoffset
    if options.zeroname:
        document["ZeroImageName"] = options.zeroname
    _synchronise(document, options)
    if options.outfile:
        suffix = options.outfile.suffix.lower()
        if suffix not in _FORMATS:
            raise MergeError(f"{options.outfile}: wanted a name that ends in {', '.join(_FORMATS)}, found {suffix}")
        document["OutputFormats"] = {"csv": False} | {_FORMATS[suffix]: True}
    included = {"IncludeCHI": options.includechi, "IncludeTIF": options.includetif}
    document["HDFOptions"] = document.get("HDFOptions", {}) | {
        name: True for name, wanted in included.items() if wanted
    }
    return document, where


def _synchronise(document: dict[str, Any], options: argparse.Namespace) -> None:
    """Let the first table tell the clocks, in the way that is asked for."""
    chosen = {
        "FirstImageCorrelation": options.syncfirst,
        "ZeroImageCorrelation": options.synczero,
        "Correlate": options.auto,
    }
    tables = document.get("LogDataTables")
    if not any(chosen.values()) or not isinstance(tables, list):
        return
    for table in tables:
        table.update(dict.fromkeys(chosen, False))
    shutter = next((table for table in tables if table.get("Name") == _TABLE_NAMES[0]), tables[0] if tables else {})
    shutter.update(chosen)


def _tables(logs: Sequence[Path]) -> list[dict[str, Any]]:
    names = [*_TABLE_NAMES, *(path.stem for path in logs[len(_TABLE_NAMES) :])]
    return [
        {"Name": name, "TimeEpoch": "Mac", "Files": [{"LocalPath": str(path.absolute())}]}
        for name, path in zip(names, logs, strict=False)
    ]


def _log_files(options: argparse.Namespace, table: Any) -> list[LogSource]:
    from saxs_bluesky.merge import LogSource

    here = options.conf.parent if options.conf else Path()
    paths = [here / file.local if file.local else options.base.joinpath(*file.remote) for file in table.files]
    return [LogSource(path, str(path)) for path in paths]


def _record(options: argparse.Namespace, result: MergeResult) -> bool:
    """Write the merged run into the catalog; False if it did not take all of it."""
    if options.catalog is None:
        return True
    from saxs_bluesky.documents import merged_run_of_files

    with ExitStack() as stack:
        writer = open_writer(options.catalog, None, stack)
        assert writer is not None
        for document in merged_run_of_files(result):
            writer(*document)
        return writer.close(_CATALOG_SECONDS)


def _draw(options: argparse.Namespace, result: MergeResult) -> None:
    """Draw exposures and openings, into a file or a window."""
    if options.batch and options.plot is None:
        return
    from saxs_bluesky.plotting import plot_synchronisation

    joined = result.joined
    if joined is None or joined.shutter is None:
        print_status("no picture: there is no table with the shutter's openings (a column Duration)")
        return
    if options.plot is None and not can_open_windows():
        print_status("no picture: no display to open a window on; --plot FILE draws it into a file, -b goes without")
        return
    figure = plot_synchronisation(
        joined.images,
        *joined.shutter,
        zone=result.job.settings.image_zone.key,
        title=str(result.job.images),
        figure=None if options.plot else figure_in_window("saxsdmerge", example="--plot clocks.png"),
    )
    if options.plot:
        print_status(f"{save_figure(figure, options.plot)}: written")
        return
    import matplotlib.pyplot as plt

    plt.show()
