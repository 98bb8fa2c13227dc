"""The work on one frame in another process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

from saxs_bluesky.documents import FrameTask, Result, reduce_task
from saxs_bluesky.reduction import Calibration, Integrator, Reducer


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
