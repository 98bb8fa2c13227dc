"""The clock of a logger against the images' clock, by all exposures and all openings of the shutter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._clock_lines import STRANGE, Line, Matching, match, settle, sharpened
from saxs_bluesky.merge._clock_search import MOST_DRIFT, Search, covered, search
from saxs_bluesky.merge._exposure_events import (
    DURATION,
    Exposures,
    FloatArray,
    IntArray,
    Openings,
    distinct,
    events,
    is_opening,
)
from saxs_bluesky.merge._tables import NS, Images, LogTable

LIMIT = 86_400.0  # seconds: a clock that is off by more than a day is not looked for
_SURE = 0.95
_NATS = 3.0  # a lead of so many nats makes the confidence 1 - 1/e
_LEAST_PAIRS = 3
# Seconds between images with whole seconds only: closer ones tell little, or cannot be told apart.
_SEARCHED_SPACING, _FITTED_SPACING = 1.5, 1.0
_LEAST_SHARE = 0.5  # of the images within the time of the log
_LEAST_SHIFT = 0.02  # seconds: nearer than this, no offset needs to be known


@dataclass(frozen=True, eq=False)
class OffsetEstimate:
    """What exposures and openings of the shutter tell about the offset of a logger's clock.

    Parameters
    ----------
    offset
        Seconds: the logger's clock minus the images' clock at ``reference``.
    drift
        Seconds by which the offset grows in a second of the logger's clock: 1e-6 is 1 ppm.
    reference
        ns by the logger's clock.
    confidence
        From 0 to 1.
    sure
        True if the offset can be used: it is right within the shortest exposure.
    reason
        Why it is not sure, a sentence; empty if it is.
    images, openings
        How many were compared.
    matched
        How many images have an opening.
    scatter
        Seconds: robust standard deviation of the residuals.
    error
        Seconds: standard error of the offset at the image for which it is known worst.
    pairs
        Positions of matched images, and of the entries of the table, shape ``(matched, 2)``.
    residuals
        Seconds: the opening's time by the images' clock minus the start of the image, shape ``(matched,)``. Images with
        whole seconds started up to a second later than they say: their residuals lie between 0 and 1.
    """

    offset: float = 0.0
    drift: float = 0.0
    reference: int = 0
    confidence: float = 0.0
    sure: bool = False
    reason: str = ""
    images: int = 0
    openings: int = 0
    matched: int = 0
    scatter: float = float("nan")
    error: float = float("inf")
    pairs: IntArray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    residuals: FloatArray = field(default_factory=lambda: np.zeros(0))


def estimate_offset(images: Images, table: LogTable, *, limit: float = LIMIT) -> OffsetEstimate:
    """Find offset and drift of the shutter's clock from times and durations of exposures and openings.

    Each image is matched with one opening of its duration at most; a straight line goes through the differences of
    their times. The best line counts if no other one matches nearly as many images: a series of equal exposures at
    equal distances, for instance, fits one exposure later nearly as well. Where durations do not agree at all, times
    alone are compared.

    Times of images that have whole seconds only, those of headers, are taken as cut, not rounded.

    Parameters
    ----------
    images
        The images of the merge.
    table
        The shutter's table with a column ``Duration`` in seconds: above 0 at an opening, 0 at a closing. An offset that
        it has already does not count.
    limit
        Seconds: offsets beyond are not looked for.

    Returns
    -------
    The offset, and whether it is sure.

    Raises
    ------
    MergeError
        The table has no column ``Duration``.
    """
    if DURATION not in table.columns:
        raise MergeError(
            f"{table.name}: the automatic offset wants a column {DURATION} (seconds at an opening of the shutter, 0 at "
            f"a closing), found {', '.join(map(str, table.columns)) or 'no column'}: name the shutter's table"
        )
    if not len(images.end):
        return OffsetEstimate(openings=int(is_opening(table).sum()), reason="there is no image")
    exposures, openings = events(images, table, limit)
    if not len(openings):
        found = int(is_opening(table).sum())
        where = f"within {limit / 3600:g} h of the images (elsewhere: {found})"
        return OffsetEstimate(images=len(exposures), reason=f"{table.name} has no opening of the shutter {where}")
    estimate = _by(exposures, openings, limit)
    if estimate.matched < _LEAST_SHARE * len(exposures) and not estimate.sure:
        by_times = _by(exposures.of_one_kind(), openings.of_one_kind(), limit)
        estimate = by_times if by_times.sure else estimate
    return estimate


def assess_offset(images: Images, table: LogTable, *, tolerance: float = 0.5) -> OffsetEstimate:
    """How exposures and openings of the shutter meet with the offset and the drift that a table has.

    Parameters
    ----------
    images
        The images of the merge.
    table
        The shutter's table.
    tolerance
        Seconds between an exposure and its opening.

    Returns
    -------
    The table's offset, the pairs and their residuals. It has no confidence (NaN) and is not sure: it was given.
    """
    given = OffsetEstimate(
        table.offset, table.drift, table.reference, confidence=math.nan, reason="the offset was given"
    )
    if not len(images.end) or not is_opening(table).any():
        return replace(given, images=len(images.end), openings=int(is_opening(table).sum()))
    moved = replace(table, times=table.image_times, offset=0.0, drift=0.0)
    exposures, openings = events(images, moved, math.inf)
    if DURATION not in table.columns:
        exposures, openings = exposures.of_one_kind(), openings.of_one_kind()
    met = match(exposures, openings, Line(0.0), tolerance)
    described = _described(exposures, openings, replace(met, spread=tolerance / 6))
    return replace(
        described,
        offset=given.offset,
        drift=given.drift,
        reference=given.reference,
        confidence=given.confidence,
        reason=given.reason,
    )


def _by(exposures: Exposures, openings: Openings, limit: float) -> OffsetEstimate:
    estimate = _compared(exposures, openings, limit, _SEARCHED_SPACING)
    return estimate if estimate.sure else _compared(exposures, openings, limit, _FITTED_SPACING)


def _compared(exposures: Exposures, openings: Openings, limit: float, spacing: float) -> OffsetEstimate:
    compared, against = distinct(exposures, openings, spacing)
    found = search(compared, against, limit, _strange(exposures, compared))
    if found is None:
        return OffsetEstimate(
            images=len(exposures),
            openings=len(openings),
            reason=f"no exposure is as long as an opening of the shutter within {limit / 3600:g} h",
        )
    best = _refined(exposures, openings, found.best)
    error = _error(exposures, best)
    nats = min(found.lead, found.best.full_evidence - _hypotheses(compared, found.best, limit))
    confidence = float(np.clip(1 - np.exp(-nats / _NATS), 0, 1))
    reason = _doubt(compared, against, found, confidence, error)
    return replace(
        _described(exposures, openings, best), confidence=confidence, sure=not reason, reason=reason, error=error
    )


def _strange(exposures: Exposures, compared: Exposures) -> float:
    """Share of openings whose images are not compared, though others of their kind are."""
    left_out = ~np.isin(exposures.index, compared.index) & np.isin(exposures.kinds, compared.kinds)
    count = int(np.count_nonzero(left_out))
    return float(np.clip(count / max(count + len(compared), 1), STRANGE, 0.5))


def _described(exposures: Exposures, openings: Openings, best: Matching) -> OffsetEstimate:
    """Offset and pairs along a line; nothing of whether it is right."""
    line = best.line
    every = match(exposures, openings, line, max(6 * best.spread, 0.05))
    matched = np.flatnonzero(every.matched)
    return OffsetEstimate(
        offset=line.offset,
        drift=line.drift / (1 + line.drift),
        reference=exposures.epoch + round((line.at + line.offset) * NS),
        images=len(exposures),
        openings=len(openings),
        matched=len(matched),
        scatter=_scatter(every),
        pairs=np.stack([exposures.index[matched], openings.index[every.opening[matched]]], axis=1),
        residuals=every.residual[matched] + np.where(exposures.cut[matched], 0.5, 0.0),
    )


def _refined(exposures: Exposures, openings: Openings, found: Matching) -> Matching:
    """Fit again with images that the search left out, as a line that is nearly right can tell them apart."""
    compared, against = distinct(exposures, openings, _FITTED_SPACING)
    fitted = settle(compared, against, found.line, max(6 * found.spread, 0.1))
    return sharpened(compared, against, fitted)


def _hypotheses(exposures: Exposures, best: Matching, limit: float) -> float:
    """Logarithm of the number of lines that can be told apart: the best of so many leads by this much by chance."""
    resolution = 0.5 if exposures.cut.all() else 3 * best.spread
    span = float(exposures.times[-1] - exposures.times[0])
    return float(np.log(2 * limit / resolution) + np.log1p(2 * MOST_DRIFT * span / resolution))


def _error(exposures: Exposures, best: Matching) -> float:
    """Standard error of the line at the first or the last image, whichever is larger."""
    away = np.abs(exposures.times[[0, -1]] - best.line.at).max()
    return float(np.hypot(best.offset_error, best.drift_error * away))


def _scatter(found: Matching) -> float:
    residual = found.residual[found.matched]
    return 1.4826 * float(np.median(np.abs(residual - np.median(residual)))) if len(residual) else float("nan")


def _doubt(exposures: Exposures, openings: Openings, found: Search, confidence: float, error: float) -> str:
    """Why the best line is not sure; empty if it is."""
    best, rival = found.best, found.rival
    if best.count < _LEAST_PAIRS:
        return f"{best.count} of {len(exposures)} exposures match an opening: at least {_LEAST_PAIRS} are needed"
    if confidence < _SURE and rival is not None and rival.count > 0.7 * best.count:
        away = _difference(exposures, best.line, rival.line)
        return (
            f"{rival.count} exposures match an opening also with an offset {away:+.3f} s from this, here {best.count}"
        )
    if confidence < _SURE:
        return f"{best.count} of {len(exposures)} exposures match an opening, which may be by chance"
    within = covered(exposures, openings, best.line)
    share = float(best.matched[within].mean()) if within.any() else 0.0
    if share < _LEAST_SHARE:
        return f"{share:.0%} of the images within the time of the log have an opening: a clock may have been set"
    shortest = max(float(exposures.durations.min()), _LEAST_SHIFT)
    if 3 * error > shortest:
        return f"the offset may be off by {3 * error:.3f} s, more than the shortest exposure of {shortest:g} s"
    return ""


def _difference(exposures: Exposures, line: Line, other: Line) -> float:
    """The other line minus this one, in the middle of the images."""
    middle = exposures.times[[0, -1]].mean(keepdims=True)
    return float((other(middle) - line(middle))[0])
