"""The clock of a logger against the images' clock by the first or the zero image, and what all clocks are then.

An offset is the logger's clock minus the images' clock, in seconds. It is found from a table's own times: an offset
that the table has already does not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._estimate import OffsetEstimate
from saxs_bluesky.merge._exposure_events import is_opening
from saxs_bluesky.merge._tables import NS, Images, LogTable

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


def synchronised(
    tables: Sequence[LogTable], shutter: str, offset: float, drift: float = 0.0, reference: int = 0
) -> list[LogTable]:
    """Give all tables the offset that was found for the shutter's: loggers share a clock.

    The shutter's own offset by hand does not count any more. A table whose offset by hand differs from the shutter's
    keeps the difference, since its clock is off by that from the shutter's.

    Parameters
    ----------
    tables
        The tables of a merge, the shutter's among them, with their offsets by hand.
    shutter
        Name of the shutter's table.
    offset, drift, reference
        Of the shutter's clock: what `first_image_offset` or `zero_image_offset` returns, or the fields of an
        `OffsetEstimate`. A table's drift is replaced.

    Returns
    -------
    The tables, in their order.

    Raises
    ------
    MergeError
        There is no table of the shutter's name.
    """
    by_hand = next((table.offset for table in tables if table.name == shutter), None)
    if by_hand is None:
        raise MergeError(f"the offset wants the table {shutter}, found {', '.join(table.name for table in tables)}")
    return [
        replace(
            table,
            offset=offset + (table.offset - by_hand),
            drift=drift,
            reference=reference + round((table.offset - by_hand) * NS),
        )
        for table in tables
    ]


def offset_table(tables: Sequence[LogTable], estimates: Mapping[str, OffsetEstimate] | None = None) -> str:
    """Offset and scatter of each device, as text: a heading, and one line for each table.

    Parameters
    ----------
    tables
        The tables of a merge, with the offsets that count.
    estimates
        By name of a table: what `estimate_offset` or `assess_offset` found.

    Returns
    -------
    Lines of equal columns, without a line end at the last one; ``-`` where nothing is known.
    """
    head = ("device", "entries", "offset s", "drift ppm", "scatter s", "matched", "confidence")
    lines = [head, *(_offset_line(table, (estimates or {}).get(table.name)) for table in tables)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def _offset_line(table: LogTable, estimate: OffsetEstimate | None) -> tuple[str, ...]:
    described = (table.name, str(len(table.times)), f"{table.offset:.3f}", f"{table.drift * 1e6:.1f}")
    if estimate is None:
        return (*described, "-", "-", "-")
    scatter = f"{estimate.scatter:.4f}" if estimate.matched else "-"
    confidence = "-" if math.isnan(estimate.confidence) else f"{estimate.confidence:.2f}"
    doubt = "" if estimate.sure or confidence == "-" else " unsure"
    return (*described, scatter, f"{estimate.matched} of {estimate.images}", confidence + doubt)


def _first_opening(table: LogTable) -> int:
    """The time of the first opening in a table, ns by its own clock."""
    opening = is_opening(table)
    if not opening.any():
        found = f"{len(table.times)} entries, all with Duration 0 or without" if len(table.times) else "no entry"
        raise MergeError(f"{table.name}: wanted at least one opening of the shutter, found {found}")
    return int(table.times[opening][0])


def _seconds(ns: int) -> float:
    return ns / NS
