"""Straight lines between two clocks, and how well exposures meet openings along one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from saxs_bluesky.merge._exposure_events import BoolArray, Exposures, FloatArray, IntArray, Openings, keys

DRIFT_SPREAD = 6e-5  # s/s: standard deviation of the drifts of computers' clocks, what a fit knows beforehand
_CUT_WIDTH = 1.0  # seconds: a time that was cut to whole seconds is up to this too early
_CUT_SPREAD = 0.29  # its standard deviation: 1 / sqrt(12)
_EDGE = 0.01  # seconds: how sharply the second ends, the shutter's and the clocks' jitter
_FEW = 3000  # images for which the exact likelihood is worth its time
_LEAST_SPREAD = 5e-4  # seconds: times are written to ms
_MOST_TOLERANCE = 0.3  # seconds between exposure and opening
_LEAST_ABSENCE = 0.03  # share of images without opening that is never a surprise
STRANGE = 0.03  # share of openings that belong to images which are not there: never less
_MOST_GAIN = 50.0  # what one pair counts at most against chance: no pair decides alone


@dataclass(frozen=True)
class Line:
    """Logger's clock minus images' clock at ``x`` seconds since the epoch: ``offset + drift * (x - at)``."""

    offset: float
    drift: float = 0.0
    at: float = 0.0

    def __call__(self, times: FloatArray) -> FloatArray:
        return self.offset + self.drift * (times - self.at)


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of exposures and openings along a line, one to one.

    ``opening`` is the position among the openings, -1 without one; ``residual`` the opening's time minus where the
    line has it (for times that were cut: minus half a second more); both of shape ``(n,)`` like the exposures.
    """

    line: Line
    opening: IntArray
    residual: FloatArray
    spread: float = _LEAST_SPREAD
    #: Of the line's offset at its ``at``, and of its drift: standard errors.
    offset_error: float = np.inf
    drift_error: float = np.inf
    #: ln of the likelihood over that of a matching by chance; with no pair counting much, and with each in full.
    evidence: float = -np.inf
    full_evidence: float = -np.inf

    @property
    def matched(self) -> BoolArray:
        return self.opening >= 0

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.opening >= 0))


def match(exposures: Exposures, openings: Openings, line: Line, tolerance: float) -> Matching:
    """Give each exposure the closest opening of its kind within a tolerance; an opening goes to the closest only."""
    centre = exposures.times + line(exposures.times) + np.where(exposures.cut, _CUT_WIDTH / 2, 0.0)
    reach = tolerance + np.where(exposures.cut, _CUT_WIDTH / 2, 0.0)
    position = _closest(openings, keys(exposures.kinds, centre))
    residual = openings.times[position] - centre
    met = (openings.kinds[position] == exposures.kinds) & (np.abs(residual) <= reach)
    candidates = np.flatnonzero(met)
    order = candidates[np.lexsort((np.abs(residual[candidates]) / reach[candidates], position[candidates]))]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = np.diff(position[order]) > 0
    opening = np.full(len(exposures), -1, dtype=np.int64)
    opening[order[first]] = position[order[first]]
    return Matching(line, opening, np.where(opening >= 0, residual, np.nan))


def _closest(openings: Openings, wanted: FloatArray) -> IntArray:
    known = openings.keys
    after = np.clip(np.searchsorted(known, wanted), 1, max(len(known) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(known) - 1)
    return np.where(np.abs(known[after] - wanted) < np.abs(known[before] - wanted), after, before)


def settle(exposures: Exposures, openings: Openings, line: Line, tolerance: float, rounds: int = 10) -> Matching:
    """Match and fit in turn until the pairs stay the same; the tolerance follows the scatter."""
    found = match(exposures, openings, line, tolerance)
    for _ in range(rounds):
        if not found.count:
            break
        before, spread = found, _spread(found, exposures.cut)
        fitted, offset_error, drift_error = _fitted(exposures, found, spread)
        found = match(exposures, openings, fitted, float(np.clip(6 * spread, 0.01, _MOST_TOLERANCE)))
        now = _spread(found, exposures.cut)
        found = replace(found, spread=now, offset_error=offset_error, drift_error=drift_error)
        if now > 0.8 * spread and np.array_equal(before.opening, found.opening):
            break
    return _weighed(exposures, openings, found)


def _spread(found: Matching, cut: BoolArray) -> float:
    """Robust standard deviation of the residuals of whole times; 20 ms where there are too few to tell."""
    residual = found.residual[found.matched & ~cut]
    if len(residual) < 4:
        return 0.02
    return max(1.4826 * float(np.median(np.abs(residual - np.median(residual)))), _LEAST_SPREAD)


def _fitted(exposures: Exposures, found: Matching, spread: float) -> tuple[Line, float, float]:
    """The line of least squares through the pairs, the drift being likely small; standard errors of both."""
    pairs = found.matched
    times, cut = exposures.times[pairs], exposures.cut[pairs]
    weight = np.where(cut, _CUT_SPREAD, spread) ** -2.0
    at = float(np.average(times, weights=weight))
    gap = found.line(times) + found.residual[pairs]
    x = times - at
    curvature = float(weight @ x**2) + DRIFT_SPREAD**-2.0
    offset = float(np.average(gap, weights=weight))
    drift = float(weight @ (x * (gap - offset))) / curvature
    return Line(offset, drift, at), float(weight.sum()) ** -0.5, curvature**-0.5


def _weighed(exposures: Exposures, openings: Openings, found: Matching) -> Matching:
    """Add the evidence for a matching, with the scatter that it has itself."""
    gains = _gains(exposures, openings, found, found.spread)
    return replace(found, evidence=_evidence(np.minimum(gains, _MOST_GAIN)), full_evidence=_evidence(gains))


def _evidence(gains: FloatArray) -> float:
    """The likelihood's logarithm for the likeliest share of images without opening (expectation maximisation)."""
    absent, before = 0.5, 1.0
    while abs(absent - before) > 1e-3:
        before = absent
        absent = max(float((absent / (absent + (1 - absent) * gains)).mean()), _LEAST_ABSENCE)
    return float(np.log(absent + (1 - absent) * gains).sum())


def _gains(exposures: Exposures, openings: Openings, found: Matching, spread: float) -> FloatArray:
    """Density of residuals over the density of openings of the kind; 0 for exposures without opening.

    The density is the mean one of a scatter: were it that of each residual, chance would tell alike lines apart.
    """
    pairs = found.matched
    sharp = 1 / (spread * np.sqrt(2 * np.pi * np.e))
    density = np.where(exposures.cut[pairs], 1 / (_CUT_WIDTH + 6 * spread), sharp)
    gains = np.zeros(len(exposures))
    gains[pairs] = density / openings.density(exposures.kinds[pairs])
    return gains


def lead(exposures: Exposures, openings: Openings, one: Matching, other: Matching, strange: float = STRANGE) -> float:
    """By how many nats the evidence for one matching exceeds that for another.

    Against a matching tell images without opening, openings without image, and a larger scatter. ``strange`` is how
    likely an opening without image stands just where a series would go on.
    """
    spread = max(one.spread, other.spread)
    evidence = [_evidence(np.minimum(_gains(exposures, openings, found, spread), _MOST_GAIN)) for found in (one, other)]
    pairs = min(one.count, other.count)
    tighter = pairs * np.log(max(other.spread, 1e-3) / max(one.spread, 1e-3))
    # Of equal scatters, one is found larger than the other by chance.
    tighter = np.sign(tighter) * max(abs(tighter) - 3 * np.sqrt(pairs), 0)
    return float(evidence[0] - evidence[1] - np.log(strange) * (one.count - other.count) + tighter)


def sharpened(exposures: Exposures, openings: Openings, found: Matching) -> Matching:
    """Fit again where times are cut: what is likely is flat over a second, and ends sharply.

    The mean of the likelihood over a grid of offsets and drifts around the line of least squares, which it beats by
    far for few images: their error falls with their number, not with its square root.
    """
    pairs = found.matched & exposures.cut
    count = int(np.count_nonzero(pairs))
    if not 3 <= count <= _FEW or count < 0.8 * found.count:
        return found
    x = exposures.times[pairs] - found.line.at
    residual = found.residual[pairs]
    offsets = np.linspace(-4, 4, 81) * found.offset_error
    drifts = np.linspace(-4, 4, 41) * found.drift_error
    weights = np.empty((len(drifts), len(offsets)))
    for row, drift in zip(weights, drifts, strict=True):
        away = residual[:, None] - drift * x[:, None] - offsets
        edges = ndtr((away + _CUT_WIDTH / 2) / _EDGE) - ndtr((away - _CUT_WIDTH / 2) / _EDGE)
        row[:] = np.log(edges + 1e-3).sum(axis=0) - 0.5 * ((found.line.drift + drift) / DRIFT_SPREAD) ** 2
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    by_offset, by_drift = weights.sum(axis=0), weights.sum(axis=1)
    offset, drift = float(by_offset @ offsets), float(by_drift @ drifts)
    line = Line(found.line.offset + offset, found.line.drift + drift, found.line.at)
    refined = match(exposures, openings, line, 0.1)
    return replace(
        found,
        line=line,
        opening=refined.opening,
        residual=refined.residual,
        offset_error=float(np.sqrt(by_offset @ (offsets - offset) ** 2)) + 1e-3,
        drift_error=float(np.sqrt(by_drift @ (drifts - drift) ** 2)),
    )
