"""What ``saxsdog`` runs, made from its options."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saxs_bluesky.callbacks import CatalogWriter
from saxs_bluesky.cli._command import print_error, print_status
from saxs_bluesky.cli._file_ends import files_not_done, no_image
from saxs_bluesky.cli._not_done import counted, images_not_done, progress_of, results_not_delivered
from saxs_bluesky.cli._options import task_limit
from saxs_bluesky.cli._output import is_terminal
from saxs_bluesky.cli._profiling import Profiling
from saxs_bluesky.cli._service import StatusLine, complaints, default_workers, open_writer
from saxs_bluesky.cli._session_journal import open_progress_journal, task_identity
from saxs_bluesky.file_pipeline import (
    PATIENCE,
    FileReduction,
    ReductionOptions,
    SharedResources,
    SourceSettings,
    Statistics,
)
from saxs_bluesky.frame_job import CurveFiles, OutputNames
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.workers import WorkerPool
from saxs_bluesky.workers.dask_cluster import DaskExecutor

if TYPE_CHECKING:
    from saxs_bluesky.cli._window import Window

_log = logging.getLogger(__name__)

_LOG_EVERY = 10.0  # seconds between lines of statistics where there is no terminal
_CLUSTER_SECONDS = 10.0  # for a Dask scheduler to answer
_CATALOG_SECONDS = 20.0  # for a catalog that is away when the command ends
_SLOW_CATALOG_SECONDS = 120.0  # for one that is slow


class Session:
    """The reduction with what is shown of it, made from the options.

    Parameters
    ----------
    options
        Of the command.
    calibration
        What to reduce with.
    stack
        What closes the parts, whatever happens.
    """

    def __init__(self, options: argparse.Namespace, calibration: Calibration, stack: ExitStack) -> None:
        self._options = options
        self._line = StatusLine(_LOG_EVERY if options.servermode or not is_terminal() else 0.2)
        if not options.debug:
            # The reduction's own warnings are those of frames, which are printed with their names.
            printed = ["saxs_bluesky.callbacks.reduction.frames"]
            stack.enter_context(complaints("saxsdog", self._line, but_not=printed))
        self._source = source = _source_settings(options)
        files = _curve_files(options, overwrite=bool(calibration.document["OverwriteFiles"]))
        progress, journal = open_progress_journal(options, calibration, source.directory, files, stack)
        self._writer = open_writer(options.catalog, None if journal is None else journal / "catalog", stack)
        self._window = _live_window() if options.plotmonitor else None
        self._profiling = Profiling() if options.profile else None
        executor, workers = self._executor(calibration, stack)
        self._work = FileReduction(
            calibration,
            source,
            ReductionOptions(
                files=files,
                resume=options.resume,
                deviation=options.svg,
                identity=task_identity(options, calibration, source.directory, files),
            ),
            SharedResources(
                executor=executor,
                workers=workers,
                writer=self._writer,
                progress=progress,
                task_seconds=options.task_timeout,
            ),
            sinks=[self._print_frame, *([] if self._window is None else [self._window.live])],
            skipped=self._print_skipped,
        )
        stack.callback(self._work.reduction.abandon)
        self.pipeline = self._work.pipeline
        #: True if it ends only when it is stopped.
        self.goes_on = source.goes_on
        self._prints_images = not (options.silent or options.servermode or is_terminal())
        self._prints_status = not options.silent and (options.servermode or self.goes_on or is_terminal())
        self._watching_is_told = self._no_image_is_told = False
        self._files_not_done: list[str] = []

    def _executor(self, calibration: Calibration, stack: ExitStack) -> tuple[Executor | None, int]:
        """Make what reduces frames (None: this process), and say how many at a time."""
        if self._profiling is not None:
            return self._profiling, 1
        workers = self._options.threads or int(calibration.document["Threads"]) or default_workers()
        limit = task_limit(self._options.task_timeout, PATIENCE)
        if self._options.dask is not None:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the executor logs it in one line
            cluster = DaskExecutor(
                self._options.dask,
                lambda: WorkerPool(workers, task_seconds=limit),
                task_seconds=limit,
                answer_seconds=_CLUSTER_SECONDS,
            )
            stack.callback(cluster.shutdown, wait=False, cancel_futures=True)
            return cluster, cluster.threads or workers
        if workers == 1:
            return None, 1
        pool = WorkerPool(workers, task_seconds=limit)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        return pool, workers

    def _print_skipped(self, path: str) -> None:
        if self._prints_images:
            print_status(f"{path}: skipped, its curves exist")

    def _print_frame(self, name: str, doc: dict[str, Any]) -> None:
        """Print the name of each image as it is done; a sink."""
        if name != "event":
            return
        data = doc["data"]
        path = data["image_path"]
        for failure in filter(None, (data["failure"], data["file_failure"])):
            self._line.clear()
            print_error(f"{path}: {failure.removeprefix(f'{path}: ')}")
        if self._prints_images and not data["failure"]:
            written = [Path(value).name for key, value in data.items() if key.endswith("_file") and value]
            print_status(f"{path}: {', '.join(written)}")

    def show(self) -> None:
        """Show the status, and update the window."""
        if self._window is not None:
            self._window.live_on()
        if self.goes_on and not self._options.silent:
            self._tell_of_the_watch()
        if self._prints_status:
            self._line.show(self._stamped(_described(self.pipeline.statistics, self._writer)))

    def _tell_of_the_watch(self) -> None:
        """Print that the folder is watched, and whether there is no image but other files in it, once each."""
        source = self._work.source
        if not self._watching_is_told and source.begun.is_set():
            self._watching_is_told = True
            print_status(self._stamped(f"watching {self._source.directory}"))
        if self._watching_is_told and not self._no_image_is_told:
            counters = source.counters
            if counters.accepted or counters.skipped or counters.pending:
                self._no_image_is_told = True  # there is one
            elif other_files := source.other_files():
                self._no_image_is_told = True
                self._line.clear()
                print_status(self._stamped(no_image(self._source.directory, other_files)))

    def _stamped(self, text: str) -> str:
        return f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}" if self._options.servermode else text

    def finish(self, stopped: Callable[[], bool]) -> None:
        """Deliver what is left, print how it ended, and leave the window open until it is closed or ``stopped``."""
        # The frames are done; what may take long is a catalog that is slow or away.
        self._work.reduction.close(_CATALOG_SECONDS)
        if self._writer is not None:
            self._writer.close(0 if self._writer.is_away else _SLOW_CATALOG_SECONDS)
        self._line.clear()
        for remark in self._work.remarks():
            print_error(f"saxsdog: {remark}")
        self._print_what_is_not_done(interrupted=stopped())
        if not self._options.silent:
            print_status(self._stamped(_summary(self.pipeline.statistics)))
        not_done = self.not_done
        if len(not_done) > len(images_not_done(self.pipeline.statistics)):
            print_error(f"saxsdog: not done: {'; '.join(not_done)}")
        if self._profiling is not None:
            print_status(self._profiling.report())
        if self._window is not None:
            self._window.wait(stopped)

    def _print_what_is_not_done(self, *, interrupted: bool) -> None:
        self._files_not_done = files_not_done(
            self._work.source, left_out="-n" if self._options.nowalk and self.goes_on else ""
        )
        numbers = self.pipeline.statistics
        seen = numbers.done + numbers.skipped + numbers.failed + numbers.superseded + self.pipeline.done_before
        if not (seen or self._files_not_done or interrupted or self.goes_on):
            self._files_not_done = [no_image(self._source.directory, self._work.source.other_files())]
        for what in self._files_not_done:
            print_error(f"saxsdog: {what}")

    @property
    def not_done(self) -> list[str]:
        """What failed or was not delivered, in sentences."""
        images = images_not_done(self.pipeline.statistics)
        return images + results_not_delivered(self._work.reduction, self._writer, self._work.curves)

    @property
    def some_failed(self) -> bool:
        """True if something failed or was not delivered."""
        return bool(self.not_done or self._files_not_done)


def _live_window() -> Window:
    # What draws is loaded where there is something to draw: it takes a third of the command's start.
    from saxs_bluesky.cli._window import Window

    return Window()


def _source_settings(options: argparse.Namespace) -> SourceSettings:
    goes_on = bool(options.watch or options.feeder)
    return SourceSettings(
        _normal(options.directory),
        watch=options.watch,
        feeder=(options.feeder,) if options.feeder else (),
        existing=not (options.nowalk and goes_on),
        recursive=goes_on or not options.nowalk,
        use_inotify=not options.poll_only,
        follow_links=options.follow_links,
        list_all_first=not options.walkdirinthreads,
        deadline=options.deadline,
    )


def _normal(folder: Path) -> Path:
    """A folder by its absolute path without what does not count: ``.``, ``x/..``."""
    plain = Path(os.path.normpath(folder.absolute()))
    # Behind a symbolic link ".." leads elsewhere.
    return plain if plain.exists() and plain.samefile(folder) else folder.absolute()


def _curve_files(options: argparse.Namespace, *, overwrite: bool) -> CurveFiles:
    names = OutputNames(
        options.relpath,
        options.out and options.out.absolute(),
        # Names made of the whole path begin where the user's path did.
        base=Path.cwd() if options.out and not options.directory.is_absolute() else None,
    )
    return CurveFiles(names, overwrite=overwrite, svg=options.svg, png=options.png)


def _described(numbers: Statistics, writer: CatalogWriter | None) -> str:
    """The status in one line; rare numbers only if they are not 0."""
    rare = {
        "skipped {}": numbers.skipped,
        "not written {}": numbers.unwritten,
        "overwritten before they were reduced {}": numbers.superseded,
        "documents wait for the catalog {}": writer.counters.journaled if writer else 0,
    }
    return ", ".join([f"{progress_of(numbers)}, lag {numbers.lag:.1f} s", *counted(rare)])


def _summary(numbers: Statistics) -> str:
    total = numbers.done + numbers.skipped + numbers.failed
    text = f"{total} images: {numbers.done} reduced, {numbers.skipped} skipped, {numbers.failed} failed"
    rare = {"{} not written": numbers.unwritten, "{} overwritten before they were reduced": numbers.superseded}
    return ", ".join([text, *counted(rare)])
