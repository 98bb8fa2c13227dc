"""The work on one frame, wherever it is done: read it, reduce it, write its curves."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from saxs_bluesky.documents import FrameTask, Result, TiffFrame, WrittenFiles, holds, load, moved_to, read_values
from saxs_bluesky.errors import SaxsError, StillOpenError, SupersededError, reason_of
from saxs_bluesky.frame_job._outputs import CurveFiles
from saxs_bluesky.reduction import (
    Calibration,
    Curve,
    CurveProvenance,
    IntegralParameters,
    Integrator,
    PilatusHeader,
    Reducer,
    differences,
    stamp_of,
)
from saxs_bluesky.reduction.arrays import FloatArray, Image
from saxs_bluesky.workers import is_retry

_log = logging.getLogger(__name__)

_MASK_CHANGED = "a mask of {} changed after the reduction began: start it again to use the new one"


class _Values(NamedTuple):
    """What of a curve changes from frame to frame: all that travels back."""

    intensity: FloatArray
    sigma: FloatArray
    deviation: FloatArray | None
    integral: IntegralParameters


class _Source(NamedTuple):
    """Where curves come from: the frame, the stamp of its file as it was read, the raw run."""

    task: FrameTask
    stamp: int | None
    run: str


@dataclass(frozen=True)
class FrameResult:
    """What became of a frame, small enough to travel between processes.

    Parameters
    ----------
    failure
        Why there are no curves; empty where there are.
    files
        What was written.
    superseded
        Whether that is since the file holds newer content than the frame's.
    remark
        What a user should know: how the header of the image contradicts the calibration.
    waits
        Whether the frame may be read when its file is closed.
    coordinates
        Values of the axes that are streamed into files; or why one cannot be read.
    """

    failure: str = ""
    files: WrittenFiles = WrittenFiles()  # noqa: RUF009 - it is frozen
    _values: tuple[_Values, ...] = ()
    superseded: bool = False
    remark: str = ""
    waits: bool = False
    coordinates: Mapping[str, float | str] = field(default_factory=dict)

    def result(self, templates: Sequence[Curve]) -> Result:
        """The curves, or the failure.

        Parameters
        ----------
        templates
            The reducer's, for all that does not change from frame to frame.
        """
        if self.failure:
            return self.failure
        return [replace(curve, **values._asdict()) for curve, values in zip(templates, self._values, strict=True)]


@dataclass(frozen=True)
class FrameJob:
    """Reads and reduces frames and writes their curves: what an executor calls, and takes to its workers.

    A process builds the operators once, for the first frame that brings the ``token``; the object that was made with a
    ``reducer`` uses that one.

    Parameters
    ----------
    calibration, recipes, deviation
        As for `Reducer`.
    files
        What to write of each frame; None: nothing.
    mask_sha256
        Of the masks that are meant, as `Reducer` has them: a process that finds others in their files makes no curves.
        None: any.
    """

    calibration: Calibration = field(compare=False)
    recipes: tuple[Integrator, ...] = field(default=(), compare=False)
    deviation: bool = field(default=False, compare=False)
    files: CurveFiles | None = field(default=None, compare=False)
    token: str = field(default_factory=lambda: str(uuid4()))
    mask_sha256: tuple[str, ...] | None = field(default=None, compare=False)
    reducer: Reducer | None = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the operators, which are large."""
        return self.__dict__ | {"reducer": None}

    def __call__(self, task: FrameTask, image: Path | None, deadline: float, run: str = "") -> FrameResult:
        """Do the work on one frame; whatever goes wrong becomes a text in the outcome.

        Parameters
        ----------
        task
            Which frame.
        image
            After which its files are named; None: none are written.
        deadline
            Until when to wait for a file that is not whole, in seconds of ``time.time()``.
        run
            Unique id of the raw run.
        """
        if task.streamed:
            return self._with_values(task, image, deadline, run)
        if task.reference is None or task.failure:
            return FrameResult(task.failure)
        reducer = self.reducer or _reducer(self)
        if self.mask_sha256 not in (None, reducer.mask_sha256):
            return FrameResult(_MASK_CHANGED.format(self.calibration.where))
        try:
            # Before it is read: of a file that is replaced meanwhile the curves are known not to be current.
            stamp = _stamp(task)
            frame = load(task.reference, deadline, wait_for_writer=False)
            curves = reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
        except SupersededError as error:
            return FrameResult(str(error), superseded=True)
        except StillOpenError as error:
            return FrameResult(str(error), waits=True)
        # Beside errors of files: a fault of a user's recipe costs its frame and not the run.
        except Exception as error:  # noqa: BLE001
            return FrameResult(_told_with(task.reference.path, error))
        source = _Source(task, stamp, run)
        try:
            written = self._write(image, frame.image, curves, source)
        except SupersededError as error:
            return FrameResult(str(error), superseded=True)
        values = tuple(_Values(one.intensity, one.sigma, one.deviation, one.integral) for one in curves)
        return FrameResult("", written, values, remark=self._remark(frame.header, task.reference.path, run))

    def _with_values(self, task: FrameTask, image: Path | None, deadline: float, run: str) -> FrameResult:
        """Do the work on a frame of which scanned axes are in files."""
        rest = replace(task, streamed={})
        key = (self.token, run)
        try:
            # What could not be read for one frame is not waited for again.
            values = read_values(task, 0 if key in _GIVEN_UP else deadline, wait_for_writer=False)
        except StillOpenError as error:
            # Its files are written when the values are known.
            outcome = self(rest, None, deadline, run)
            files = WrittenFiles() if image is None else WrittenFiles((), str(error))
            return replace(outcome, files=files, coordinates=dict.fromkeys(task.streamed, str(error)), waits=True)
        if any(isinstance(value, str) for value in values.values()):
            if len(_GIVEN_UP) >= _MOST_COMPARED:
                _GIVEN_UP.clear()
            _GIVEN_UP.add(key)
        return replace(self(rest, image, deadline, run), coordinates=values)

    def _remark(self, header: PilatusHeader | None, path: str, run: str) -> str:
        """How the first image of a run contradicts the calibration; empty where it does not, and for all others."""
        key = (self.token, run)
        if header is None or key in _COMPARED:
            return ""
        if len(_COMPARED) >= _MOST_COMPARED:
            _COMPARED.clear()
        _COMPARED.add(key)
        found = "; ".join(differences(self.calibration, header))
        return f"{self.calibration.where} contradicts the header of {path}: {found}" if found else ""

    def describe(self, task: FrameTask, *_: object) -> str:
        """What a call is about, for people who wait for it."""
        path = task.reference.path if task.reference is not None else ""
        return path or f"frame {task.index} of {task.detector}"

    def _write(self, path: Path | None, image: Image, curves: Sequence[Curve], source: _Source) -> WrittenFiles:
        if self.files is None or path is None:
            return WrittenFiles()
        written: list[str] = []
        try:
            if is_retry():
                self.files.clean_up(path, [curve.name for curve in curves])
            made_of = self._made_of(source, path)
            check = partial(_check_place, source.task)
            written.extend(str(chi) for chi in self.files.write(path, image, curves, self.calibration, made_of, check))
        except SupersededError:
            raise
        # The curves are good all the same, and go their other ways.
        except Exception as error:  # noqa: BLE001
            return WrittenFiles(tuple(written), reason_of(error))
        return WrittenFiles(tuple(written))

    def _made_of(self, source: _Source, path: Path) -> CurveProvenance:
        """What the frame's files tell of it."""
        task = source.task
        common = (self.reducer or _reducer(self)).provenance
        file = task.reference.path if task.reference is not None else ""
        if not file:
            return replace(common, frame=task.index, run=source.run)
        # In the folder of what its curves are named after, which is absolute; a worker may be in another.
        name = os.path.basename(file)  # noqa: PTH119 - for each frame
        image = path if path.name == name else path.with_name(name)
        return replace(
            common,
            image=str(image),
            image_stamp=source.stamp,
            frame=None if image is path else _number(task),
        )


def _stamp(task: FrameTask) -> int | None:
    """Stamp of the file that holds a frame and nothing else."""
    if not isinstance(task.reference, TiffFrame):
        return None
    if task.reference.content is not None:
        return task.reference.content.stamp
    try:
        return stamp_of(Path(task.reference.path).stat())
    except OSError:
        return None


def _check_place(task: FrameTask) -> None:
    """See to it that the curves of a frame do not go where its file was before its folder was renamed."""
    if not isinstance(task.reference, TiffFrame) or task.reference.content is None:
        return
    path, content = task.reference.path, task.reference.content
    moved = None if holds(path, content) else moved_to(path, content)
    if moved is not None:
        raise renamed(path, moved)


def renamed(path: str, moved: str) -> SupersededError:
    """Error of a file whose folder has another name now."""
    return SupersededError(f"{path}: renamed before it was reduced; it is reduced as {moved}")


def _number(task: FrameTask) -> int:
    """Number of a frame in its file, or in its stream where the reference does not tell."""
    if isinstance(task.reference, TiffFrame):
        return task.reference.page
    number = getattr(task.reference, "index", None)
    return number if isinstance(number, int) else task.index


def _told_with(path: str, error: Exception) -> str:
    text = reason_of(error)
    return text if path in text or not isinstance(error, SaxsError) else f"{path}: {text}"


# Which runs this process has compared an image of.
_COMPARED: set[tuple[str, str]] = set()
_MOST_COMPARED = 1000
# In which runs an axis could not be read.
_GIVEN_UP: set[tuple[str, str]] = set()


def warn(remarks: Iterable[str]) -> None:
    """Put what a user should know of a calibration into the log."""
    for remark in remarks:
        _log.warning("%s", remark)


@lru_cache(maxsize=8)
def _reducer(work: FrameJob) -> Reducer:
    return Reducer(work.calibration, extra_integrators=work.recipes, deviation=work.deviation)
