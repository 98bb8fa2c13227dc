"""The page about the house names folders that exist, and all of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanations" / "house.md"
FORMER = {"beamline.py", "outputs.py", "pipeline.py"}  # names that are kept for those who import them


def rooms() -> set[str]:
    """Folders and modules in the table of questions."""
    table = re.findall(r"^\| .*\? \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {room for cell in table for room in re.findall(r"`([^`]+)`", cell)}


def test_rooms_exist() -> None:
    assert [room for room in sorted(rooms()) if not (ROOT / room).exists()] == []


def test_no_room_is_left_out() -> None:
    parts = {
        path for path in (ROOT / "saxs_bluesky").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    parts |= {path for path in (ROOT / "callbacks").iterdir() if (path / "__init__.py").exists()}
    named = {str(path.relative_to(ROOT)) for path in parts if path.name not in {"__init__.py"} | FORMER}
    inside = {room for room in named if any(other.startswith(f"{room}/") for other in rooms())}
    assert named - rooms() - inside == set()
