"""The work on one frame, wherever it is done: read it, reduce it, write its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from saxs_bluesky.documents import FrameTask, Result, WrittenFiles, load
from saxs_bluesky.errors import SaxsError, reason_of
from saxs_bluesky.outputs import CurveFiles
from saxs_bluesky.reduction import Calibration, Curve, IntegralParameters, Integrator, Reducer
from saxs_bluesky.reduction._types import FloatArray, Image
from saxs_bluesky.workers import is_retry


class _Values(NamedTuple):
    """What of a curve changes from frame to frame: all that travels back."""

    intensity: FloatArray
    sigma: FloatArray
    deviation: FloatArray | None
    integral: IntegralParameters


@dataclass(frozen=True)
class FrameOutcome:
    """What became of a frame, small enough to travel between processes.

    Parameters
    ----------
    failure
        Why there are no curves; empty where there are.
    files
        What was written.
    """

    failure: str = ""
    files: WrittenFiles = WrittenFiles()  # noqa: RUF009 - it is frozen
    _values: tuple[_Values, ...] = ()

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
class FrameWork:
    """Reads and reduces frames and writes their curves: what an executor calls, and takes to its workers.

    A process builds the operators once, for the first frame that brings the ``token``; the object that was made with a
    ``reducer`` uses that one.

    Parameters
    ----------
    calibration, recipes, deviation
        As for `Reducer`.
    files
        What to write of each frame; None: nothing.
    """

    calibration: Calibration = field(compare=False)
    recipes: tuple[Integrator, ...] = field(default=(), compare=False)
    deviation: bool = field(default=False, compare=False)
    files: CurveFiles | None = field(default=None, compare=False)
    token: str = field(default_factory=lambda: str(uuid4()))
    reducer: Reducer | None = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the operators, which are large."""
        return self.__dict__ | {"reducer": None}

    def __call__(self, task: FrameTask, image: Path | None, deadline: float) -> FrameOutcome:
        """Do the work on one frame; whatever goes wrong becomes a text in the outcome.

        Parameters
        ----------
        task
            Which frame.
        image
            After which its files are named; None: none are written.
        deadline
            Until when to wait for a file that is not whole, in seconds of ``time.time()``.
        """
        if task.reference is None or task.failure:
            return FrameOutcome(task.failure)
        reducer = self.reducer or _reducer(self)
        try:
            frame = load(task.reference, deadline)
            curves = reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
        # Beside errors of files: a fault of a user's recipe costs its frame and not the run.
        except Exception as error:  # noqa: BLE001
            return FrameOutcome(_told_with(task.reference.path, error))
        values = tuple(_Values(one.intensity, one.sigma, one.deviation, one.integral) for one in curves)
        return FrameOutcome("", self._write(image, frame.image, curves), values)

    def _write(self, path: Path | None, image: Image, curves: Sequence[Curve]) -> WrittenFiles:
        if self.files is None or path is None:
            return WrittenFiles()
        written: list[str] = []
        try:
            if is_retry():
                self.files.clean_up(path, [curve.name for curve in curves])
            written.extend(str(chi) for chi in self.files.write(path, image, curves, self.calibration))
        # The curves are good all the same, and go their other ways.
        except Exception as error:  # noqa: BLE001
            return WrittenFiles(tuple(written), reason_of(error))
        return WrittenFiles(tuple(written))


def _told_with(path: str, error: Exception) -> str:
    text = reason_of(error)
    return text if path in text or not isinstance(error, SaxsError) else f"{path}: {text}"


@lru_cache(maxsize=8)
def _reducer(work: FrameWork) -> Reducer:
    return Reducer(work.calibration, recipes=work.recipes, deviation=work.deviation)
