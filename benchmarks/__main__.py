"""Print the figures: ``make bench``, or ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import pipeline, reduction

reduction.main()
pipeline.main()
