"""Times as loggers write them, decimal seconds or dates, as whole nanoseconds; many at once."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from saxs_bluesky.merge._clocks import UTC, from_wall
from saxs_bluesky.merge._tables import NS, Times

# At most 12 decimals behind a mantissa and exponents from -6 to 9: what the decimals below hold.
SECONDS = r"[+-]?(?:\d{1,10}(?:[.,]\d*)?|[.,]\d+|\d{1,9}(?:[.,]\d{0,12})?[eE](?:\+?0*\d|-0*[0-6]))"
_DAY = r"(?:\d{4}[-/.:]\d\d[-/.:]\d\d|\d\d\.\d\d\.\d{4})"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?"
_OFFSET = r"(?:Z|[+-]\d\d(?::?\d\d)?)"
DATES = rf"{_DAY}[T ]+{_CLOCK} *{_OFFSET}?"
DAYS, CLOCKS = _DAY, rf"{_CLOCK} *{_OFFSET}?"
_LARGEST = 9.2e9  # seconds that fit into 64 bits as ns
_DECIMALS = pa.decimal128(38, 18)


@dataclass(frozen=True, eq=False)
class ReadTimes:
    """Times that were read from texts.

    Parameters
    ----------
    times
        ns, shape ``(n,)``; 0 where there is none.
    valid
        True where the text is a time, shape ``(n,)``.
    ambiguous
        How many lie in an hour that the clock showed twice.
    absent
        How many lie in an hour that the clock skipped.
    """

    times: Times
    valid: NDArray[np.bool_]
    ambiguous: int = 0
    absent: int = 0


def read_seconds(texts: pa.Array) -> ReadTimes:
    """Decimal seconds as ns, exactly; beyond the ninth decimal rounded.

    Parameters
    ----------
    texts
        Texts such as ``3488781543.250``, with a point or a comma, also with an exponent; shape ``(n,)``.

    Returns
    -------
    The times since the epoch that the seconds count from. No time is what is no number, or does not fit into 64 bits.
    """
    try:
        decimals = pc.cast(texts, _DECIMALS)
    except pa.ArrowInvalid:
        texts = pc.replace_substring(pc.utf8_trim_whitespace(texts), ",", ".")
        is_number = pc.match_substring_regex(texts, f"^{SECONDS}$")
        cut = pc.replace_substring_regex(texts, r"^([+-]?\d*\.\d{18})\d+$", r"\1")
        decimals = pc.cast(pc.if_else(is_number, cut, None), _DECIMALS)
    valid = pc.less(pc.abs(pc.cast(decimals, pa.float64())), _LARGEST).fill_null(False)
    whole = pc.if_else(valid, decimals, pa.scalar(0).cast(_DECIMALS))
    ns = pc.cast(pc.round(whole, 9), pa.decimal128(38, 9))
    # A decimal is an integer of 128 bits, here the number of ns; its lower half holds all of it.
    times = np.frombuffer(ns.buffers()[1], "<i8", count=2 * len(ns))[::2].copy()
    return ReadTimes(times, valid.to_numpy(zero_copy_only=False))


def read_dates(texts: pa.Array, zone: ZoneInfo) -> ReadTimes:
    """Dates and times of ISO 8601, and with ``/``, ``.`` and ``:`` in the date, also ``21.07.2014``.

    Parameters
    ----------
    texts
        Such as ``2014-07-21 10:00:00.250``, also with ``Z`` or ``+02:00``; in the order of writing, shape ``(n,)``.
    zone
        Of those that name none.

    Returns
    -------
    The times since 1970-01-01 00:00 UTC.
    """
    texts = pc.replace_substring(pc.utf8_trim_whitespace(texts), ",", ".")
    is_date = pc.match_substring_regex(texts, f"^{DATES}$").fill_null(False)
    iso = pc.replace_substring_regex(texts, r"^(\d{4})[/.:](\d\d)[/.:](\d\d)", r"\1-\2-\3")
    iso = pc.replace_substring_regex(iso, r"^(\d\d)\.(\d\d)\.(\d{4})", r"\3-\2-\1")
    iso = pc.replace_substring_regex(iso, r"^(\d{4}-\d\d-\d\d)[T ]+", r"\1T")
    iso = pc.replace_substring(iso, " ", "")
    has_zone = pc.match_substring_regex(iso, rf"T.*{_OFFSET}$").fill_null(False).to_numpy(zero_copy_only=False)
    found = pd.to_datetime(
        pd.Series(pc.if_else(is_date, iso, None).to_numpy(zero_copy_only=False), dtype=object),
        format="ISO8601",
        errors="coerce",
        utc=True,
    )
    bounds = pd.Timestamp("1700-01-01", tz="UTC"), pd.Timestamp("2260-01-01", tz="UTC")
    valid = (found.between(*bounds)).to_numpy()
    times = found.where(valid, bounds[0]).dt.as_unit("ns").astype("int64").to_numpy(copy=True)
    by_wall = valid & ~has_zone
    local = from_wall(times[by_wall], zone)
    times[by_wall] = local.times
    times[~valid] = 0
    return ReadTimes(times, valid, local.ambiguous, local.absent)


def plain_time(time: int) -> str:
    """A time as text, for messages: ``2014-07-21 10:00:00`` UTC."""
    return str(pd.Timestamp(time // NS, unit="s", tz=UTC))[:19]
