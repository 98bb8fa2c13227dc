"""The clock of a logger against the images' clock: by the first image, or by the zero image.

An offset is the logger's clock minus the images' clock, in seconds. It is found from a table's own times: an offset
that the table has already does not count.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._tables import NS, Images, LogTable

DURATION = "Duration"  # the column of a shutter's table: seconds at an opening, 0 at a closing
FILE_NAME = "File Name (Img)"
ZERO_IMAGE = "zero_1M_00000.tif"


def first_image_offset(images: Images, table: LogTable) -> float:
    """Offset by which the first opening of the shutter is the start of the first image.

    Parameters
    ----------
    images
        The images of the merge, at least one.
    table
        The shutter's table, at least one entry. Its first entry counts; with a column ``Duration`` the first one whose
        duration is above 0, since a log may begin with a closing.

    Returns
    -------
    Seconds.

    Raises
    ------
    MergeError
        There is no image, or no opening.
    """
    if not len(images.end):
        raise MergeError(f"{table.name}: the offset by the first image wants an image, found none")
    return _seconds(_first_opening(table) - int(images.start.min()))


def zero_image_offset(images: Images, table: LogTable, name: str = ZERO_IMAGE) -> float:
    """Offset by which the first opening of the shutter is the start of the zero image.

    Parameters
    ----------
    images
        The images of the merge.
    table
        The shutter's table, as for `first_image_offset`.
    name
        What the file name of the zero image contains. The first by time counts, should several contain it.

    Returns
    -------
    Seconds.

    Raises
    ------
    MergeError
        No image is called so, or there is no opening.
    """
    names = images.columns[FILE_NAME] if FILE_NAME in images.columns else pd.Series(index=images.columns.index)
    called = names.astype(str).str.contains(name, regex=False).to_numpy(dtype=bool)
    if not called.any():
        example = f", the first one is {names.iloc[0]}" if len(names) else ""
        raise MergeError(
            f"{table.name}: the offset by the zero image wants an image whose file name contains {name!r}, found none "
            f"among {len(names)} images{example}: name the image that was taken at the first opening of the shutter"
        )
    return _seconds(_first_opening(table) - int(images.start[called].min()))


def _first_opening(table: LogTable) -> int:
    """The time of the first opening in a table, ns by its own clock."""
    opening = is_opening(table)
    if not opening.any():
        found = f"{len(table.times)} entries, all with Duration 0 or without" if len(table.times) else "no entry"
        raise MergeError(f"{table.name}: wanted at least one opening of the shutter, found {found}")
    return int(table.times[opening][0])


def is_opening(table: LogTable) -> NDArray[np.bool_]:
    """Which entries of a shutter's table are openings; all of a table without a column ``Duration``, shape (n,)."""
    if DURATION not in table.columns:
        return np.ones(len(table.times), dtype=np.bool_)
    durations = pd.to_numeric(table.columns[DURATION], errors="coerce").to_numpy(dtype=np.float64)
    return np.asarray(durations > 0, dtype=np.bool_)


def _seconds(ns: int) -> float:
    return ns / NS
