"""Values of scanned axes that a detector or controller streams into a file of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from saxs_bluesky.documents._hdf5_file import dataset_of, is_open, not_yet, read_file
from saxs_bluesky.errors import StillOpenError, reason_of

if TYPE_CHECKING:
    from saxs_bluesky.documents._frame_task import FrameTask

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2  # seconds between looks at a file that is not ready


@dataclass(frozen=True)
class StreamedValue:
    """A number in a dataset of an HDF5 file, which may still be written to.

    Parameters
    ----------
    path, dataset
        Where it is.
    index
        Which one, from 0.
    """

    path: str
    dataset: str
    index: int

    def read(self) -> float:
        """Read it as the file is now.

        Raises
        ------
        StillOpenError
            It can be read when the file is closed.
        FrameError
            It is not there, or not yet.
        """
        return read_file(self.path, self._read)

    def _read(self, file: h5py.File) -> float:
        data = dataset_of(file, self.path, self.dataset)
        values = data.shape[0] if data.ndim and math.prod(data.shape[1:]) == 1 else 0
        if self.index >= values:
            text = f"{self.path}: wanted value {self.index} in {self.dataset}, found shape {data.shape}"
            raise not_yet(self.path, text)
        return float(np.asarray(data[self.index]).reshape(()))


def read_values(task: FrameTask, deadline: float, *, wait_for_writer: bool = True) -> dict[str, float | str]:
    """Values of the axes that are streamed, by data key; or why one cannot be read.

    Parameters
    ----------
    task
        The frame that they belong to.
    deadline
        Until when to try again, in seconds of ``time.time()``.
    wait_for_writer
        Whether that holds for a file too of which nothing can be read before its writer closes it.

    Raises
    ------
    StillOpenError
        One can be read when its file is closed.
    """
    return {
        key: place if isinstance(place, str) else _read(place, deadline, wait_for_writer=wait_for_writer)
        for key, place in task.streamed.items()
    }


def _read(place: StreamedValue, deadline: float, *, wait_for_writer: bool) -> float | str:
    pause = _FIRST_PAUSE
    while True:
        try:
            return place.read()
        except StillOpenError as error:
            if not wait_for_writer and is_open(place.path, error):
                raise
            reason = reason_of(error)
        # A file that is half written fails in as many ways as there are readers; it costs a value, not the frame.
        except Exception as error:  # noqa: BLE001
            reason = reason_of(error)
        if time.time() + pause > deadline:
            return reason if place.path in reason else f"{place.path}: {reason}"
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def values_read(values: Mapping[str, float | str]) -> dict[str, float]:
    """Those that could be read."""
    return {key: value for key, value in values.items() if not isinstance(value, str)}
