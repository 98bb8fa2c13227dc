"""A handler as a beamline's own package has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class RawBytes:
    """Images of 60 x 80 numbers of 32 bits that follow each other in a file."""

    specs = frozenset({"RAW_BYTES"})

    def __init__(self, path: str, frame_per_point: int = 1) -> None:
        self._path = Path(path)
        self._frames = frame_per_point

    def __call__(self, *, point_number: int) -> Any:
        stack = np.frombuffer(self._path.read_bytes(), np.int32).reshape(-1, 60, 80)
        return stack[point_number * self._frames : (point_number + 1) * self._frames]
