"""The command started on damaged journals: a few seeds; ``make soak`` tries many."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.journal_fuzz import fuzzed

SEEDS = 3


def test_damaged_journals_stop_no_start(tmp_path: Path) -> None:
    tried, wrong = fuzzed(tmp_path, 0, SEEDS, 0)
    assert not wrong, "\n".join(wrong)
    assert tried == SEEDS
