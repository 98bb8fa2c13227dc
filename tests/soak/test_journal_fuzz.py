"""The command started on damaged journals, as often as two minutes allow."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.journal_fuzz import fuzzed

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("SOAK_FUZZ_SECONDS", "120"))
LEAST = 20


def test_damaged_journals_stop_no_start(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_FUZZ_SEED", str(time.time_ns() // 1_000_000)))
    tried, wrong = fuzzed(tmp_path, seed, LEAST, SECONDS)
    sys.stdout.write(f"seeds {seed} to {tried - 1}\n")
    assert not wrong, "\n".join(wrong)
