"""Print the figures: ``make bench``, or ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import reduction

reduction.main()
