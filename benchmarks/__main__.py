"""Print the figures: ``make bench``, or ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import files, merge, pipeline, reduction

if __name__ == "__main__":
    reduction.main()
    files.main()
    pipeline.main()
    merge.main()
