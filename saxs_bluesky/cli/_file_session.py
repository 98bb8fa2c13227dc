"""What ``saxsdog`` puts together, as its options say."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import platformdirs

from saxs_bluesky.callbacks import CatalogWriter
from saxs_bluesky.catalog import without_key
from saxs_bluesky.cli._command import complain, task_limit, tell
from saxs_bluesky.cli._file_ends import files_not_done, no_image
from saxs_bluesky.cli._not_done import images_not_done, results_not_delivered
from saxs_bluesky.cli._output import is_terminal
from saxs_bluesky.cli._profiling import Profiling
from saxs_bluesky.cli._service import StatusLine, complaints, default_workers, open_writer
from saxs_bluesky.errors import OutputError
from saxs_bluesky.file_pipeline import (
    PATIENCE,
    FileReduction,
    ProgressJournal,
    ReductionOptions,
    SharedResources,
    SourceSettings,
    Statistics,
)
from saxs_bluesky.frame_job import CurveFiles, OutputNames, home_folder
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.support.locks import holders, locked
from saxs_bluesky.workers import WorkerPool
from saxs_bluesky.workers.dask_cluster import DaskExecutor

if TYPE_CHECKING:
    from saxs_bluesky.callbacks import LiveCurves
    from saxs_bluesky.cli._window import Window

_log = logging.getLogger(__name__)

_LOG_EVERY = 10.0  # seconds between lines of statistics where there is no terminal
_CLUSTER_SECONDS = 10.0  # for a Dask scheduler to answer
_CATALOG_SECONDS = 20.0  # for a catalog that is away when the command ends
_SLOW_CATALOG_SECONDS = 120.0  # for one that is slow


class Session:
    """What works together, made from the options.

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
            # The reduction's own warnings are those of frames, which are told with their names.
            told = ["saxs_bluesky.callbacks.reduction.frames"]
            stack.enter_context(complaints("saxsdog", self._line, but_not=told))
        self._place = _place(options)
        self._files = _files(options, overwrite=bool(calibration.document["OverwriteFiles"]))
        journal = self._journal(stack)
        progress = None if journal is None else stack.enter_context(closing(ProgressJournal(journal)))
        if progress is not None:
            progress.adopt(self._identity_before(calibration), self._identity(calibration))
        self._writer = open_writer(options.catalog, None if journal is None else journal / "catalog", stack)
        live: LiveCurves | None = None
        self._window: Window | None = None
        if options.plotmonitor:
            live, self._window = _live_window()
        self._profiling = Profiling() if options.profile else None
        wishes = ReductionOptions(
            files=self._files, resume=options.resume, deviation=options.svg, identity=self._identity(calibration)
        )
        executor, workers = self._executor(calibration, stack)
        services = SharedResources(
            executor=executor,
            workers=workers,
            writer=self._writer,
            progress=progress,
            task_seconds=options.task_timeout,
        )
        self._work = FileReduction(
            calibration,
            self._place,
            wishes,
            services,
            sinks=[self._tell, *([] if live is None else [live])],
            skipped=self._tell_skipped,
        )
        stack.callback(self._work.reduction.abandon)
        self.pipeline = self._work.pipeline
        self._told = self._told_other_files = False
        self._files_not_done: list[str] = []

    @property
    def goes_on(self) -> bool:
        """Whether it ends only when somebody says so."""
        return self._place.goes_on

    def _identity(self, calibration: Calibration) -> str:
        """What the command is asked to do, as far as results depend on it."""
        options = self._options
        asked = [
            calibration.json(),
            calibration.mask_content_sha256(),
            str(self._place.directory),
            str(replace(self._files, names=OutputNames())),
            _named(self._files.names),
            _catalog(options.catalog),
            options.nowalk,
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _identity_before(self, calibration: Calibration) -> str:
        """What `_identity` was for the first version of the journal."""
        options, files, names = self._options, self._files, self._files.names
        base = None if options.directory.is_absolute() else home_folder()
        named = f"OutputNames(relative={names.relative!r}, folder={names.folder!r}, base={base!r})"
        written = f"CurveFiles(names={named}, overwrite={files.overwrite}, svg={files.svg}, png={files.png})"
        asked = [calibration.json(), str(self._place.directory), written, str(options.catalog), options.nowalk]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _journal(self, stack: ExitStack) -> Path | None:
        """Folder of the journals: one for each place of images and curves, whatever the user calls them.

        Its lock is that of the place too: two commands do not make the same curves at a time.
        """
        if self._options.journal is None:
            return self._own_journal()
        journal = Path(self._options.journal).absolute()
        own = self._own_journal()
        if own is not None and own.resolve() != journal.resolve():
            stack.enter_context(closing(_lock_of_place(own, self._place.directory)))
        return journal

    def _own_journal(self) -> Path | None:
        """The folder that follows from the place; None where it cannot be made."""
        directory, names = self._place.directory, self._files.names
        relative, folder, _ = _named(names)
        where = json.dumps([str(directory), relative, str(folder)])
        digest = hashlib.sha256(where.encode()).hexdigest()[:16]
        journal = platformdirs.user_state_path("saxs-bluesky") / "saxsdog" / f"{directory.name}-{digest}"
        try:
            journal.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _log.warning(
                "%s: wanted a folder for the journal, found %s; a crash is not survived", journal, error.strerror
            )
            return None
        return journal

    def _executor(self, calibration: Calibration, stack: ExitStack) -> tuple[Executor | None, int]:
        """Where frames are reduced, and how many at a time."""
        if self._profiling is not None:
            return self._profiling, 1
        workers = self._options.threads or int(calibration.document["Threads"]) or default_workers()
        limit = task_limit(self._options.task_timeout, PATIENCE)
        if self._options.dask is not None:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the executor tells it in a line
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

    @property
    def _tells_images(self) -> bool:
        options = self._options
        return not (options.silent or options.servermode or is_terminal())

    def _tell_skipped(self, path: str) -> None:
        if self._tells_images:
            tell(f"{path}: skipped, its curves are there")

    def _tell(self, name: str, doc: dict[str, Any]) -> None:
        """Name each image as it is done; a sink."""
        if name != "event":
            return
        data = doc["data"]
        path = data["image_path"]
        for failure in filter(None, (data["failure"], data["file_failure"])):
            self._line.clear()
            complain(f"{path}: {failure.removeprefix(f'{path}: ')}")
        if self._tells_images and not data["failure"]:
            written = [Path(value).name for key, value in data.items() if key.endswith("_file") and value]
            tell(f"{path}: {', '.join(written)}")

    def show(self) -> None:
        """Show how things stand, and let the window live."""
        if self._window is not None:
            self._window.live_on()
        if self.goes_on and not self._told and self._work.source.begun.is_set():
            self._told = True
            if not self._options.silent:
                tell(self._stamped(f"watching {self._place.directory}"))
        if self._told and not self._told_other_files and (others := self._work.source.other_files()):
            self._told_other_files = True
            counters = self._work.source.counters
            if not (counters.accepted or counters.skipped or counters.pending or self._options.silent):
                self._line.clear()
                tell(self._stamped(no_image(self._place.directory, others)))
        if not self._options.silent and (self._options.servermode or self.goes_on or is_terminal()):
            self._line.show(self._stamped(_described(self.pipeline.statistics, self._writer)))

    def _stamped(self, text: str) -> str:
        return f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}" if self._options.servermode else text

    def finish(self, stopped: Callable[[], bool]) -> None:
        """Deliver what is left, tell how it ended, and leave the window until it is closed or ``stopped``."""
        # The frames are done; what may take long is a catalog that is slow or away.
        self._work.reduction.close(_CATALOG_SECONDS)
        if self._writer is not None:
            self._writer.close(0 if self._writer.is_away else _SLOW_CATALOG_SECONDS)
        self._line.clear()
        for remark in self._work.remarks():
            complain(f"saxsdog: {remark}")
        self._tell_what_is_not_done(interrupted=stopped())
        if not self._options.silent:
            tell(self._stamped(_summary(self.pipeline.statistics)))
        not_done = self.not_done
        if len(not_done) > len(images_not_done(self.pipeline.statistics)):
            complain(f"saxsdog: not done: {'; '.join(not_done)}")
        if self._profiling is not None:
            tell(self._profiling.report())
        if self._window is not None:
            self._window.wait(stopped)

    def _tell_what_is_not_done(self, *, interrupted: bool) -> None:
        self._files_not_done = files_not_done(
            self._work.source, left_out="-n" if self._options.nowalk and self.goes_on else ""
        )
        numbers = self.pipeline.statistics
        seen = numbers.done + numbers.skipped + numbers.failed + numbers.superseded + self.pipeline.done_before
        if not (seen or self._files_not_done or interrupted or self.goes_on):
            self._files_not_done = [no_image(self._place.directory, self._work.source.other_files())]
        for what in self._files_not_done:
            complain(f"saxsdog: {what}")

    @property
    def not_done(self) -> list[str]:
        """What was asked for and did not get where it belongs, in sentences."""
        images = images_not_done(self.pipeline.statistics)
        return images + results_not_delivered(self._work.reduction, self._writer, self._work.curves)

    @property
    def some_failed(self) -> bool:
        """Whether something was asked for and not done."""
        return bool(self.not_done or self._files_not_done)


def _live_window() -> tuple[LiveCurves, Window]:
    # What draws is loaded where there is something to draw: it takes a third of the command's start.
    from saxs_bluesky.callbacks import LiveCurves
    from saxs_bluesky.cli._window import Window

    live = LiveCurves()
    return live, Window(live)


def _place(options: argparse.Namespace) -> SourceSettings:
    goes_on = bool(options.watch or options.feeder)
    return SourceSettings(
        directory=_normal(options.directory),
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


def _named(names: OutputNames) -> list[str | None]:
    """Where curves go, however it was spelled."""
    folder, base = (None if path is None else os.path.realpath(path) for path in (names.folder, names.base))
    return [os.path.normpath(names.relative), folder, base]


def _catalog(where: str | None) -> str:
    """Which catalog, however it was spelled."""
    if where is None or "://" in where:
        return "None" if where is None else without_key(where).rstrip("/")
    return os.path.realpath(Path(where).expanduser())


def _lock_of_place(folder: Path, directory: Path) -> IO[bytes]:
    """Lock a place of images and curves.

    Raises
    ------
    OutputError
        Another process has it.
    """
    path = folder / "lock"
    try:
        return locked(path)
    except OSError as error:
        with path.open("rb") as file:
            others = ", ".join(map(str, holders(file.fileno())))
        raise OutputError(
            f"{directory}: its curves are written to the same place by another process"
            f"{f' (pid {others})' if others else ''}: wait for its end, or write to another place (-o, -R)"
        ) from error


def _files(options: argparse.Namespace, *, overwrite: bool) -> CurveFiles:
    names = OutputNames(
        options.relpath,
        options.out and options.out.absolute(),
        # Names made of the whole path begin where the user's path did.
        base=Path.cwd() if options.out and not options.directory.is_absolute() else None,
    )
    return CurveFiles(names, overwrite=overwrite, svg=options.svg, png=options.png)


def _described(numbers: Statistics, writer: CatalogWriter | None) -> str:
    """Where things stand; what is rare is told only where there is some."""
    text = (
        f"done {numbers.done}, queue {numbers.queue}, failed {numbers.failed}, {numbers.rate:.1f} frames/s, "
        f"lag {numbers.lag:.1f} s"
    )
    rare = {
        "skipped": numbers.skipped,
        "not written": numbers.unwritten,
        "overwritten before they were reduced": numbers.superseded,
        "documents wait for the catalog": writer.counters.journaled if writer else 0,
    }
    return ", ".join([text, *(f"{what} {number}" for what, number in rare.items() if number)])


def _summary(numbers: Statistics) -> str:
    total = numbers.done + numbers.skipped + numbers.failed
    text = f"{total} images: {numbers.done} reduced, {numbers.skipped} skipped, {numbers.failed} failed"
    rare = {"not written": numbers.unwritten, "overwritten before they were reduced": numbers.superseded}
    return ", ".join([text, *(f"{number} {what}" for what, number in rare.items() if number)])
