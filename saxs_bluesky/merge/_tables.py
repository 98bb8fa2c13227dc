"""What a merge is made of: the images, the tables of loggers, and the merged table.

All times are whole nanoseconds since 1970-01-01 00:00 UTC (``int64``): seconds since 1904 in ``float64`` are off by up
to 0.4 us. The images' clock is the one that counts; a table has an offset to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Times: TypeAlias = NDArray[np.int64]
"""Nanoseconds since 1970-01-01 00:00 UTC."""

NS = 1_000_000_000  # nanoseconds in a second


class Method(StrEnum):
    """How a column of a logger gets its value at an image."""

    #: ``previous``, and ``mean`` for exposures of at least `LONG_EXPOSURE` seconds other than of steps: the default.
    AUTO = "auto"
    #: The closest entry at or before mid-exposure.
    PREVIOUS = "previous"
    #: Linear in time between the entries around mid-exposure.
    LINEAR = "linear"
    #: The entry that is closest to mid-exposure.
    NEAREST = "nearest"
    #: The mean over the exposure, weighted by time, of the line between entries, or of what steps hold; ``previous``
    #: for exposures shorter than the logging interval, other than of steps.
    MEAN = "mean"


LONG_EXPOSURE = 5.0
"""Seconds from which on `Method.AUTO` takes the mean over the exposure."""


@dataclass(frozen=True, eq=False)
class LogTable:
    """The entries of one logger, sorted by time.

    Parameters
    ----------
    name
        What the columns are named after: ``Ioni (Dlogger)``.
    times
        ns by the logger's own clock, ascending, shape ``(n,)``.
    columns
        ``n`` rows, the logger's column names; numbers are ``float64``, missing ones NaN; texts are objects, missing
        ones None.
    offset
        Seconds: the logger's clock minus the images' clock; **subtracted** from ``times`` in the join.
    drift
        Seconds by which ``offset`` grows in a second of the logger's clock: 1e-6 is 1 ppm.
    reference
        ns by the logger's clock: when ``offset`` holds. Without a drift it does not matter.
    method
        How values at images are found. Columns of text have ``previous`` instead of ``linear`` and ``mean``, and
        steps instead of ``linear``.
    tolerance
        Seconds: for how long an entry holds, and how far apart the neighbours of a value may be. None: without limit.
    steps
        True where a value holds until the next entry: a shutter, a monitored signal that is sent when it changes.
    units
        Of columns, where they are known.
    remarks
        What was found while it was read, each one sentence.
    left_out
        Those of the remarks that tell of entries or cells that could not be read.
    """

    name: str
    times: Times
    columns: pd.DataFrame
    offset: float = 0.0
    drift: float = 0.0
    reference: int = 0
    method: Method = Method.AUTO
    tolerance: float | None = None
    steps: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    left_out: Sequence[str] = ()

    @property
    def image_times(self) -> Times:
        """The times of the entries by the images' clock, ns, ascending, shape ``(n,)``.

        ``times - offset - drift * (times - reference)``, each correction rounded to whole ns: without a drift, exact.
        """
        times = self.times - round(self.offset * NS)
        if self.drift:
            times -= np.rint(self.drift * (self.times - self.reference)).astype(np.int64)
        return times

    @property
    def interval(self) -> float:
        """The median time between two entries, in seconds; infinite with fewer than two."""
        return float(np.median(np.diff(self.times))) / NS if len(self.times) > 1 else float("inf")


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a merge, sorted by the end of their exposure.

    Parameters
    ----------
    end
        Of the exposures, ns, ascending and without duplicates, shape ``(n,)``.
    exposure
        ns, shape ``(n,)``.
    columns
        ``n`` rows: what is known of each image, named as in the merged table (``Exposure_time [s] (Img)``).
    logged
        True where the detector's log has the image, shape ``(n,)``.
    remarks
        What was found while they were read, each one sentence.
    left_out
        Those of the remarks that tell of images, or lines of the detector's log, that could not be read.
    missing
        Images that the detector's log has and that are not there, by their names on the detector's computer.
    """

    end: Times
    exposure: Times
    columns: pd.DataFrame
    logged: NDArray[np.bool_]
    remarks: Sequence[str] = ()
    left_out: Sequence[str] = ()
    missing: Sequence[str] = ()

    @property
    def start(self) -> Times:
        """The beginnings of the exposures, ns: what clocks are synchronised on."""
        return self.end - self.exposure

    @property
    def middle(self) -> Times:
        """The middles of the exposures, ns: the times of the merged table."""
        return self.start + self.exposure // 2
