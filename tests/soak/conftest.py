"""The small beamtime of the commands' tests, empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import beamtime, state_folder

__all__ = ["beamtime", "state_folder"]


@pytest.fixture
def empty(beamtime: Path) -> Path:
    for image in (beamtime / "data").rglob("*.tif"):
        image.unlink()
    return beamtime
