"""The small beamtime of the commands' tests, empty."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def users_state_is_left_alone(state_folder: Path) -> None:
    """Commands keep their journals in a folder of the test."""


@pytest.fixture
def empty(beamtime: Path) -> Path:
    for image in (beamtime / "data").rglob("*.tif"):
        image.unlink()
    return beamtime
