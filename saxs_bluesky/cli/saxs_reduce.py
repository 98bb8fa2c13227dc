"""``saxs-reduce``: reduce the runs that a RunEngine in another process publishes."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saxs_bluesky.callbacks import ChiFiles, Reduction
from saxs_bluesky.callbacks.network import FORMATS, DocumentProxy, DocumentReceiver, LossDetector
from saxs_bluesky.cli._command import Exit, make_parser, print_error, print_status, run
from saxs_bluesky.cli._not_done import counted, results_not_delivered
from saxs_bluesky.cli._options import add_shared, not_negative, seconds, task_limit
from saxs_bluesky.cli._service import StatusLine, complaints, open_writer, stop_signals
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.workers import WorkerPool

if TYPE_CHECKING:
    from saxs_bluesky.callbacks.catalog_writer import CatalogWriter
    from saxs_bluesky.callbacks.reduction import Sink

_POLL_SECONDS = 0.25
_CATALOG_SECONDS = 30.0  # for a catalog that is slow or away when the command ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxs_reduce, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxs-reduce",
        "Reduce the images of the runs that a Bluesky 0MQ proxy publishes, until interrupted (SIGINT, SIGTERM); then "
        "reduce what has arrived, and end. A second signal ends at once. The API key of a Tiled server is taken from "
        "TILED_API_KEY. Exit code 0: all curves delivered; 1: some not delivered, or documents lost or passed over; "
        "2: wrong usage.",
    )
    option = parser.add_argument
    option("address", nargs="?", metavar="ADDRESS", help="out port of the proxy: PORT, HOST:PORT, tcp://HOST:PORT")
    option(
        "-c",
        "--calibration",
        action="append",
        metavar="[NAME=]FILE",
        help="calibration; NAME=FILE: for the detector NAME, may be given several times; default: cal.json",
    )
    add_shared(parser, "catalog")
    option("--journal", type=Path, metavar="FOLDER", help="folder that keeps runs for the catalog, over a restart")
    option("--chi", type=Path, metavar="FOLDER", help="folder of the .chi files")
    option("--serializer", choices=FORMATS, default="msgpack", help="format of the documents; default: msgpack")
    option("--prefix", default="", metavar="TEXT", help="reduce only what is published with this prefix")
    option(
        "--workers",
        type=not_negative,
        default=0,
        metavar="N",
        help="number of worker processes; default: 0, reduce in this process",
    )
    option(
        "--patience",
        type=seconds,
        default=10.0,
        metavar="S",
        help="how long to wait for an image file that is missing or incomplete, in seconds; default: 10",
    )
    add_shared(parser, "task_timeout")
    option(
        "--proxy",
        nargs=2,
        metavar=("IN_PORT", "OUT_PORT"),
        help="be the proxy too: sessions publish to IN_PORT, other programs may listen at OUT_PORT",
    )
    add_shared(parser, "bind", note="; used with --proxy")
    return parser


@dataclass
class _Parts:
    """The parts of the command."""

    reduction: Reduction
    guard: LossDetector
    receiver: DocumentReceiver
    writer: CatalogWriter | None
    chi: ChiFiles | None

    def status(self) -> str:
        """The status in one line; rare numbers only if they are not 0."""
        now, seen, counters = self.reduction.status, self.guard.report, self.receiver.counters
        rare = {
            "lost {}": seen.lost,
            "passed over {}": seen.passed_over,
            "duplicates {}": seen.duplicates,
            "senseless {}": seen.senseless,
            "unreadable {}": counters.unreadable,
            "with another prefix {}": counters.foreign,
            "to be catalogued {}": self.writer.counters.journaled if self.writer else 0,
            "not delivered {}": self.undelivered,
        }
        text = f"reduced {now.reduced}, failed {now.failed}, waiting {now.waiting}, lag {now.lag:.1f} s"
        return ", ".join([text, *counted(rare)])

    @property
    def not_done(self) -> list[str]:
        """What was lost or not delivered, in sentences."""
        seen, unreadable = self.guard.report, self.receiver.counters.unreadable
        told = {
            "{} events and frames were lost on the way and have no curves": seen.lost,
            "{} documents were passed over, since the beginning of their run was not seen": seen.passed_over,
            "{} documents were senseless": seen.senseless,
            "{} messages were unreadable (do both sides have the same --serializer?)": unreadable,
        }
        unwritten = {"{} files of curves were not written, see above": self.chi.failed if self.chi else 0}
        return counted(told) + results_not_delivered(self.reduction, self.writer) + counted(unwritten)

    @property
    def undelivered(self) -> int:
        """How many documents and files were not delivered."""
        number = self.reduction.status.sink_errors + (self.chi.failed if self.chi else 0)
        if self.writer is not None:
            counters = self.writer.counters
            number += counters.rejected + counters.lost
        return number

    def finish(self) -> None:
        """Take what has arrived, reduce it, close the runs that are open, and deliver."""
        self.receiver.close()
        self.reduction.close()
        if self.writer is not None:
            self.writer.close(_CATALOG_SECONDS)


def _saxs_reduce(options: argparse.Namespace) -> int:
    if options.catalog is None and options.chi is None:
        raise SaxsError("--catalog or --chi is needed: where curves go")
    calibration = _calibration(options.calibration or ["cal.json"])
    line = StatusLine()
    # What it closes at the end is closed already, unless an error or a second signal came before.
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals("saxs-reduce"))
        if not options.debug:
            stack.enter_context(complaints("saxs-reduce", line))
        parts = _start(options, calibration, stack)
        print_status(f"listening at {parts.receiver.address}, documents in {options.serializer}")
        while not stop.asked:
            line.show(parts.status())
            time.sleep(_POLL_SECONDS)
        finishing = threading.Thread(target=parts.finish, name="saxs-reduce-finishing", daemon=True)
        finishing.start()
        while finishing.is_alive():
            line.show(parts.status())
            finishing.join(_POLL_SECONDS)
        line.end(parts.status())
        not_done = parts.not_done
        if not_done:
            print_error(f"saxs-reduce: not done: {'; '.join(not_done)}")
        return Exit.SOME_FAILED if not_done else Exit.DONE


def _start(options: argparse.Namespace, calibration: Calibration | dict[str, Calibration], stack: ExitStack) -> _Parts:
    executor = None
    if options.workers:
        executor = WorkerPool(options.workers, task_seconds=task_limit(options.task_timeout, options.patience))
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    writer = open_writer(options.catalog, options.journal, stack)
    if writer is not None:
        writer.end_left_over()  # nobody publishes the rest of a run a second time
    chi = None if options.chi is None else ChiFiles(options.chi)
    # Only to be called and not to be waited for: a catalog that is away must not keep the reduction from its end.
    sinks: list[Sink] = [sink.__call__ for sink in (writer, chi) if sink is not None]
    reduction = Reduction(
        calibration, sinks, executor=executor, patience=options.patience, task_seconds=options.task_timeout
    )
    stack.callback(reduction.abandon)
    guard = LossDetector(reduction)
    return _Parts(reduction, guard, _receiver(options, guard, stack), writer, chi)


def _calibration(texts: Sequence[str]) -> Calibration | dict[str, Calibration]:
    """Calibrations of the options: one for all detectors, or one for each by name."""
    named: dict[str, Calibration] = {}
    for text in texts:
        name, found, file = text.partition("=")
        by_name = bool(found and name) and "/" not in name and not Path(text).exists()
        if not by_name and len(texts) > 1:
            raise SaxsError(f"--calibration {text}: wanted NAME=FILE where there are several, found no name")
        if not by_name:
            return Calibration.from_file(Path(text))
        if name in named:
            raise SaxsError(f"--calibration {text}: wanted one calibration for {name}, found another before")
        named[name] = Calibration.from_file(Path(file))
    return named


def _receiver(options: argparse.Namespace, guard: LossDetector, stack: ExitStack) -> DocumentReceiver:
    address = options.address
    if options.proxy is not None:
        in_port, out_port = options.proxy
        proxy = DocumentProxy(f"{options.bind}:{in_port}", f"{options.bind}:{out_port}")
        stack.callback(proxy.close)
        everywhere = options.bind in ("*", "0.0.0.0")  # noqa: S104 - compared, not bound
        address = address or f"{'127.0.0.1' if everywhere else options.bind}:{out_port}"
    if address is None:
        raise SaxsError("ADDRESS of a proxy is needed, or --proxy to start one")
    receiver = DocumentReceiver(address, guard, prefix=options.prefix.encode(), serializer=options.serializer)
    stack.callback(receiver.close)
    return receiver


if __name__ == "__main__":
    sys.exit(main())
