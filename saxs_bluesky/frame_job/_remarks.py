"""What a user should know of frames that are reduced, told once a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from saxs_bluesky.documents import FrameResult, FrameTask

_log = logging.getLogger(__name__)


def warn(remarks: Iterable[str]) -> None:
    """Put what a user should know of a calibration into the log."""
    for remark in remarks:
        _log.warning("%s", remark)


class FrameRemarks:
    """Puts into the log, once a run, how images contradict the calibration and which axis cannot be read."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def tell(self, run_uid: str, task: FrameTask, result: FrameResult) -> None:
        """Tell what is new of a frame.

        Parameters
        ----------
        run_uid
            Unique id of the raw run.
        task, result
            The frame, and what came of it.
        """
        # Each worker finds it in a run's first images.
        if result.remark and self._is_new(run_uid, task.detector):
            warn([result.remark])
        for key, value in result.coordinates.items():
            if isinstance(value, str) and self._is_new(run_uid, key):
                _log.warning("run %s: frames are reduced without %s: %s", run_uid, key, value)

    def _is_new(self, run_uid: str, what: str) -> bool:
        if (run_uid, what) in self._told:
            return False
        self._told.add((run_uid, what))
        return True
