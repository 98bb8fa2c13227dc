"""The search for the line between two clocks: all that may be, then what fits best, and what fits nearly as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import fft

from saxs_bluesky.merge._clock_lines import STRANGE, Line, Matching, lead, match, settle
from saxs_bluesky.merge._exposure_events import BoolArray, Exposures, FloatArray, IntArray, Openings, keys

MOST_DRIFT = 2e-4  # s/s: beyond the worst quartz
_WINDOW = 5000.0  # seconds: a drift moves events by no more than 0.5 s from its middle to its ends
_FULL_WINDOW = 100  # images that a window should have
_MOST_IMAGES = 2000  # in a window, and in a vote
_WINDOWS = 16
_ANCHORS = 3  # windows that are compared with the whole log
_CANDIDATES = 60  # offsets from each
_HOPEFUL = 24  # candidates that are followed over all images
_HOPELESS = 60.0  # nats below the best: not followed
_NEIGHBOURS = 30  # openings before and after that may be the right ones instead
_RIVALS = 40  # offsets at which the log looks most like itself
_CHANCE = 20.0  # nats: two standard deviations of the difference of two counts, at some 7 nats a pair
_CLIMBS = 10  # from a line to a better one
_PROMISING = 10  # of these, looked at closely
_MOST_COUNTED = 20_000  # images
_BINS = 1 << 21


@dataclass(frozen=True)
class Search:
    """What was found: the best matching, and the best one that is another (None: there is none)."""

    best: Matching
    rival: Matching | None
    #: Of the best over the other, in nats.
    lead: float


def search(exposures: Exposures, openings: Openings, limit: float, strange: float = STRANGE) -> Search | None:
    """The best and the second best line between images and openings; None where no pair is alike."""
    starts = list(_beginnings(exposures, openings, limit))
    if not starts:
        return None
    starts.sort(key=lambda found: -found.evidence)
    grown = [_grown(exposures, openings, found) for found in starts[:_HOPEFUL] if _hopeful(found, starts[0])]
    best = max(grown, key=lambda found: found.evidence)
    others: list[Matching] = []
    for _ in range(_CLIMBS):
        others = [*grown, *_alternatives(exposures, openings, best, limit)]
        others = [found for found in others if differs(exposures, found, best)]
        leads = [lead(exposures, openings, best, found, strange) for found in others]
        better = [(ahead, place) for place, ahead in enumerate(leads) if ahead < 0]
        if not better:
            break
        grown.append(best)
        best = others[min(better)[1]]
    if not others:
        return Search(best, None, best.evidence)
    leads = [_sure_lead(exposures, openings, best, found, strange) for found in others]
    return Search(best, others[int(np.argmin(leads))], min(leads))


def _sure_lead(exposures: Exposures, openings: Openings, best: Matching, other: Matching, strange: float) -> float:
    """The lead of the best over another, less what chance makes of pairs that only the other one has.

    A line that is right leaves openings alone where images are missing, and images where rows of the log are. Where
    both are missing, a wrong line matches some of these, and the numbers of pairs differ by the square root by chance.
    """
    images = np.count_nonzero(other.matched & ~best.matched)
    opened = len(np.setdiff1d(other.opening[other.matched], best.opening))
    return lead(exposures, openings, best, other, strange) - _CHANCE * float(np.sqrt(min(int(images), opened)))


def _hopeful(found: Matching, best: Matching) -> bool:
    return found.evidence > best.evidence - _HOPELESS


def differs(exposures: Exposures, one: Matching, other: Matching) -> bool:
    """True if two matchings put images elsewhere: by half an exposure somewhere, and to other openings mostly."""
    both = one.matched & other.matched
    same = one.opening[both] == other.opening[both]
    if np.count_nonzero(same) > len(same) / 2:
        return False
    ends = exposures.times[[0, -1]]
    return bool(np.abs(one.line(ends) - other.line(ends)).max() > exposures.durations.min() / 2)


# --- where to begin: windows of images against the whole log ---


def _beginnings(exposures: Exposures, openings: Openings, limit: float) -> Iterator[Matching]:
    """Matchings of windows of images, for all offsets that may be."""
    length = _window_length(exposures)
    reach = MOST_DRIFT * length / 2 + 0.1 + (0.5 if exposures.cut.any() else 0.0)
    windows = _windows(exposures, length)
    correlated = [(window, _correlated(exposures.chosen(window), openings, limit, reach)) for window in windows]
    correlated.sort(key=lambda item: _ambiguity(item[1][1]))
    for window, (offsets, _) in correlated[:_ANCHORS]:
        part = exposures.chosen(window)
        middle = float(part.times[[0, -1]].mean())
        for offset in offsets[:_CANDIDATES]:
            voted = _voted(part, openings, Line(float(offset), 0.0, middle), reach, MOST_DRIFT)
            if voted is not None:
                yield settle(part, openings, voted, 0.1)


def _window_length(exposures: Exposures) -> float:
    """Seconds that hold enough images, and no more than all."""
    times = exposures.times
    whole = float(times[-1] - times[0])
    if len(times) <= _FULL_WINDOW:
        return max(min(whole, 10 * _WINDOW), _WINDOW)
    return min(max(float(np.median(times[_FULL_WINDOW:] - times[:-_FULL_WINDOW])), _WINDOW), max(whole, _WINDOW))


def _windows(exposures: Exposures, length: float) -> list[IntArray]:
    """Positions of the images of windows: of those with many images some, from the first to the last."""
    number = ((exposures.times - exposures.times[0]) // length).astype(np.int64)
    parts = np.split(np.arange(len(exposures)), np.flatnonzero(np.diff(number)) + 1)
    full = max(map(len, parts)) / 2
    parts = [part[:_MOST_IMAGES] for part in parts if len(part) >= full]
    return [parts[place] for place in np.unique(np.linspace(0, len(parts) - 1, _WINDOWS).astype(np.int64))]


def _ambiguity(scores: FloatArray) -> tuple[float, float]:
    """How many offsets are nearly as good as the best; of two alike, the one with more images comes first."""
    if not len(scores):
        return np.inf, 0.0
    return float(np.count_nonzero(scores > 0.7 * scores[0])), -float(scores[0])


def _correlated(part: Exposures, openings: Openings, limit: float, reach: float) -> tuple[FloatArray, FloatArray]:
    """Offsets at which many images meet an opening of their kind, the best first, and how many meet.

    Events are put into bins, each with a phase for its kind; where kinds differ, phases cancel.
    """
    first, last = part.times[0], part.times[-1]
    near = (openings.times >= first - limit - reach) & (openings.times <= last + limit + reach)
    if not near.any():
        return np.zeros(0), np.zeros(0)
    opened, kinds = openings.times[near], openings.kinds[near]
    begin = float(opened.min()) - 2 * reach
    length = float(opened.max()) + 2 * reach - begin
    width = max(reach / 2, (length + (last - first)) / _BINS)
    spread = int(np.ceil(reach / width))
    size = fft.next_fast_len(int(length / width) + int((last - first) / width) + 2 * spread + 4)
    log = _binned(((opened - begin) / width).astype(np.int64), kinds, spread, size)
    middle = np.where(part.cut, 0.5, 0.0)
    shots = _binned(((part.times + middle - first) / width).astype(np.int64), part.kinds, 0, size, weigh=True)
    score = fft.ifft(np.conj(fft.fft(shots)) * fft.fft(log)).real
    lags = np.arange(size)
    offsets = begin - first + np.where(lags > size - (last - first) / width - 2, lags - size, lags) * width
    score[np.abs(offsets) > limit] = 0
    peaks = _peaks(score, spread)
    return offsets[peaks], score[peaks]


def _binned(bins: IntArray, kinds: IntArray, spread: int, size: int, weigh: bool = False) -> np.ndarray:
    """Phases of kinds in bins; each kind once in a bin and ``spread`` bins around it, unless images are counted."""
    phase = np.exp(2j * np.pi * ((kinds * 0.6180339887498949) % 1.0))
    if not weigh:
        bins = (bins[:, None] + np.arange(-spread, spread + 1)).ravel()
        kinds = np.repeat(kinds, 2 * spread + 1)
        _, once = np.unique(kinds * size + bins, return_index=True)
        bins, phase = bins[once], np.repeat(phase, 2 * spread + 1)[once]
    return np.bincount(bins, phase.real, size) + 1j * np.bincount(bins, phase.imag, size)


def _peaks(score: FloatArray, apart: int, count: int = _CANDIDATES) -> IntArray:
    """Positions of the highest values, none closer to a higher one than ``apart``."""
    most = score.max(initial=0.0)
    order = np.flatnonzero(score > max(0.3 * most, 0.5))
    if len(order) > 20 * count * (2 * apart + 1):
        bound = np.partition(score[order], -20 * count * (2 * apart + 1))[-20 * count * (2 * apart + 1)]
        order = order[score[order] >= bound]
    order = order[np.argsort(-score[order], kind="stable")]
    taken = np.zeros(len(score), dtype=np.bool_)
    peaks: list[int] = []
    for position in order:
        if not taken[position]:
            peaks.append(int(position))
            taken[max(position - apart, 0) : position + apart + 1] = True
        if len(peaks) == count:
            break
    return np.array(peaks, dtype=np.int64)


# --- the line through one window, and through all ---


def _voted(part: Exposures, openings: Openings, line: Line, reach: float, slack: float) -> Line | None:
    """The line near another that meets most openings: off by ``reach`` seconds, with a drift off by ``slack``."""
    part = part.chosen(slice(None, None, -(-len(part) // _MOST_IMAGES)))
    image, opening = _pairs(part, openings, line, reach)
    if not len(image):
        return None
    step = 0.02 if not part.cut.all() else 0.05
    x = part.times[image] - line.at
    gap = openings.times[opening] - part.times[image] - line(part.times[image])
    cut = part.cut[image]
    span = max(float(np.abs(part.times - line.at).max()), 1.0)
    count = min(int(np.ceil(slack * span / step)), 200, max(2_000_000 // len(image), 1))
    drifts = np.linspace(-slack, slack, 2 * count + 1)
    width = int(2 * reach / step) + 2
    second = round(1 / step)
    weight = np.maximum(np.log(1 / (openings.density(part.kinds[image]) * np.where(cut, 1.0, 3 * step))), 0.1)
    best, chosen = -np.inf, line
    for drift in drifts:
        bins = ((gap - drift * x + reach) / step).astype(np.int64)
        whole = (bins >= 0) & (bins < width) & ~cut
        votes = np.convolve(np.bincount(bins[whole], weight[whole], width), [0.7, 1.0, 0.7], "same")
        if cut.any():
            # A time that was cut votes for all offsets up to a second below.
            upto = np.clip(bins[cut] + 1, 0, width)
            down = np.clip(bins[cut] - second, 0, width)
            edges = np.bincount(down, weight[cut], width + 1) - np.bincount(upto, weight[cut], width + 1)
            votes += np.cumsum(edges)[:width]
        # In the middle of a plateau.
        top = np.flatnonzero(votes >= votes.max() - 1e-9)
        if votes[top[0]] > best + 1e-9:
            best = float(votes[top[0]])
            chosen = Line(line.offset + (float(top.mean()) + 0.5) * step - reach, line.drift + drift, line.at)
    return chosen


def _pairs(part: Exposures, openings: Openings, line: Line, reach: float) -> tuple[IntArray, IntArray]:
    """All pairs of an image and an opening of its kind within ``reach`` of the line (a second more where cut)."""
    centre = part.times + line(part.times)
    first = np.searchsorted(openings.keys, keys(part.kinds, centre - reach))
    after = np.searchsorted(openings.keys, keys(part.kinds, centre + reach + part.cut), side="right")
    counts = np.minimum(after - first, 200)
    image = np.repeat(np.arange(len(part)), counts)
    within = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
    return image, first[image] + within


def _grown(exposures: Exposures, openings: Openings, found: Matching) -> Matching:
    """Follow a line from its window to all images, twice as far each time."""
    times = exposures.times
    half = _WINDOW
    line, offset_error, drift_error = found.line, found.offset_error, found.drift_error
    while True:
        part = exposures.chosen(np.abs(times - line.at) <= half)
        everything = len(part) == len(exposures)
        reach = 0.1 + min(5 * (offset_error + drift_error * half), MOST_DRIFT * half)
        slack = min(5 * drift_error, 2 * MOST_DRIFT)
        voted = _voted(part, openings, line, reach, slack) or line
        grown = settle(part, openings, voted, 0.1)
        if everything:
            return grown
        line, offset_error, drift_error = grown.line, grown.offset_error, grown.drift_error
        half *= 2


# --- what fits nearly as well ---


def _alternatives(exposures: Exposures, openings: Openings, best: Matching, limit: float) -> list[Matching]:
    """Matchings at other offsets: a few openings on, and wherever the log looks like itself."""
    offsets = [*_neighbouring(openings, best), *_elsewhere(exposures, openings, best, limit)]
    tolerance = float(np.clip(6 * best.spread, 0.05, 0.3))
    moved = [Line(best.line.offset + offset, best.line.drift, best.line.at) for offset in offsets]
    some = exposures.chosen(slice(None, None, -(-len(exposures) // _MOST_COUNTED)))
    counts = [match(some, openings, line, tolerance).count for line in moved]
    promising = np.argsort(counts)[::-1][:_PROMISING]
    return [settle(exposures, openings, moved[position], tolerance) for position in promising]


def _neighbouring(openings: Openings, best: Matching) -> list[float]:
    """Shifts that take most images to an opening some places on: those of a series of equal periods."""
    pairs = np.flatnonzero(best.matched)
    here = best.opening[pairs]
    shifts = []
    for places in [*range(-_NEIGHBOURS, 0), *range(1, _NEIGHBOURS + 1)]:
        there = np.clip(here + places, 0, len(openings) - 1)
        same_kind = openings.kinds[there] == openings.kinds[here]
        moved = (openings.times[there] - openings.times[here])[same_kind & (there == here + places)]
        if len(moved) >= 2:
            shifts.append(_mode(moved))
    return shifts


def _mode(values: FloatArray) -> float:
    """The middle of the densest stretch of 50 ms."""
    ascending = np.sort(values)
    ahead = np.searchsorted(ascending, ascending + 0.05)
    first = int(np.argmax(ahead - np.arange(len(ascending))))
    return float(np.median(ascending[first : ahead[first]]))


def _elsewhere(exposures: Exposures, openings: Openings, best: Matching, limit: float) -> list[float]:
    """Shifts of all images at once that meet many openings."""
    moved = exposures.times + best.line(exposures.times)
    shifted = Exposures(exposures.epoch, moved, exposures.durations, exposures.kinds, exposures.cut, exposures.index)
    reach = 0.6 if exposures.cut.any() else 0.25
    offsets, _ = _correlated(shifted, openings, 2 * limit, reach)
    shifts = []
    for offset in offsets[:_RIVALS]:
        if abs(offset) > reach:
            voted = _voted(shifted, openings, Line(float(offset)), 2 * reach, 0.0)
            shifts.append(voted.offset if voted else float(offset))
    return shifts


def covered(exposures: Exposures, openings: Openings, line: Line) -> BoolArray:
    """Which images lie within the time of the log, shape (n,)."""
    opened = exposures.times + line(exposures.times)
    within = (opened >= openings.times.min() - 1) & (opened <= openings.times.max() + 1)
    return np.asarray(within, dtype=np.bool_)
