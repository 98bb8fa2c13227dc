"""The command started on damaged journals: a few seeds; ``make soak`` tries many."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.file_pipeline.test_file_pipeline import ROOT

SEEDS = 3


def fuzzed(folder: Path, first: int, least: int, seconds: float) -> tuple[int, list[str]]:
    """Try seeds until the time is over, so many at least; return the next one, and what is wrong."""
    arguments = [sys.executable, "-m", "tests.helpers.journal_fuzz", str(folder), str(first), str(least), str(seconds)]
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=1800)
    found = json.loads((folder / "found.json").read_text())
    return found["next"], found["wrong"]


def test_damaged_journals_stop_no_start(tmp_path: Path) -> None:
    tried, wrong = fuzzed(tmp_path, 0, SEEDS, 0)
    assert not wrong, "\n".join(wrong)
    assert tried == SEEDS
