"""The synthetic beam time of which the deployed program's merges are known: its images, logs and configurations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "merge"


def copy_beam_time(base: Path) -> Path:
    """Copy the beam time into a base directory; its images are then in ``user1/run``, which is returned."""
    shutil.copytree(DATA / "base", base, dirs_exist_ok=True)
    return base / "user1" / "run"


def configuration(scenario: str, **changes: Any) -> dict[str, Any]:
    """Merge configuration as a deployed client sends it."""
    document: dict[str, Any] = json.loads((DATA / "deployed" / scenario / "mergeconf.json").read_text())
    return document | changes


def deployed_answer(scenario: str) -> dict[str, Any]:
    """Data of the answer to ``getmergedata`` of the deployed server; ``BASE`` is its base directory."""
    answer: dict[str, Any] = json.loads((DATA / "deployed" / scenario / "answer_getmergedata.json").read_text())["data"]
    return answer
