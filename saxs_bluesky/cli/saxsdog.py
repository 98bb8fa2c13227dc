"""``saxsdog``: reduce the images of a folder, or as they come."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from saxs_bluesky.cli._command import Exit, complain, make_parser, positive, run, seconds, task_timeout
from saxs_bluesky.cli._file_ends import check_folder
from saxs_bluesky.cli._file_session import Session
from saxs_bluesky.cli._service import stop_signals
from saxs_bluesky.errors import PipelineError, SaxsError
from saxs_bluesky.file_pipeline import FilePipeline
from saxs_bluesky.reduction import Calibration

_LOOK_EVERY = 0.1  # seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsdog, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsdog",
        "Integrate the TIFF images in a folder, and in those below it, to curves (.chi files): those that are there, "
        "and with -w those that come. SIGINT and SIGTERM let it finish what is in hand, a second one ends it at once. "
        "A program that was killed goes on where it was when it is started again with the same options. "
        "Exit code 0: all done; 1: something was not done, each image named with the reason; 2: wrong usage.",
    )
    parser.add_argument("directory", type=Path, help="folder of the images")
    option = parser.add_argument
    option(
        "-c",
        "--calibration",
        type=Path,
        default=Path("cal.json"),
        metavar="FILE",
        help="calibration file; default: cal.json",
    )
    option("-w", "--watch", action="store_true", help="go on with images that come, or are overwritten")
    option(
        "-n",
        "--nowalk",
        action="store_true",
        help="stay in the folder, leave those below it; with -w or -f: leave the images that are there already",
    )
    option("-f", "--feeder", metavar="ADDRESS", help="go on with images that a feeder announces: tcp://HOST:PORT")
    option("-r", "--resume", action="store_true", help="skip images whose curves are complete and up to date")
    option("-o", "--out", type=Path, metavar="OUTDIR", help="one folder for all curves, named after the whole path")
    option(
        "-R",
        "--relpath",
        "--reldpath",
        default="../work",
        metavar="RELPATH",
        help="folder of the curves, relative to that of each image; default: ../work",
    )
    option("--catalog", metavar="WHERE", help="record the runs in a catalog: a folder, or the URI of a Tiled server")
    option(
        "-t",
        "--threads",
        type=positive,
        metavar="N",
        help="processes that work; 1: this one alone; default: as the calibration says",
    )
    option("--dask", metavar="ADDRESS", help="let a Dask cluster work: address of its scheduler, tcp://HOST:PORT")
    option("-s", "--svg", action="store_true", help="draw the curves of each image (SVG)")
    option("-p", "--png", action="store_true", help="draw each image (PNG)")
    option("-m", "--plotmonitor", action="store_true", help="show the latest curves in a window")
    option("-S", "--silent", action="store_true", help="say nothing but what fails")
    option("-V", "--servermode", action="store_true", help="statistics as lines with date and time, for a log")
    option("-P", "--profile", action="store_true", help="print where the time goes, working in this process alone")
    option("-D", "--walkdirinthreads", action="store_true", help="start while the folders are still being walked")
    option(
        "--deadline",
        type=seconds,
        default=10.0,
        metavar="S",
        help="for how long an image that is not whole may stand still before it has failed; default: 10 s",
    )
    task_timeout(parser)
    option("--poll-only", action="store_true", help="find images by listing folders alone, as on network filesystems")
    option("--follow-links", action="store_true", help="go where symbolic links lead out of the folder")
    option(
        "--journal",
        type=Path,
        metavar="FOLDER",
        help="where it is noted what is done, to survive a crash; default: in the user's folder for state",
    )
    return parser


def _saxsdog(options: argparse.Namespace) -> int:
    if not options.directory.is_dir():
        raise SaxsError(f"{options.directory}: wanted a folder of images, found no folder")
    check_folder(options.directory)
    if options.dask is not None and options.profile:
        raise SaxsError("wanted one of --dask and --profile, found both: a profile is of this process alone")
    calibration = Calibration.from_file(options.calibration)
    # What it closes at the end is closed already, unless an error or a second signal came before.
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals("saxsdog"))
        session = Session(options, calibration, stack)
        working = _Working(session.pipeline)
        while working.is_alive():
            if stop.asked:
                session.pipeline.stop()
            session.show()
            working.join(_LOOK_EVERY)
        if isinstance(working.error, PipelineError) and not options.debug:
            complain(f"saxsdog: {working.error}")
            return Exit.SOME_FAILED
        if working.error is not None:
            raise working.error
        session.finish(lambda: stop.asked)
        if stop.asked and not session.goes_on:
            complain("saxsdog: interrupted")
            return Exit.INTERRUPTED
        return Exit.SOME_FAILED if session.some_failed else Exit.DONE


class _Working(threading.Thread):
    """The pipeline at work in a thread, so that the main one is free for signals and windows."""

    def __init__(self, pipeline: FilePipeline) -> None:
        super().__init__(name="saxsdog", daemon=True)
        self.error: BaseException | None = None
        self._pipeline = pipeline
        self.start()

    def run(self) -> None:
        """Work until the source is exhausted or stopped."""
        try:
            self._pipeline.run()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self.error = error


if __name__ == "__main__":
    sys.exit(main())
