"""HDF5 file of a merge: the table, the curves and the images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from saxs_bluesky.errors import FrameError, system_reason
from saxs_bluesky.merge._cell_texts import with_plain_texts
from saxs_bluesky.merge._curve_files import JSON_KIND, ImageFinder, by_kind, file_id
from saxs_bluesky.reduction import read_frame
from saxs_bluesky.support.output_folders import path_of_open


@dataclass(frozen=True)
class HdfContents:
    """What an HDF5 file holds beside the table.

    Parameters
    ----------
    ids
        Of the images, by their paths: as they stand in the rows of the table.
    curves
        Files of curves to include, as bytes.
    frames
        Files of images to include, as pixels.
    """

    ids: Mapping[Path, str] = field(default_factory=dict)
    curves: Sequence[Path] = ()
    frames: Sequence[Path] = ()


def write_hdf(
    file: BinaryIO, table: pd.DataFrame, contents: HdfContents, check: Callable[[], None] = lambda: None
) -> list[str]:
    """Write a table with curves and images, to be read with ``pandas.HDFStore``.

    The table is ``LogData``; the content of a curve's file is ``/Graphs/<kind>/<id>/CHI`` (``JSON`` for that of a JSON
    file), where the id is that of the curve's image, and the title of its group the path of the file; the pixels of an
    image are ``/Images/<id>``, as ``int32`` if they are whole numbers.

    Parameters
    ----------
    file
        Where to.
    table
        The merged table.
    contents
        What else.
    check
        Called before each curve and image; what it raises ends the writing.

    Returns
    -------
    What is left out, or stands under another id than that of its image, each one sentence.
    """
    remarks: list[str] = []
    # Groups may have more children than PyTables finds wise.
    with pd.HDFStore(path_of_open(file), "w", max_group_width=2**31) as store:
        with warnings.catch_warnings():
            # Texts are pickled: there is no other way in the fixed format where some are missing.
            warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
            store.put("LogData", with_plain_texts(table), format="fixed", track_times=False)
        handle = store._handle  # noqa: SLF001 - pandas has no other door to PyTables
        remarks += _write_curves(handle, contents, check)
        remarks += _write_frames(handle, contents, check)
    return remarks


def _write_curves(handle: Any, contents: HdfContents, check: Callable[[], None]) -> list[str]:
    remarks = []
    finder = ImageFinder(contents.ids)
    alone: list[Path] = []
    for kind, paths in by_kind(contents.curves).items():
        for path in paths:
            check()
            image = finder.find(path)
            if image is None:
                alone.append(path)
            try:
                content = path.read_bytes()
            except OSError as error:
                remarks.append(f"{path}: not in the HDF5 file: {system_reason(error)}")
                continue
            name, leaf = contents.ids[image] if image else file_id(path), "JSON" if kind == JSON_KIND else "CHI"
            if f"/Graphs/{kind}/{name}" in handle:
                remarks.append(f"{path}: not in the HDF5 file, which has another curve {kind} of {image or path}")
            elif not content:
                remarks.append(f"{path}: not in the HDF5 file: it is empty")
            else:
                group = handle.create_group(f"/Graphs/{kind}", name, title=str(path), createparents=True)
                handle.create_array(group, leaf, obj=content)
    if alone:
        remarks.append(f"{len(alone)} curves belong to no image, the first is {alone[0]}: they have ids of their own")
    return remarks


def _write_frames(handle: Any, contents: HdfContents, check: Callable[[], None]) -> list[str]:
    import tables

    remarks = []
    small = tables.Filters(complevel=1, complib="zlib", shuffle=True)
    for path in contents.frames:
        check()
        name = contents.ids.get(path) or file_id(path)
        if f"/Images/{name}" in handle:
            remarks.append(f"{path}: not in the HDF5 file, which has an image of that name with another suffix")
            continue
        try:
            pixels = read_frame(path).image
        except FrameError as error:
            remarks.append(f"{path}: not in the HDF5 file: {error}")
            continue
        whole = pixels.astype(np.int32) if pixels.dtype.kind in "iu" else pixels
        handle.create_carray("/Images", name, obj=whole, title=str(path), filters=small, createparents=True)
    return remarks
