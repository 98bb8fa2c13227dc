"""What an HDF5 file tells of the detector that wrote it, as NeXus and DECTRIS name it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import h5py
import numpy as np

from saxs_bluesky.documents._hdf5_file import read_file
from saxs_bluesky.errors import StillOpenError
from saxs_bluesky.reduction import PilatusHeader, Stamp, stamp_of
from saxs_bluesky.support.latest import keep_latest

# Below the group of a detector: NeXus's; DECTRIS's, and where it was before their firmware 1.5.
_LARGEST_VALID = (
    "saturation_value",
    "detectorSpecific/countrate_correction_count_cutoff",
    "detectorSpecific/detectorModule_000/countrate_correction_count_cutoff",
)
_WAVELENGTHS = ("instrument/beam/incident_wavelength", "sample/beam/incident_wavelength", "beam/incident_wavelength")
_DISTANCES = ("detector_distance", "distance")
_LENGTHS = {  # in mm
    "m": 1e3, "meter": 1e3, "metre": 1e3, "cm": 10.0, "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0,
    "um": 1e-3, "micron": 1e-3, "micrometer": 1e-3, "micrometre": 1e-3,
    "nm": 1e-6, "nanometer": 1e-6, "nanometre": 1e-6, "a": 1e-7, "angstrom": 1e-7,
}  # fmt: skip
_DATA_FILE = re.compile(r"(?P<series>.+)_data_\d+(?P<suffix>\.\w+)")
_MOST_KNOWN = 64


class FileDetector(NamedTuple):
    """What a file says of its detector; None where it does not."""

    count_cutoff: float | None = None
    header: PilatusHeader | None = None


class Detectors:
    """What HDF5 files tell, remembered as long as a file stays as it is: to look takes as long as to open it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, Stamp], FileDetector] = {}
        self._lock = Lock()

    def of(self, file: h5py.File, path: str, dataset: str) -> FileDetector:
        """What the file tells of the detector of a dataset.

        ``count_cutoff`` is the count from which on a pixel is not valid. NeXus's ``saturation_value`` is the largest
        *valid* count (NXdetector: "the valid pixels are those less than or equal to the saturation_value"), and so is
        DECTRIS's ``countrate_correction_count_cutoff``, the end of the range in which the correction of count rates
        holds: the cutoff is one more. Where both are, the lower one counts; 0 and less mean that it was not set.

        ``header`` has the wavelength, the distance, the size of pixels and the beam centre, under the names that
        a Pilatus gives them; a beam centre in the middle of the detector is DECTRIS's default, and so not known.

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
        told = self._told(file, path, dataset, stamp_of(os.fstat(file.id.get_vfd_handle())))
        if None in told and (match := _DATA_FILE.fullmatch(Path(path).name)):
            master = Path(path).with_name(f"{match['series']}_master{match['suffix']}")
            try:
                other = self._told(None, str(master), dataset, stamp_of(master.stat()))
            except (OSError, StillOpenError):  # there is none, or none yet
                return told
            told = FileDetector(
                other.count_cutoff if told.count_cutoff is None else told.count_cutoff, told.header or other.header
            )
        return told

    def _told(self, file: h5py.File | None, path: str, dataset: str, stamp: Stamp) -> FileDetector:
        key = (path, dataset, stamp)
        with self._lock:
            if key in self._known:
                return self._known[key]
        told = read_file(path, partial(_read, dataset=dataset)) if file is None else _read(file, dataset)
        with self._lock:
            keep_latest(self._known, key, told, _MOST_KNOWN)
        return told


def _read(file: h5py.File, dataset: str) -> FileDetector:
    groups = list(_above(file, dataset))
    detectors = [detector for group in groups for detector in _detectors(file, dataset, group)]
    cutoffs = ([_number(detector, name) for name in _LARGEST_VALID] for detector in detectors)
    largest = next((min(filter(None, values)) for values in cutoffs if any(values)), None)
    shape = tuple(getattr(_item(file, dataset), "shape", ()))[-2:]
    geometry = next(filter(None, (_geometry(detector, shape) for detector in detectors)), {})
    wavelengths = (_length(group, name, "angstrom") for group in groups for name in _WAVELENGTHS)
    wavelength = next(filter(None, wavelengths), None)
    if wavelength is not None:
        geometry["wavelength"] = wavelength * 1e6  # nm
    return FileDetector(
        None if largest is None else math.floor(largest) + 1.0, PilatusHeader(**geometry) if geometry else None
    )


def _geometry(detector: h5py.Group, shape: tuple[int, ...]) -> dict[str, Any]:
    """What a detector's group says of where it is, as fields of a header."""
    found: dict[str, Any] = {}
    sizes = [_length(detector, name, "m") for name in ("y_pixel_size", "x_pixel_size")]
    if None not in sizes:
        found["pixel_size"] = tuple(sizes)
    entries: dict[str, str] = {}
    distance = next(filter(None, (_length(detector, name, "m") for name in _DISTANCES)), None)
    if distance is not None:
        entries["Detector_distance"] = f"{distance!r} mm"
    x, y = (_pixels(detector, name) for name in ("beam_center_x", "beam_center_y"))
    if x is not None and y is not None and (y, x) != tuple(0.5 * n for n in shape):
        entries["Beam_xy"] = f"({x!r}, {y!r}) pixels"
    if entries:
        found["entries"] = entries
    return found


def _above(file: h5py.File, dataset: str) -> Iterator[h5py.Group]:
    """Groups that a dataset is in, the nearest first."""
    names = [name for name in dataset.split("/") if name][:-1]
    for depth in range(len(names), -1, -1):
        group = _item(file, "/" + "/".join(names[:depth]))
        if isinstance(group, h5py.Group):
            yield group


def _detectors(file: h5py.File, dataset: str, group: h5py.Group) -> Iterator[h5py.Group]:
    """Groups that may be the detector's: one above the data, and in its instrument the only one or the data's own."""
    yield group
    instrument = _item(group, "instrument")
    if not isinstance(instrument, h5py.Group):
        return
    found = [
        item
        for name in instrument
        if isinstance(item := _item(instrument, name), h5py.Group)
        and (name == "detector" or item.attrs.get("NX_class") in ("NXdetector", b"NXdetector"))
    ]
    if len(found) > 1:
        data = _item(file, dataset)
        found = [detector for detector in found if _item(detector, "data") == data]
    if len(found) == 1:
        yield found[0]


def _length(group: h5py.Group, name: str, default: str) -> float | None:
    """A length in mm; None where it is not known, or in a unit that is none."""
    value, unit = _number(group, name), _unit(group, name) or default
    factor = _LENGTHS.get(unit)
    return None if value is None or factor is None else value * factor


def _pixels(group: h5py.Group, name: str) -> float | None:
    value, unit = _number(group, name), _unit(group, name)
    return value if unit in ("", "pixel", "px") else None


def _unit(group: h5py.Group, name: str) -> str:
    """Unit of a value: in small letters, in the singular."""
    units = _item(group, name).attrs.get("units", "") if _number(group, name) is not None else ""
    text = units.decode("utf-8", "replace") if isinstance(units, bytes) else str(units)
    text = text.strip().lower().replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    text = text.replace("\u00e5", "a")
    return text.rstrip("s") if len(text) > 2 else text


def _number(group: h5py.Group, name: str) -> float | None:
    """A value above 0; None where there is none, or not just one."""
    item = _item(group, name)
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or not 0 < (item.size or 0) < 1000:
        return None
    values = np.unique(np.asarray(item[()], np.float64))
    # Different ones for the frames or thresholds of a file do not say which counts.
    return float(values[0]) if values.size == 1 and 0 < values[0] < math.inf else None


def _item(group: h5py.Group, name: str) -> Any:
    """What a group has under a name; None also where that is a link to nowhere, or cannot be read."""
    try:
        return group[name]
    except (KeyError, OSError, RuntimeError):  # the last of what is half written
        return None
