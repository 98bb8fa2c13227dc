"""Where a simulated detector puts its frames, and the documents that say so."""

from __future__ import annotations

import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from event_model import ComposeDatum, compose_resource
from numpy.typing import NDArray

from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.errors import OutputError, system_reason
from saxs_bluesky.reduction import PilatusHeader, write_frame

DATASET = "/entry/data/data"
"""Where the handlers of spec ``AD_HDF5`` look for the frames (area-detector-handlers, handlers.py)."""

_TIFF_TEMPLATE = "%s%s_%06d.tif"


class TiffFiles:
    """One Pilatus TIFF a frame: ``<folder>/<filename>_000000.tif``, as spec ``AD_TIFF`` wants them."""

    spec = "AD_TIFF"

    def __init__(self, folder: Path, filename: str) -> None:
        #: Path as the resource document gives it: that of a folder ends in ``/``.
        self.path = f"{folder}/"
        #: Arguments of the spec's handler, besides the path and the number of frames per point.
        self.arguments: dict[str, Any] = {"template": _TIFF_TEMPLATE, "filename": filename}

    def write(self, index: int, image: NDArray[np.int32], header: PilatusHeader) -> None:
        """Write a file of its own for the frame.

        Raises
        ------
        OutputError
            The folder is gone or full, or the file is there already.
        """
        path = Path(_TIFF_TEMPLATE % (self.path, self.arguments["filename"], index))
        if path.exists():
            raise OutputError(f"{path}: wanted a new file for a frame, found one there")
        try:
            write_frame(path, image, header)
        except OSError as error:
            raise OutputError(f"{path}: wanted to write a frame, found {system_reason(error)}") from error

    def close(self) -> None:
        """Nothing is open between frames."""


class Hdf5File:
    """All frames in one HDF5 file, as spec ``AD_HDF5`` wants them, readable in SWMR mode while it grows."""

    spec = "AD_HDF5"

    def __init__(self, folder: Path, filename: str) -> None:
        self._path = folder / f"{filename}.h5"
        self._file: h5py.File | None = None
        #: Path as the resource document gives it.
        self.path = str(self._path)
        #: Arguments of the spec's handler: none, the dataset's name belongs to the spec.
        self.arguments: dict[str, Any] = {}

    def write(self, index: int, image: NDArray[np.int32], header: PilatusHeader) -> None:  # noqa: ARG002 (no place in this spec)
        """Add the frame to the dataset and flush it to the readers.

        Raises
        ------
        OutputError
            The file cannot be made or written, is there already, or was deleted meanwhile.
        """
        try:
            if self._file is None:
                self._file = self._create(image.shape)
            elif not self._path.exists():  # an open file can be written when nobody can find it any more
                raise OutputError(f"{self._path}: wanted to write a frame, found the file deleted")
            dataset = self._file[DATASET]
            dataset.resize(index + 1, axis=0)
            dataset[index] = image
            dataset.flush()
        except OSError as error:
            raise OutputError(f"{self._path}: wanted to write a frame, found {system_reason(error)}") from error

    def _create(self, shape: tuple[int, ...]) -> h5py.File:
        file = h5py.File(self._path, "x", libver="latest")
        file.create_dataset(DATASET, shape=(0, *shape), maxshape=(None, *shape), chunks=(1, *shape), dtype="<i4")
        file["entry"].attrs.update({"NX_class": "NXentry", "default": "data"})
        file["entry/data"].attrs.update({"NX_class": "NXdata", "signal": "data"})
        file.swmr_mode = True
        return file

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None


_FORMATS: dict[str, type[TiffFiles | Hdf5File]] = {"tif": TiffFiles, "hdf5": Hdf5File}

FILE_FORMATS = tuple(_FORMATS)
"""What a `Recording` can write."""


class Recording:
    """The frames from one stage() or kickoff() on, point by point, with their resource and datum documents.

    The resource is announced with the first point, and no file is made before.

    Parameters
    ----------
    folder
        Where to; it must exist.
    name
        What the names of the files begin with; time and a random part make them unique.
    file_format
        One of `FILE_FORMATS`.
    frames_per_point
        Frames that one event holds.
    """

    def __init__(self, folder: Path, name: str, file_format: str, frames_per_point: int) -> None:
        filename = f"{name}_{datetime.now(UTC):%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:8]}"
        self._files = _FORMATS[file_format](folder, filename)
        self.frames_per_point = frames_per_point
        self._next_point = 0
        self._compose_datum: ComposeDatum | None = None

    def begin_point(self) -> int:
        """Number of the next point; a point that fails keeps its number."""
        point, self._next_point = self._next_point, self._next_point + 1
        return point

    def write(self, point: int, frame: int, image: NDArray[np.int32], header: PilatusHeader) -> None:
        """Write one frame of a point; OutputError where that fails."""
        self._files.write(point * self.frames_per_point + frame, image, header)

    def documents(self, point: int) -> list[NamedDocument]:
        """Documents of a point whose frames are written: the datum, before the first one the resource."""
        documents: list[NamedDocument] = []
        if self._compose_datum is None:
            resource = compose_resource(
                spec=self._files.spec,
                root="/",
                resource_path=self._files.path.removeprefix("/"),
                resource_kwargs={**self._files.arguments, "frame_per_point": self.frames_per_point},
            )
            self._compose_datum = resource.compose_datum
            documents.append(("resource", dict(resource.resource_doc)))
        documents.append(("datum", dict(self._compose_datum(datum_kwargs={"point_number": point}))))
        return documents

    def close(self) -> None:
        """No frame comes any more."""
        self._files.close()


def writable_folder(folder: Path) -> None:
    """Make the folder if need be.

    Raises
    ------
    OutputError
        It cannot be made, or no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: wanted a folder to write frames to, found {system_reason(error)}") from error
