"""A request validator, and a clock that stands still."""

from __future__ import annotations

import pytest

from saxs_bluesky.leash.server import RequestValidator
from saxs_bluesky.reduction.formats import _bounded_masks
from tests.helpers.leash_validation import Clock, make_validator


@pytest.fixture(autouse=True)
def hdf5_is_read_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process for each HDF5 file takes most of a second; tests that want it say so in their name."""
    if "own_process" not in request.node.name:
        assert "HDF5" in _bounded_masks._READERS
        monkeypatch.setitem(_bounded_masks._READERS, "HDF5", _bounded_masks._read_hdf5_here)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def validator(clock: Clock) -> RequestValidator:
    return make_validator(clock=clock)
