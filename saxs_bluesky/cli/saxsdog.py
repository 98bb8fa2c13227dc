"""``saxsdog``: reduce the images of a folder, or as they come."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from saxs_bluesky.cli._command import Exit, make_parser, print_error, run
from saxs_bluesky.cli._file_ends import check_folder
from saxs_bluesky.cli._file_session import Session
from saxs_bluesky.cli._options import add_shared, seconds
from saxs_bluesky.cli._service import stop_signals
from saxs_bluesky.errors import PipelineError, SaxsError
from saxs_bluesky.file_pipeline import FilePipeline
from saxs_bluesky.reduction import Calibration

_POLL_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsdog, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsdog",
        "Integrate the TIFF images in a folder and its subfolders to curves (.chi files): those that are there, and "
        "with -w those that come. SIGINT or SIGTERM: finish the images at work, then end; a second one ends at once. "
        "Started again with the same options after a crash, it continues where it was. "
        "Exit code 0: all images done; 1: some images or results not done, each named with the reason; 2: wrong usage; "
        "130: interrupted.",
    )
    parser.add_argument("directory", type=Path, help="folder of the images")
    option = parser.add_argument
    option(
        "-c",
        "--calibration",
        type=Path,
        default=Path("cal.json"),
        metavar="FILE",
        help="calibration; default: cal.json",
    )
    add_shared(parser, "watch")
    option(
        "-n",
        "--nowalk",
        action="store_true",
        help="leave out subfolders; with -w or -f: leave out images that are there at the start",
    )
    add_shared(parser, "feeder", note=": tcp://HOST:PORT")
    option("-r", "--resume", action="store_true", help="skip images whose curves are complete and up to date")
    add_shared(parser, "out", "relpath", "catalog")
    add_shared(parser, "threads", note="; 1: reduce in this process; default: Threads of the calibration")
    option("--dask", metavar="ADDRESS", help="reduce on a Dask cluster: address of its scheduler, tcp://HOST:PORT")
    option("-s", "--svg", action="store_true", help="draw the curves of each image (SVG)")
    option("-p", "--png", action="store_true", help="draw each image (PNG)")
    option("-m", "--plotmonitor", action="store_true", help="show the latest curves in a window")
    add_shared(parser, "silent")
    option("-V", "--servermode", action="store_true", help="print the status as lines with date and time, for a log")
    option("-P", "--profile", action="store_true", help="reduce in this process, and print where the time goes")
    option("-D", "--walkdirinthreads", action="store_true", help="start before all folders are listed")
    option(
        "--deadline",
        type=seconds,
        default=10.0,
        metavar="S",
        help="an image that is incomplete and has not changed for so long has failed, in seconds; default: 10",
    )
    add_shared(parser, "task_timeout", "poll_only")
    option("--follow-links", action="store_true", help="follow symbolic links that lead out of the folder")
    option(
        "--journal",
        type=Path,
        metavar="FOLDER",
        help="folder that keeps what is done, to survive a crash; default: in the user's folder for state",
    )
    return parser


def _saxsdog(options: argparse.Namespace) -> int:
    if not options.directory.is_dir():
        raise SaxsError(f"{options.directory}: no such folder of images")
    check_folder(options.directory)
    if options.dask is not None and options.profile:
        raise SaxsError("--dask and --profile cannot be used together: a profile is of this process only")
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
            working.join(_POLL_SECONDS)
        if isinstance(working.error, PipelineError) and not options.debug:
            print_error(f"saxsdog: {working.error}")
            return Exit.SOME_FAILED
        if working.error is not None:
            raise working.error
        session.finish(lambda: stop.asked)
        if stop.asked and not session.goes_on:
            print_error("saxsdog: interrupted")
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
