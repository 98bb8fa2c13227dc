"""Files of small frames."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from saxs_bluesky.reduction import PilatusHeader, write_frame

HEADER = PilatusHeader(entries={"Exposure_time": "1.0 s", "Count_cutoff": "1000 counts"})


PILATUS_HEADER = PilatusHeader(
    date_time="2014:01:31 12:26:52",
    model="PILATUS3 1M, S/N 10-0120",
    entries={"Exposure_time": "2.5 s", "Exposure_period": "3.0 s", "Wavelength": "1.54 A"},
)


def write(path: Path, value: int = 1, shape: tuple[int, int] = (6, 8)) -> Path:
    """Write an image of one value, under its name at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, np.full(shape, value), PILATUS_HEADER)
    return path


def content(value: int = 1, shape: tuple[int, int] = (6, 8)) -> bytes:
    """The bytes of such a file."""
    with tempfile.TemporaryDirectory() as scratch:
        return write(Path(scratch, "a.tif"), value, shape).read_bytes()
