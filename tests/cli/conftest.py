"""The state of the user's commands is none of the tests'."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def users_state_is_left_alone(state_folder: Path) -> None:
    """Commands keep their journals in a folder of the test."""
