"""Which numbers of a sequence came, and which are missing."""

from __future__ import annotations

from collections.abc import Iterator

Range = tuple[int, int]
"""First number, and the one after the last."""


class SequenceGaps:
    """Numbers from 1 that came so far; most of them come in order, and few are missing.

    Attributes
    ----------
    expected
        The number after the highest that came.
    """

    def __init__(self) -> None:
        self.expected = 1
        self._gaps: list[Range] = []

    def add(self, first: int, stop: int) -> int:
        """Note the numbers from ``first`` to before ``stop``; return how many were skipped in front of them.

        Raises
        ------
        ValueError
            There are no such numbers.
        """
        if not 1 <= first < stop:
            raise ValueError(f"wanted sequence numbers from 1 up, found {first} to before {stop}")
        skipped = max(0, first - self.expected)
        if skipped:
            self._gaps.append((self.expected, first))
        elif first < self.expected:
            self._gaps = [part for gap in self._gaps for part in _without(gap, first, stop)]
        self.expected = max(self.expected, stop)
        return skipped

    def missing(self, last: int | None = None) -> list[Range]:
        """Ranges that did not come, of the numbers up to ``last`` (None: the highest that came)."""
        end = self.expected if last is None else last + 1
        gaps = [(first, min(stop, end)) for first, stop in self._gaps if first < end]
        return [*gaps, (self.expected, end)] if self.expected < end else gaps


def _without(gap: Range, first: int, stop: int) -> Iterator[Range]:
    if gap[0] < min(first, gap[1]):
        yield gap[0], min(first, gap[1])
    if max(stop, gap[0]) < gap[1]:
        yield max(stop, gap[0]), gap[1]


def how_many(ranges: list[Range]) -> int:
    """How many numbers there are in ranges."""
    return sum(stop - first for first, stop in ranges)


def as_text(ranges: list[Range], limit: int = 10) -> str:
    """Ranges as a person writes them: ``4, 7-8``; of many the first ones."""
    parts = [str(first) if stop == first + 1 else f"{first}-{stop - 1}" for first, stop in ranges[:limit]]
    return ", ".join([*parts, "..."] if len(ranges) > limit else parts)
