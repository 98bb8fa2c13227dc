"""The work on one frame, wherever it is done: read it, reduce it, write its curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from saxs_bluesky.documents import (
    CurveValues,
    FrameResult,
    FrameTask,
    TiffFrame,
    WrittenFiles,
    holds,
    load,
    moved_to,
    read_values,
)
from saxs_bluesky.errors import SaxsError, StillOpenError, SupersededError, reason_of
from saxs_bluesky.frame_job._curve_files import CurveFiles
from saxs_bluesky.reduction import (
    Calibration,
    Curve,
    CurveProvenance,
    Integrator,
    PilatusHeader,
    Reducer,
    differences,
    stamp_of,
)
from saxs_bluesky.reduction.arrays import Image
from saxs_bluesky.workers import is_retry

_MASK_CHANGED = "a mask of {} changed after the reduction began: start it again to use the new one"
_NO_FILES = WrittenFiles()


@dataclass(frozen=True)
class FrameJob:
    """Reads and reduces frames and writes their curves: what an executor calls, and takes to its workers.

    A process builds the operators once, for the first frame that brings the ``token``; the object that was made with a
    ``reducer`` uses that one.

    Parameters
    ----------
    calibration, extra_integrators, deviation
        As for `Reducer`.
    files
        What to write of each frame; None: nothing.
    mask_sha256
        Of the masks that are meant, as `Reducer` has them: a process that finds others in their files makes no curves.
        None: any.
    is_called_again
        True if the frames that wait for a file to be closed come again; otherwise an axis whose file is open counts as
        one that cannot be read.
    """

    calibration: Calibration = field(compare=False)
    extra_integrators: tuple[Integrator, ...] = field(default=(), compare=False)
    deviation: bool = field(default=False, compare=False)
    files: CurveFiles | None = field(default=None, compare=False)
    token: str = field(default_factory=lambda: str(uuid4()))
    mask_sha256: tuple[str, ...] | None = field(default=None, compare=False)
    reducer: Reducer | None = field(default=None, compare=False, repr=False)
    is_called_again: bool = field(default=True, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the operators, which are large."""
        return self.__dict__ | {"reducer": None}

    def __call__(self, task: FrameTask, named_after: Path | None, deadline: float, run: str = "") -> FrameResult:
        """Do the work on one frame; whatever goes wrong becomes a text in the result.

        Parameters
        ----------
        task
            Which frame.
        named_after
            Path that the frame's files are named after; None: none are written.
        deadline
            Until when to wait for a file that is not whole, in seconds of ``time.time()``.
        run
            Unique id of the raw run.
        """
        if task.streamed:
            return self._with_values(task, named_after, deadline, run)
        if task.reference is None or task.failure:
            return FrameResult(task.failure)
        reducer = self.reducer or _reducer(self)
        if self.mask_sha256 not in (None, reducer.mask_sha256):
            return FrameResult(_MASK_CHANGED.format(self.calibration.where))
        path, written = task.reference.path, _NO_FILES
        try:
            # Before it is read: of a file that is replaced meanwhile the curves are known not to be current.
            stamp = None if named_after is None else _stamp(task)
            frame = load(task.reference, deadline, wait_for_writer=False)
            curves = reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
            if self.files is not None and named_after is not None:
                written = self._write(self.files, named_after, frame.image, curves, task, stamp, run)
        except SupersededError as error:
            return FrameResult(str(error), superseded=True)
        except StillOpenError as error:
            return FrameResult(str(error), waits=True)
        # Beside errors of files: a fault of a user's integrator costs its frame and not the run.
        except Exception as error:  # noqa: BLE001
            return FrameResult(_reason_with_path(path, error))
        remark, key = "", (self.token, run, task.detector)
        if frame.header is not None and key not in _COMPARED:
            _add(_COMPARED, key)
            remark = self._contradictions(frame.header, path)
        values = tuple(CurveValues(one.intensity, one.sigma, one.deviation, one.integral) for one in curves)
        return FrameResult("", values, written, remark=remark)

    def _with_values(self, task: FrameTask, named_after: Path | None, deadline: float, run: str) -> FrameResult:
        """Do the work on a frame of which scanned axes are in files."""
        rest = replace(task, streamed={})
        key = (self.token, run)
        try:
            # What could not be read for one frame is not waited for again.
            values = read_values(task, 0 if key in _UNREADABLE else deadline, wait_for_writer=not self.is_called_again)
        except StillOpenError as error:
            # Its files are written when the values are known.
            result = self(rest, None, deadline, run)
            files = _NO_FILES if named_after is None else WrittenFiles((), str(error))
            return replace(result, files=files, coordinates=dict.fromkeys(task.streamed, str(error)), waits=True)
        if any(isinstance(value, str) for value in values.values()):
            _add(_UNREADABLE, key)
        return replace(self(rest, named_after, deadline, run), coordinates=values)

    def _contradictions(self, header: PilatusHeader, path: str) -> str:
        found = "; ".join(differences(self.calibration, header))
        return f"{self.calibration.where} contradicts the header of {path}: {found}" if found else ""

    def describe(self, task: FrameTask, *_: object) -> str:
        """What a call is about, for people who wait for it."""
        path = task.reference.path if task.reference is not None else ""
        return path or f"frame {task.index} of {task.detector}"

    def _write(
        self,
        files: CurveFiles,
        named_after: Path,
        image: Image,
        curves: Sequence[Curve],
        task: FrameTask,
        stamp: int | None,
        run: str,
    ) -> WrittenFiles:
        written: list[str] = []
        try:
            if is_retry():
                files.clean_up(named_after, [curve.name for curve in curves])
            provenance = self._provenance(task, named_after, stamp, run)
            check = partial(_check_place, task)
            paths = files.write(named_after, image, curves, self.calibration, provenance, check)
            written.extend(str(chi) for chi in paths)
        except SupersededError:
            raise
        # The curves are good all the same, and go their other ways.
        except Exception as error:  # noqa: BLE001
            return WrittenFiles(tuple(written), reason_of(error))
        return WrittenFiles(tuple(written))

    def _provenance(self, task: FrameTask, named_after: Path, stamp: int | None, run: str) -> CurveProvenance:
        """What the frame's files tell of it."""
        common = (self.reducer or _reducer(self)).provenance
        file = task.reference.path if task.reference is not None else ""
        if not file:
            return replace(common, frame=task.index, run=run)
        # In the folder of what its curves are named after, which is absolute; a worker may be in another.
        name = os.path.basename(file)  # noqa: PTH119 - for each frame
        image = named_after if named_after.name == name else named_after.with_name(name)
        frame = None if image is named_after else _number_in_file(task)
        return replace(common, image=str(image), image_stamp=stamp, frame=frame)


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


def _number_in_file(task: FrameTask) -> int:
    """Number of a frame in its file, or in its stream where the reference does not tell."""
    if isinstance(task.reference, TiffFrame):
        return task.reference.page
    number = getattr(task.reference, "index", None)
    return number if isinstance(number, int) else task.index


def _reason_with_path(path: str, error: Exception) -> str:
    text = reason_of(error)
    return text if path in text or not isinstance(error, SaxsError) else f"{path}: {text}"


_MOST_REMEMBERED = 1000
# Of which runs and detectors this process has compared an image with the calibration.
_COMPARED: set[tuple[str, ...]] = set()
# In which runs an axis could not be read.
_UNREADABLE: set[tuple[str, ...]] = set()


def _add(known: set[tuple[str, ...]], key: tuple[str, ...]) -> None:
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known.add(key)


@lru_cache(maxsize=8)
def _reducer(job: FrameJob) -> Reducer:
    return Reducer(job.calibration, extra_integrators=job.extra_integrators, deviation=job.deviation)
