"""Rows and columns of the images in a file of any kind."""

from __future__ import annotations

from pathlib import Path

import fabio
import h5py

from saxs_bluesky.errors import FrameError, system_reason
from saxs_bluesky.reduction.formats._bounded_masks import format_of, is_hdf5
from saxs_bluesky.reduction.formats._unreadable import unreadable_as
from saxs_bluesky.reduction.formats.frames import read_header

_HEAD_BYTES = 4096


def image_shape(source: str | Path) -> tuple[int, int]:
    """Rows and columns of the images in a file: TIFF, HDF5, or what else fabio reads (EDF, CBF).

    Parameters
    ----------
    source
        Where it is. In an HDF5 file all stacks of images must have the same shape, or one is named as in
        ``FILE::/entry/data/data``.

    Returns
    -------
    Rows and columns.

    Raises
    ------
    FrameError
        It is absent, unreadable, or holds no image.
    """
    name, _, dataset = str(source).partition("::")
    path = Path(name)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise FrameError(f"{path}: wanted an image, found {system_reason(error)}") from error
    if format_of(head) == "TIFF":
        return read_header(path).shape
    with unreadable_as(FrameError, f"{source}: wanted an image"):
        shape = _of_hdf5(path, dataset, str(source)) if is_hdf5(head) else _of_fabio(path)
    if len(shape) != 2 or min(shape) < 1:
        raise FrameError(f"{source}: wanted an image of shape (rows, columns), found shape {shape}")
    return shape[0], shape[1]


def _of_fabio(path: Path) -> tuple[int, ...]:
    with fabio.open(str(path)) as image:
        return tuple(int(n) for n in image.shape)


def _of_hdf5(path: Path, dataset: str, where: str) -> tuple[int, ...]:
    with h5py.File(path, "r", locking=False) as file:
        if dataset:
            if not isinstance(file.get(dataset), h5py.Dataset):
                raise FrameError(f"{where}: wanted a dataset {dataset}, found none of that name")
            return tuple(file[dataset].shape[-2:])
        shapes: dict[tuple[int, ...], str] = {}

        def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and len(item.shape or ()) >= 2:
                shape = tuple(item.shape[-2:])
                if min(shape) > 1:
                    shapes.setdefault(shape, name)

        file.visititems(note)
    if len(shapes) != 1:
        listed = ", ".join(f"{name} {shape}" for shape, name in list(shapes.items())[:10]) or "none"
        raise FrameError(f"{where}: wanted images of one shape, found {listed}; name a dataset as FILE::/dataset")
    return next(iter(shapes))
