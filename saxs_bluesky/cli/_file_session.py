"""What ``saxsdog`` puts together, as its options say."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs

from saxs_bluesky.callbacks import CatalogWriter, CurveList, LiveCurves, Reduction
from saxs_bluesky.cli._command import complain, say
from saxs_bluesky.cli._profiling import Profiling
from saxs_bluesky.cli._service import StatusLine, complaints
from saxs_bluesky.cli._window import Window
from saxs_bluesky.errors import OutputError, SaxsError
from saxs_bluesky.outputs import CurveFiles
from saxs_bluesky.pipeline import FilePipeline, Statistics
from saxs_bluesky.reduction import Calibration, OutputNames
from saxs_bluesky.sources import (
    FeederListener,
    FileSource,
    Finder,
    FolderOnce,
    FolderWatch,
    Progress,
    Readiness,
    describe_session,
)
from saxs_bluesky.workers import WorkerPool

_log = logging.getLogger(__name__)

_LOG_EVERY = 10.0  # seconds between lines of statistics where there is no terminal
_PATIENCE = 2.0  # seconds for a file that changes after it was found whole
_CLUSTER_SECONDS = 10.0  # for a Dask scheduler to answer
_CATALOG_SECONDS = 30.0  # for a catalog that is slow or away when the command ends


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
        self.goes_on = bool(options.watch or options.feeder)
        self._line = StatusLine(_LOG_EVERY if options.servermode or not sys.stdout.isatty() else 0.2)
        if not options.debug:
            # The reduction's own warnings are those of frames, which are told with their names.
            told = ["saxs_bluesky.callbacks._reduction"]
            stack.enter_context(complaints("saxsdog", self._line, but_not=told))
        self._directory = options.directory.absolute()
        self._files = CurveFiles(
            names=OutputNames(
                options.relpath, options.out, base=None if options.directory.is_absolute() else Path.cwd()
            ),
            overwrite=bool(calibration.document["OverwriteFiles"]),
            svg=options.svg,
            png=options.png,
        )
        journal = self._journal()
        progress = None if journal is None else stack.enter_context(closing(Progress(journal)))
        goes_on = (
            progress is not None and progress.left is not None and progress.left.identity == self._identity(calibration)
        )
        self._writer = self._open_writer(journal, stack)
        self._live = LiveCurves() if options.plotmonitor else None
        self._window = None if self._live is None else Window(self._live)
        self._profiling = Profiling() if options.profile else None
        self._reduction = Reduction(
            calibration,
            [self._tell, *([] if self._live is None else [self._live])],
            executor=self._executor(calibration, stack),
            files=self._files,
            patience=_PATIENCE,
            deviation=options.svg,
        )
        stack.callback(self._reduction.close, 0)
        self._curves = self._list(calibration, keep=goes_on)
        self._source = self._make_source(calibration)
        self._told = False
        self.pipeline = FilePipeline(
            self._source,
            self._reduction,
            writer=self._writer,
            curves=self._curves,
            progress=progress,
            identity=self._identity(calibration),
        )

    def _identity(self, calibration: Calibration) -> str:
        """What the command is asked to do, as far as results depend on it."""
        options = self._options
        asked = [calibration.json(), str(self._directory), str(self._files), str(options.catalog), options.nowalk]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _journal(self) -> Path | None:
        """Folder of the journals: one for each place of images and curves."""
        if self._options.journal is not None:
            return Path(self._options.journal)
        names = self._files.names
        where = json.dumps([str(self._directory), names.relative, str(names.folder and names.folder.absolute())])
        digest = hashlib.sha256(where.encode()).hexdigest()[:16]
        folder = platformdirs.user_state_path("saxs-bluesky") / "saxsdog" / f"{self._directory.name}-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _log.warning(
                "%s: wanted a folder for the journal, found %s; a crash is not survived", folder, error.strerror
            )
            return None
        return folder

    def _open_writer(self, journal: Path | None, stack: ExitStack) -> CatalogWriter | None:
        where = self._options.catalog
        if where is None:
            return None
        from saxs_bluesky.catalog import close_catalog

        if "://" not in where:
            stack.callback(close_catalog, where)
        writer = CatalogWriter(where, journal=None if journal is None else journal / "catalog")
        stack.callback(writer.close, 0)
        return writer

    def _executor(self, calibration: Calibration, stack: ExitStack) -> Executor | None:
        if self._profiling is not None:
            return self._profiling
        if self._options.dask:
            return dask_executor(self._options.dask, stack)
        workers = self._options.threads or int(calibration.document["Threads"])
        if workers == 1:
            return None
        pool = WorkerPool(workers)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        return pool

    def _list(self, calibration: Calibration, *, keep: bool) -> CurveList | None:
        if not calibration.document["Live-Filelisting"]:
            return None
        try:
            return CurveList(self._directory, keep=keep or self._options.resume or not self._files.overwrite)
        except OSError as error:
            raise OutputError(
                f"{self._directory.parent / 'results'}: wanted to keep the list of curves there, found {error.strerror}"
            ) from error

    def _make_source(self, calibration: Calibration) -> FileSource:
        options = self._options
        place = {"root": self._directory, "follow_links": options.follow_links}
        finders: list[Finder] = []
        if options.watch:
            finders.append(FolderWatch(**place, existing=not options.nowalk, hints=not options.poll_only))
        elif not (options.feeder and options.nowalk):
            finders.append(FolderOnce(**place, below=not options.nowalk, at_once=not options.walkdirinthreads))
        kind = "watch" if options.watch else "folder"
        if options.feeder:
            kind = "feeder"
            finders.append(FeederListener(options.feeder, self._directory, follow_links=options.follow_links))
        metadata = describe_session(kind, self._directory, str(calibration.document["Title"]))
        return FileSource(
            finders, metadata, readiness=Readiness(deadline=options.deadline), skip=self._skip_of(calibration)
        )

    def _skip_of(self, calibration: Calibration) -> Callable[[str], bool] | None:
        """Whether there is nothing to do for an image."""
        files, names = self._files, calibration.curve_names
        if self._options.resume:
            is_done = files.are_current
        elif not files.overwrite:
            is_done = files.are_there
        else:
            return None

        def skip(path: str) -> bool:
            done = is_done(Path(path), names)
            if done and self._tells_images:
                say(f"{path}: skipped, its curves are there")
            return done

        return skip

    @property
    def _tells_images(self) -> bool:
        options = self._options
        return not (options.silent or options.servermode or sys.stdout.isatty())

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
            say(f"{path}: {', '.join(written)}")

    def show(self) -> None:
        """Show how things stand, and let the window live."""
        if self._window is not None:
            self._window.live_on()
        if self.goes_on and not self._told and self._source.begun.is_set():
            self._told = True
            if not self._options.silent:
                say(self._stamped(f"watching {self._directory}"))
        if not self._options.silent and (self._options.servermode or self.goes_on or sys.stdout.isatty()):
            self._line.show(self._stamped(_described(self.pipeline.statistics, self._writer)))

    def _stamped(self, text: str) -> str:
        return f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}" if self._options.servermode else text

    def finish(self, stopped: Callable[[], bool]) -> None:
        """Deliver what is left, tell how it ended, and leave the window until it is closed or ``stopped``."""
        self._reduction.close()
        if self._writer is not None:
            self._writer.close(_CATALOG_SECONDS)
        if not self._options.silent:
            self._line.clear()
            say(self._stamped(_summary(self.pipeline.statistics)))
        if self._profiling is not None:
            say(self._profiling.report())
        if self._window is not None:
            self._window.wait(stopped)

    @property
    def some_failed(self) -> bool:
        """Whether something did not get where it belongs."""
        numbers = self.pipeline.statistics
        failed = numbers.failed + numbers.unwritten + (self._curves.failed if self._curves else 0)
        if self._writer is not None:
            counters = self._writer.counters
            failed += counters.rejected + counters.lost + counters.journaled
        return bool(failed)


def _described(numbers: Statistics, writer: CatalogWriter | None) -> str:
    """Where things stand; what is rare is told only where there is some."""
    text = (
        f"done {numbers.done}, queue {numbers.queue}, failed {numbers.failed}, {numbers.rate:.1f} frames/s, "
        f"lag {numbers.lag:.1f} s"
    )
    rare = {
        "skipped": numbers.skipped,
        "not written": numbers.unwritten,
        "documents wait for the catalog": writer.counters.journaled if writer else 0,
    }
    return ", ".join([text, *(f"{what} {number}" for what, number in rare.items() if number)])


def _summary(numbers: Statistics) -> str:
    total = numbers.done + numbers.skipped + numbers.failed
    text = f"{total} images: {numbers.done} reduced, {numbers.skipped} skipped, {numbers.failed} failed"
    return f"{text}, {numbers.unwritten} not written" if numbers.unwritten else text


def dask_executor(address: str, stack: ExitStack) -> Executor:
    """Executor of a Dask cluster.

    Raises
    ------
    SaxsError
        Dask is not installed, or its scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SaxsError("--dask: wanted Dask, found none: pip install 'saxs-bluesky[distributed]'") from error
    try:
        client = stack.enter_context(
            Client(address, timeout=_CLUSTER_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
        )
    except (OSError, ValueError) as error:
        raise SaxsError(f"--dask {address}: wanted a Dask scheduler, found {str(error) or 'no answer'}") from error
    executor: Executor = client.get_executor()
    return executor
