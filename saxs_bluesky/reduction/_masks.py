"""Reading masks of many formats into one orientation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import fabio
import h5py
import numpy as np

from saxs_bluesky.errors import MaskError
from saxs_bluesky.reduction._bounded_masks import read_bounded
from saxs_bluesky.reduction._types import BoolImage

_HDF5_SUFFIXES = {".h5", ".hdf5", ".hdf", ".nxs"}


def read_mask(source: str | Path | bytes, filename: str = "", limit: int | None = None) -> BoolImage:
    """Read a mask.

    Formats: Fit2D ``.msk`` (stored bottom row first, turned here), NumPy ``.npy``, HDF5 (with
    ``FILE::/dataset``, or the only two-dimensional dataset of the file), and whatever image fabio
    reads: TIFF, EDF and others. Non-zero means masked.

    Parameters
    ----------
    source
        Path of the mask, or its bytes.
    filename
        With bytes: the name that tells the format by its suffix.
    limit
        For a mask that may be hostile: the most pixels that it may have. Its format is then told by
        its content, and must be one of Fit2D, TIFF, EDF, NumPy and HDF5; whatever it claims to be, the memory
        that reading it takes is bounded by this and by its own size.

    Returns
    -------
    True where a pixel is masked, shape (rows, columns), row 0 at the top of the image.

    Raises
    ------
    MaskError
        The file is absent, unreadable, or holds no two-dimensional image.
    """
    if isinstance(source, bytes):
        if limit is not None:
            return read_bounded(source, filename or "mask", limit)
        path, _, dataset = filename.partition("::")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"mask{Path(path).suffix}"
            copy.write_bytes(source)
            return _read(copy, dataset, filename or "mask")
    path, _, dataset = str(source).partition("::")
    if limit is not None:
        try:
            return read_bounded(Path(path).read_bytes(), str(source), limit)
        except OSError as error:
            raise MaskError(f"{source}: wanted a mask file, found {error.strerror or error}") from error
    return _read(Path(path), dataset, str(source))


def _read(path: Path, dataset: str, where: str) -> BoolImage:
    if not path.is_file():
        raise MaskError(f"{where}: wanted a mask file, found {'a folder' if path.is_dir() else 'nothing there'}")
    if path.stat().st_size == 0:
        raise MaskError(f"{where}: wanted a mask, found an empty file")
    suffix = path.suffix.lower()
    try:
        if suffix in _HDF5_SUFFIXES:
            values = _read_hdf5(path, dataset, where)
        elif suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with fabio.open(str(path)) as image:
                values = np.array(image.data)
    except MaskError:
        raise
    # Each reader has its own ways to fail on a file that is not what its name says.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MaskError(f"{where}: wanted a mask image, found an unreadable file ({reason})") from error
    if values.ndim != 2:
        raise MaskError(f"{where}: wanted a mask of shape (rows, columns), found shape {values.shape}")
    masked: BoolImage = values != 0
    return np.flipud(masked) if suffix == ".msk" else masked


def _read_hdf5(path: Path, dataset: str, where: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    with h5py.File(path, "r") as file:
        if dataset:
            if not isinstance(file.get(dataset), h5py.Dataset):
                raise MaskError(f"{where}: wanted a dataset {dataset}, found none of that name")
            return np.asarray(file[dataset][()])
        found: list[str] = []

        def note_image(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset) and item.ndim == 2:
                found.append(name)

        file.visititems(note_image)
        if len(found) != 1:
            listed = ", ".join(found) or "none"
            raise MaskError(f"{where}: wanted one two-dimensional dataset, found {listed}; name it as FILE::/dataset")
        return np.asarray(file[found[0]][()])
