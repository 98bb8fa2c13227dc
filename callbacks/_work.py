"""The work on one frame, here or in another process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

from saxs_bluesky.documents import FrameTask, load
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import Calibration, Curve, Integrator, Reducer

Result = list[Curve] | str
"""The curves of a frame, or why there are none."""


@dataclass(frozen=True)
class RemoteWork:
    """What another process needs to reduce frames: small, since it travels with each of them.

    A process builds the operators once, for the first frame that brings the ``token``.
    """

    calibration: Calibration = field(compare=False)
    recipes: tuple[Integrator, ...] = field(compare=False)
    deviation: bool = field(compare=False)
    token: str = field(default_factory=lambda: str(uuid4()))

    def __call__(self, task: FrameTask, deadline: float) -> Result:
        """Read and reduce one frame."""
        return reduce_task(_reducer(self), task, deadline)


@lru_cache(maxsize=8)
def _reducer(work: RemoteWork) -> Reducer:
    return Reducer(work.calibration, recipes=work.recipes, deviation=work.deviation)


def reduce_task(reducer: Reducer, task: FrameTask, deadline: float) -> Result:
    """Read and reduce one frame; whatever goes wrong becomes the text that the reduced run records.

    Parameters
    ----------
    reducer
        What makes the curves.
    task
        Which frame.
    deadline
        Until when to wait for a file that is not whole, in seconds of ``time.time()``.
    """
    if task.reference is None:
        return task.failure
    try:
        frame = load(task.reference, deadline)
        return reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
    except SaxsError as error:
        return str(error)
    # A fault of a user's recipe costs its frame and not the run.
    except Exception as error:  # noqa: BLE001
        return f"unexpected {type(error).__name__}: {error}"
