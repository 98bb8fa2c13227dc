"""The cutoff of counts that a detector's own HDF5 file tells."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np

from saxs_bluesky.reduction import Stamp, stamp_of

# Below the group of a detector: NeXus's; DECTRIS's, and where it was before their firmware 1.5.
_LARGEST_VALID = (
    "saturation_value",
    "detectorSpecific/countrate_correction_count_cutoff",
    "detectorSpecific/detectorModule_000/countrate_correction_count_cutoff",
)
_DATA_FILE = re.compile(r"(?P<series>.+)_data_\d+(?P<suffix>\.\w+)")
_MOST_KNOWN = 64


class Cutoffs:
    """Cutoffs of HDF5 files, remembered as long as a file stays as it is: to look takes as long as to open it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, Stamp], float | None] = {}
        self._lock = Lock()

    def of(self, file: h5py.File, path: str, dataset: str) -> float | None:
        """Counts from which on a pixel is not valid; None where the file does not say.

        NeXus's ``saturation_value`` is the largest *valid* count (NXdetector: "the valid pixels are those less than
        or equal to the saturation_value"), and so is DECTRIS's ``countrate_correction_count_cutoff``, the end of the
        range in which the correction of count rates holds. What this returns is one more. Where both are, the lower
        one counts; 0 and less mean that it was not set.

        They are looked for in the groups above the dataset, and in the detector of the nearest ``instrument``; for a
        data file of a DECTRIS detector (``x_data_000001.h5``), in the master file beside it (``x_master.h5``) too.

        Parameters
        ----------
        file
            It, open for reading.
        path
            Where it is.
        dataset
            That of the frames.
        """
        largest = self._largest(file, path, dataset, stamp_of(os.fstat(file.id.get_vfd_handle())))
        if largest is None and (match := _DATA_FILE.fullmatch(Path(path).name)):
            master = Path(path).with_name(f"{match['series']}_master{match['suffix']}")
            try:
                largest = self._largest(None, str(master), dataset, stamp_of(master.stat()))
            except OSError:  # there is none
                return None
        return None if largest is None else math.floor(largest) + 1.0

    def _largest(self, file: h5py.File | None, path: str, dataset: str, stamp: Stamp) -> float | None:
        key = (path, dataset, stamp)
        with self._lock:
            if key in self._known:
                return self._known[key]
        if file is None:
            with h5py.File(path, "r", swmr=True, libver="latest", locking=False) as other:
                largest = _largest_valid(other, dataset)
        else:
            largest = _largest_valid(file, dataset)
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = largest
        return largest


def _largest_valid(file: h5py.File, dataset: str) -> float | None:
    for detector in _detectors(file, dataset):
        told = [value for name in _LARGEST_VALID if (value := _number(detector, name)) is not None]
        if told:
            return min(told)
    return None


def _detectors(file: h5py.File, dataset: str) -> Iterator[h5py.Group]:
    """Groups that may be that of the detector, the nearest first."""
    above = [name for name in dataset.split("/") if name][:-1]
    for depth in range(len(above), -1, -1):
        group = _item(file, "/" + "/".join(above[:depth]))
        if not isinstance(group, h5py.Group):
            continue
        yield group
        instrument = _item(group, "instrument")
        if isinstance(instrument, h5py.Group):
            yield from _of_instrument(instrument, _item(file, dataset))


def _of_instrument(instrument: h5py.Group, data: Any) -> Iterator[h5py.Group]:
    """The detector of an instrument: the only one, or the one that has the dataset too."""
    found = [
        item
        for name in instrument
        if isinstance(item := _item(instrument, name), h5py.Group)
        and (name == "detector" or item.attrs.get("NX_class") in ("NXdetector", b"NXdetector"))
    ]
    if len(found) > 1:
        found = [detector for detector in found if _item(detector, "data") == data]
    if len(found) == 1:
        yield found[0]


def _number(group: h5py.Group, name: str) -> float | None:
    item = _item(group, name)
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or not 0 < (item.size or 0) < 1000:
        return None
    values = np.unique(np.asarray(item[()], np.float64))
    # Different ones for the frames or thresholds of a file do not say which counts.
    return float(values[0]) if values.size == 1 and 0 < values[0] < math.inf else None


def _item(group: h5py.Group, name: str) -> Any:
    """What a group has under a name; None also where that is a link to nowhere."""
    try:
        return group[name]
    except (KeyError, OSError):
        return None
