"""Assembly of a source, the reduction and a pipeline: what ``saxsdog`` and a server run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction
from saxs_bluesky.errors import OutputError
from saxs_bluesky.file_pipeline._pipeline import FilePipeline
from saxs_bluesky.file_pipeline._progress_journal import ProgressJournal
from saxs_bluesky.frame_job import Condition, CurveFiles
from saxs_bluesky.reduction import Calibration, Reducer
from saxs_bluesky.sources import SourceSettings, file_source

PATIENCE = 2.0
"""For how long a file is waited for that changes after it was found whole, in seconds."""
# Files on their way through the reduction: enough for two messages of tasks to each worker.
_LEAST_IN_HAND, _IN_HAND_FOR_A_WORKER = 32, 16


@dataclass(frozen=True, kw_only=True)
class SharedResources:
    """Resources that several reductions share, one after the other.

    Parameters
    ----------
    executor
        Where frames are reduced; None: in a thread of the reduction.
    writer
        Of the catalog.
    progress
        Journal of what is done.
    workers
        How many frames the executor reduces at a time.
    task_seconds
        For how long a frame may keep a thread of the reduction, where there is no executor; 0: without limit.
    """

    executor: Executor | None = None
    writer: CatalogWriter | None = None
    progress: ProgressJournal | None = None
    workers: int = 1
    task_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class ReductionOptions:
    """Options of the reduction, beside the calibration.

    Parameters
    ----------
    files
        What is written of each.
    resume
        Whether to skip images whose curves are there, whole, and say that they were made of the same: `CurveFiles`.
    deviation
        Whether curves carry the standard deviation of the pixels too.
    identity
        What is asked for, as a text: over a crash, files are remembered as long as it is the same.
    metadata
        For the start document.
    """

    files: CurveFiles
    resume: bool = False
    deviation: bool = False
    identity: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class FileReduction:
    """A source, the reduction, the list of curves and the pipeline that joins them.

    Parameters
    ----------
    calibration
        What to reduce with.
    settings
        Where images come from.
    options
        How they are reduced.
    resources
        What this reduction shares with others.
    sinks
        Called with the documents of the reduced run, beside the catalog's writer.
    reducer
        The calibration's operators if they are built already, without `deviation`; None: they are built here.
    skipped
        Called with the path of each image that is skipped.

    Raises
    ------
    OutputError
        The list of curves cannot be kept.
    CalibrationError, MaskError
        As `Reducer` does.
    """

    def __init__(
        self,
        calibration: Calibration,
        settings: SourceSettings,
        options: ReductionOptions,
        resources: SharedResources,
        *,
        sinks: Sequence[Callable[[str, dict[str, Any]], Any]] = (),
        reducer: Reducer | None = None,
        skipped: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._calibration = calibration
        self._options = options
        self._skipped = skipped
        self._conditions: Counter[Condition] = Counter()
        interrupted = resources.progress.interrupted if resources.progress is not None else None
        goes_on = interrupted is not None and interrupted.identity == options.identity
        self.curves = self._list(settings.directory, keep=goes_on)
        in_hand = max(_LEAST_IN_HAND, _IN_HAND_FOR_A_WORKER * resources.workers)
        self.reduction = Reduction(
            reducer or calibration,
            sinks,
            executor=resources.executor,
            files=options.files,
            window=in_hand,
            patience=PATIENCE,
            task_seconds=resources.task_seconds,
            deviation=options.deviation,
        )
        self.source = file_source(settings, str(calibration.document["Title"]), options.metadata, self._skip())
        self.pipeline = FilePipeline(
            self.source,
            self.reduction,
            writer=resources.writer,
            curves=self.curves,
            progress=resources.progress,
            identity=options.identity,
            in_hand=in_hand,
        )

    def _list(self, directory: Path, *, keep: bool) -> CurveList | None:
        if not self._calibration.document["Live-Filelisting"]:
            return None
        try:
            files = self._options.files
            kept = keep or self._options.resume or not files.overwrite
            return CurveList(directory, keep=kept, within=files.names.within)
        except OSError as error:
            raise OutputError(
                f"{directory.parent / 'results'}: the list of curves cannot be written here: {error.strerror}"
            ) from error

    def _skip(self) -> Callable[..., bool] | None:
        """Make the function that is True if there is nothing to do for an image; None if there always is."""
        files, reducer = self._options.files, self.reduction.reducer()
        if files.overwrite and not self._options.resume:
            return None
        # Where curves that are there are never replaced, those of this image count, whatever they were made with;
        # those of another image are in the way, and the reduction says so.
        enough = Condition.CURRENT if files.overwrite else Condition.UNKNOWN

        def skip(path: str, pages: int = 1) -> bool:
            condition = files.condition(Path(path), reducer, pages)
            self._conditions[condition] += 1
            if condition >= enough:
                self._skipped(path)
            return condition >= enough

        return skip

    def remarks(self) -> list[str]:
        """Sentences on the curves that existed before, for the end of the command."""
        unknown, outdated = self._conditions[Condition.UNKNOWN], self._conditions[Condition.OUTDATED]
        if self._options.files.overwrite:
            told = [(unknown, "had", "that do not say what they were made of; they were made anew")]
        else:
            kept = "they were kept (OverwriteFiles: false)"
            told = [
                (unknown, "have", f"that do not say what they were made of; {kept}"),
                (outdated, "have", f"of another calibration, mask or content of the image; {kept}"),
            ]
        return [_counted(number, verb, what) for number, verb, what in told if number]


def _counted(number: int, verb: str, what: str) -> str:
    if number == 1:
        return f"1 image {'has' if verb == 'have' else verb} curves {what}"
    return f"{number} images {verb} curves {what}"
