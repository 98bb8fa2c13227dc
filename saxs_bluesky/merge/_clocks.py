"""Clocks: decimal seconds and wall clocks as whole nanoseconds since 1970-01-01 00:00 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._tables import NS, Times

#: Seconds from 1904-01-01 to 1970-01-01: what counts from 1904 on Macintosh computers and in IGOR.
MAC_SECONDS = 2_082_844_800

UTC = ZoneInfo("UTC")

_JUMP = 60 * NS  # ns back within the hour that a wall clock shows twice, from which on it is the second time
_DAY = 86_400 * NS


class Epoch(StrEnum):
    """What a logger counts its seconds from."""

    #: 1904-01-01 00:00 by its wall clock.
    MAC = "Mac"
    #: 1970-01-01 00:00 UTC.
    UNIX = "Unix"


def time_zone(name: str, where: str) -> ZoneInfo:
    """Time zone of an IANA name; UTC where the name is empty.

    Parameters
    ----------
    name
        Such as ``Europe/Vienna``.
    where
        What errors call the field that holds the name.

    Raises
    ------
    MergeError
        No zone has that name.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):  # unknown; a path that leads out of the list; a folder of it
        raise MergeError(f"{where}: wanted a time zone such as Europe/Vienna, found {name[:60]!r}") from None


@dataclass(frozen=True, eq=False)
class Localised:
    """Wall clock times as times.

    Parameters
    ----------
    times
        ns, shape ``(n,)``.
    ambiguous
        How many lie in an hour that the clock showed twice.
    absent
        How many lie in an hour that the clock skipped.
    """

    times: Times
    ambiguous: int = 0
    absent: int = 0


def from_wall(wall: Times, zone: ZoneInfo, *, in_order: bool = True) -> Localised:
    """Times of a wall clock.

    At the end of daylight saving a wall clock shows an hour twice. A time in it is the second one from where the clock
    goes back by more than a minute, in the order of ``wall``; else it is the first one. A time that the clock skipped
    at the beginning of daylight saving is that of a clock which was not changed yet.

    Parameters
    ----------
    wall
        ns from 1970-01-01 00:00 on the wall clock, shape ``(n,)``, in the order in which they were written.
    zone
        Of the clock.
    in_order
        False if the order tells nothing: all times in an hour that was shown twice are the first ones then.

    Returns
    -------
    The times, and how many of them were not clear.
    """
    if zone.key == "UTC" or not len(wall):
        return Localised(wall)
    naive = pd.DatetimeIndex(wall.view("M8[ns]"))
    one, other = (_localised(naive, zone, choice) for choice in (True, False))
    first, second = np.minimum(one.times, other.times), np.maximum(one.times, other.times)
    ambiguous = first != second
    repeated = np.zeros(len(wall), bool)
    if in_order:
        repeated[ambiguous] = _shown_again(wall[ambiguous])
    return Localised(np.where(repeated, second, first), int(ambiguous.sum()), one.absent)


def _localised(naive: pd.DatetimeIndex, zone: ZoneInfo, first: bool) -> Localised:
    # A skipped time is shifted to the last one before the gap, and as much is added again.
    aware = naive.tz_localize(zone, ambiguous=np.full(len(naive), first), nonexistent="shift_backward")
    missing = _ns(naive) - _ns(aware.tz_localize(None))
    return Localised(_ns(aware.tz_convert("UTC")) + missing, absent=int(np.count_nonzero(missing)))


def _ns(index: pd.DatetimeIndex) -> Times:
    found: Times = index.as_unit("ns").asi8
    return found


def _shown_again(wall: Times) -> NDArray[np.bool_]:
    """True for times that a clock shows the second time, of those that it shows twice, in the order of writing."""
    ordered = np.unique(wall)
    # Hours that are shown twice are months apart; each has its own order.
    seasons = np.searchsorted(ordered[1:][np.diff(ordered) > _DAY], wall, side="right")
    again = np.zeros(len(wall), bool)
    for season in np.unique(seasons).tolist():
        inside = seasons == season
        falls = np.diff(wall[inside], prepend=wall[inside][:1]) < -_JUMP
        again[inside] = np.logical_or.accumulate(falls)
    return again
