"""All rows of a merge in one table: those of the images, and those of the logs between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.merge._join import Merged, wall_times
from saxs_bluesky.merge._tables import Images, LogTable


def timeline(merged: Merged, images: Images, tables: Sequence[LogTable], zone: str = "") -> pd.DataFrame:
    """Every time at which an image or a logger has a row, on the images' clock.

    Columns of loggers have their last value that is not empty, however old it is; those of images are empty where no
    image is.

    Parameters
    ----------
    merged
        Of these images and tables.
    images
        The images.
    tables
        Of the loggers.
    zone
        Whose wall time the rows have.

    Returns
    -------
    A row for each image and for each other time of an entry, sorted; the columns of the merged table without
    ``time_ave``.
    """
    at_images = images.middle[merged.order]
    entries = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(table.image_times for table in tables)]))
    entries = entries[~np.isin(entries, at_images)]
    times = np.concatenate([at_images, entries])
    order = np.argsort(times, kind="stable")
    times = times[order]
    image = np.where(order < len(at_images), order, -1)
    logged = sum(table.columns.shape[1] for table in tables)
    columns = [
        _taken(column, image) for _, column in merged.table.iloc[:, : merged.table.shape[1] - 1 - logged].items()
    ]
    for table in tables:
        before = np.searchsorted(table.image_times, times, side="right") - 1
        columns += [_taken(column.ffill(), before) for _, column in table.columns.items()]
    rows = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(len(times)))
    rows.columns = merged.table.columns[:-1]
    rows.index = wall_times(times, zone)
    return rows


def _taken(column: pd.Series[Any], rows: NDArray[np.intp]) -> pd.Series[Any]:
    """Cells of these rows, empty for -1."""
    return column.reset_index(drop=True).reindex(rows).reset_index(drop=True)
