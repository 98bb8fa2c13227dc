"""``saxsdog``: reduce the images of a folder."""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from saxs_bluesky.batch import ImageJob, Outcome, find_images, run_all
from saxs_bluesky.cli._command import Exit, complain, make_parser, positive, run, say
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import Calibration, FileList, OutputNames, Reducer

_LATER = {"watch": "-w/--watch", "plotmonitor": "-m/--plotmonitor", "servermode": "-V/--servermode"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(_parser(), _saxsdog, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "saxsdog",
        "Integrate the TIFF images in a folder, and in those below it, to curves (.chi files). "
        "Exit code 0: all done; 1: some image failed, each named with the reason; 2: wrong usage.",
    )
    parser.add_argument("directory", type=Path, help="folder of the images")
    option = parser.add_argument
    option("-c", "--calibration", type=Path, default=Path("cal.json"), metavar="FILE", help="default: cal.json")
    option("-t", "--threads", type=positive, metavar="N", help="images at a time; default: as the calibration says")
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
    option("-s", "--svg", action="store_true", help="draw the curves of each image (SVG)")
    option("-p", "--png", action="store_true", help="draw each image (PNG)")
    option("-P", "--profile", action="store_true", help="print where the time goes, working on one image at a time")
    option("-S", "--silent", action="store_true", help="say nothing but what fails")
    option("-n", "--nowalk", action="store_true", help="stay in the folder, leave those below it")
    option("-D", "--walkdirinthreads", action="store_true", help="start while the folders are still being walked")
    for name, spelling in _LATER.items():
        short, long = spelling.split("/")
        option(short, long, dest=name, action="store_true", help="(not available yet)")
    return parser


def _saxsdog(options: argparse.Namespace) -> int:
    later = [spelling for name, spelling in _LATER.items() if getattr(options, name)]
    if later:
        raise SaxsError(f"{', '.join(later)}: not available yet in this version")
    if not options.directory.is_dir():
        raise SaxsError(f"{options.directory}: wanted a folder of images, found no folder")
    job = _make_job(options)
    threads = 1 if options.profile else options.threads or int(job.reducer.calibration.document["Threads"])
    images: Iterable[Path] = find_images(options.directory, below=not options.nowalk)
    if not options.walkdirinthreads:
        images = list(images)
    with _profiling(options.profile):
        counts = _report(_with_progress(run_all(images, job, threads), images, options.silent))
    if not options.silent:
        say(_summary(counts))
    return Exit.SOME_FAILED if counts["failed"] else Exit.DONE


def _make_job(options: argparse.Namespace) -> ImageJob:
    calibration = Calibration.from_file(options.calibration)
    document = calibration.document
    overwrite = bool(document["OverwriteFiles"])
    return ImageJob(
        reducer=Reducer(calibration, deviation=options.svg),
        names=OutputNames(options.relpath, options.out),
        file_list=FileList(options.directory, keep=options.resume or not overwrite)
        if document["Live-Filelisting"]
        else None,
        resume=options.resume,
        overwrite=overwrite,
        plot_curves=options.svg,
        plot_image=options.png,
    )


def _with_progress(outcomes: Iterator[Outcome], images: Iterable[Path], silent: bool) -> Iterator[Outcome]:
    """Show a bar on a terminal, a line an image elsewhere."""
    if silent:
        yield from outcomes
    elif sys.stderr.isatty():
        total = len(images) if isinstance(images, list) else None
        yield from tqdm(outcomes, total=total, unit="image")
    else:
        for outcome in outcomes:
            if outcome.skipped:
                say(f"{outcome.image}: skipped, its curves are there")
            elif outcome.failure is None:
                say(f"{outcome.image}: {', '.join(path.name for path in outcome.written)}")
            yield outcome


def _report(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Name each failure as it happens, and count."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.failure is not None:
            with tqdm.external_write_mode(file=sys.stderr):
                complain(f"{outcome.image}: {outcome.failure}")
            counts["failed"] += 1
        else:
            counts["skipped" if outcome.skipped else "reduced"] += 1
    return counts


def _summary(counts: Counter[str]) -> str:
    return f"{counts.total()} images: " + ", ".join(
        f"{counts[what]} {what}" for what in ("reduced", "skipped", "failed")
    )


@contextmanager
def _profiling(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("cumulative").print_stats(25)
    say(text.getvalue())
