"""``saxsfeeder``: announce the images that come into a folder to servers on the network."""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from logging import getLogger
from pathlib import Path, PurePosixPath

from saxs_bluesky.cli._command import Exit, make_parser, print_status, run
from saxs_bluesky.cli._file_ends import check_folder
from saxs_bluesky.cli._options import add_shared, in_range, positive, seconds
from saxs_bluesky.cli._service import StatusLine, complaints, stop_signals
from saxs_bluesky.errors import OutputError, SaxsError, printable, system_reason
from saxs_bluesky.sources import DirectorySource, FeederAnnouncer, FoundFile, Readiness, SourceCounters, WatchSource

_log = getLogger(__name__)

_PORT = 9823
_POLL_SECONDS = 0.1
# Servers that wait for a feeder try again every 0.1 to 0.2 s, as 0MQ does if it is not told otherwise.
_LISTENERS_SECONDS = 0.5
_PIECE = 1 << 18  # bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsfeeder, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsfeeder",
        "Announce the TIFF images in a folder and its subfolders to servers: each when it is complete, and again when "
        "it is overwritten, until interrupted (SIGINT, SIGTERM). A server that connects later misses what was "
        "announced before; saxsleash readdir makes it list its folder. "
        "Exit code 0: stopped, or all images replayed; 1: at least one file is not a readable image; 2: wrong usage.",
    )
    option = parser.add_argument
    option("-p", "--port", default=str(_PORT), metavar="N", help=f"port that servers connect to; default: {_PORT}")
    option(
        "-d",
        "--dir",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="folder of the images; default: the current one",
    )
    option(
        "-s",
        "--sdir",
        default="",
        metavar="PREFIX",
        help="path of FOLDER on the servers, put before the names; default: none, for servers whose base directory is "
        "FOLDER",
    )
    add_shared(parser, "bind")
    option("-n", "--nowalk", action="store_true", help="leave out images that are there at the start")
    add_shared(parser, "poll_only")
    option(
        "--patience",
        type=seconds,
        default=10.0,
        metavar="S",
        help="an image that is incomplete and has not changed for so long is not announced, in seconds; default: 10",
    )
    add_shared(parser, "silent")
    replay = parser.add_argument_group("replay")
    replay.add_argument(
        "--simulate",
        type=Path,
        metavar="IMAGES",
        help="play the detector: copy the images of this folder into FOLDER one by one, and announce each",
    )
    replay.add_argument("--rate", type=_rate, metavar="HZ", help="images per second; default: 1")
    length = replay.add_mutually_exclusive_group()
    length.add_argument("--count", type=positive, metavar="N", help="number of images; default: each of IMAGES once")
    length.add_argument("--loop", action="store_true", help="start over after the last image, with new numbers")
    return parser


def _rate(text: str) -> float:
    number = float(text)
    return in_range(number, text, "a rate above 0 Hz", fits=0 < number < math.inf)


def _saxsfeeder(options: argparse.Namespace) -> int:
    if options.simulate is None and (options.rate or options.count or options.loop):
        raise SaxsError("--rate, --count and --loop need --simulate")
    source = _watch(options) if options.simulate is None else _replay(options)
    line = StatusLine()
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals("saxsfeeder"))
        if not options.debug:
            stack.enter_context(complaints("saxsfeeder", line))
        announcer = FeederAnnouncer(f"{options.bind}:{options.port}")
        stack.callback(announcer.close)
        feed = _Feed(source, announcer, options.dir.resolve(), PurePosixPath(options.sdir))
        if not options.silent:
            print_status(f"announcing at {announcer.address} what comes into {feed.directory}")
        work = stack.enter_context(ThreadPoolExecutor(1, "saxsfeeder")).submit(feed.run)
        stack.callback(source.stop)
        while not (stop.asked or work.done()):
            if not options.silent:
                line.show(feed.status())
            time.sleep(_POLL_SECONDS)
        source.stop()
        work.result()
        if not options.silent:
            line.end(feed.status())
    return Exit.SOME_FAILED if feed.failed and options.simulate else Exit.DONE


@dataclass
class _Feed:
    """Announces what a source finds."""

    source: WatchSource | _Replay
    announcer: FeederAnnouncer
    directory: Path
    prefix: PurePosixPath
    announced: int = 0
    failed: int = 0

    def run(self) -> None:
        """Announce until the source is stopped or exhausted."""
        since = time.monotonic()
        for file in self.source.files(lambda: time.monotonic() > since + _LISTENERS_SECONDS):
            if file.failure:
                self.failed += 1
                _log.warning("%s; not announced", printable(file.failure))
            else:
                self.announcer.announce(str(self.prefix / Path(file.path).relative_to(self.directory).as_posix()))
                self.announced += 1

    def status(self) -> str:
        """The status in one line."""
        return f"announced {self.announced}, pending {self.source.counters.pending}, failed {self.failed}"


def _watch(options: argparse.Namespace) -> WatchSource:
    directory: Path = options.dir
    if not directory.is_dir():
        raise SaxsError(f"{directory}: no such folder to watch")
    check_folder(directory.resolve())
    return WatchSource(
        directory.resolve(),
        existing=not options.nowalk,
        use_inotify=not options.poll_only,
        readiness=Readiness(deadline=options.patience),
    )


def _replay(options: argparse.Namespace) -> _Replay:
    directory: Path = options.simulate
    at_once = Readiness(settle=0, quiet=0, deadline=0)
    images = list(DirectorySource(directory, readiness=at_once).files()) if directory.is_dir() else []
    if not images:
        raise SaxsError(f"{directory}: no images to replay in this folder")
    number = None if options.loop else options.count or len(images)
    return _Replay(directory, images, options.dir.resolve(), options.rate or 1.0, number)


class _Replay:
    """Writes images into a folder as a detector does: one after the other, each in its place and piece by piece.

    Parameters
    ----------
    origin
        The folder of the images.
    images
        Those in it.
    directory
        Where to; nothing that is there is overwritten.
    rate
        Images a second.
    number
        How many images; None: until stopped.
    """

    def __init__(
        self, origin: Path, images: Sequence[FoundFile], directory: Path, rate: float, number: int | None
    ) -> None:
        self._images = images
        self._names = [Path(image.path).relative_to(origin) for image in images]
        self._directory = directory
        self._rate = rate
        self._numbers = count() if number is None else range(number)
        self._spans = _spans(self._names)
        self._written = 0
        self._stopping = threading.Event()

    @property
    def counters(self) -> SourceCounters:
        """How many images are written; none is ever pending."""
        return SourceCounters(self._written, 0, 0)

    def stop(self) -> None:
        """Write no more images; from any thread."""
        self._stopping.set()

    def files(self, has_room: Callable[[], bool]) -> Iterator[FoundFile]:
        """Yield the images as they are written.

        Raises
        ------
        OutputError
            An image cannot be written, or one of its name is there.
        """
        while not (has_room() or self._stopping.is_set()):
            time.sleep(_POLL_SECONDS)
        begin = time.monotonic()
        for number in self._numbers:
            if self._stopping.wait(max(0.0, begin + number / self._rate - time.monotonic())):
                return
            turn, place = divmod(number, len(self._images))
            image = self._images[place]
            if not image.failure:
                path = self._directory / self._name(self._names[place], turn)
                _write(path, Path(image.path))
                image = replace(image, path=str(path))
                self._written += 1
            yield image

    def _name(self, name: Path, turn: int) -> Path:
        """Name of an image the first time, and again: numbered on from the last of its series."""
        if turn == 0:
            return name
        series, digits = _series(name)
        if not digits:
            return name.with_name(f"{name.stem}_{turn}{name.suffix}")
        number = int(digits) + turn * self._spans[series]
        return name.with_name(f"{series[1]}{number:0{len(digits)}d}{name.suffix}")


_Series = tuple[Path, str]
"""Folder and beginning of the names of images that differ in a number at their ends."""


def _series(name: Path) -> tuple[_Series, str]:
    beginning = name.stem.rstrip("0123456789")
    return (name.parent, beginning), name.stem[len(beginning) :]


def _spans(names: Sequence[Path]) -> dict[_Series, int]:
    """How many numbers each series takes up."""
    numbers: dict[_Series, list[int]] = {}
    for name in names:
        series, digits = _series(name)
        if digits:
            numbers.setdefault(series, []).append(int(digits))
    return {series: max(taken) - min(taken) + 1 for series, taken in numbers.items()}


def _write(path: Path, origin: Path) -> None:
    """Copy an image in place and in pieces."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with origin.open("rb") as source, path.open("xb", buffering=0) as target:
            while piece := source.read(_PIECE):
                target.write(piece)
    except FileExistsError as error:
        raise OutputError(f"{path}: the file exists already; the image is not replayed") from error
    except OSError as error:
        raise OutputError(f"{path}: {origin} cannot be replayed to it: {system_reason(error)}") from error


if __name__ == "__main__":
    sys.exit(main())
