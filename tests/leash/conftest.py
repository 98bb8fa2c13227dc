"""A request validator, and a clock that stands still."""

from __future__ import annotations

from typing import Any

import pytest

from saxs_bluesky.leash import Limits
from saxs_bluesky.leash.server import ReplayMemory, RequestValidator
from saxs_bluesky.reduction.formats import _bounded_masks

SECRET = "a secret of the tests, s\u00e9cret"
NOW = 1_700_000_000.25

#: Bounds that a test reaches without much data.
SMALL = Limits(
    message_bytes=200_000,
    request_bytes=20_000,
    attachment_bytes=130_000,
    attachments=4,
    depth=12,
    values=1000,
    pixels=10_000,
    masks=3,
    slices=3,
    oversampling=8,
    subpixels=400_000,
    threads=8,
    response_bytes=50_000,
)


class Clock:
    """Tells the time that it was set to; as uptime, what has gone by."""

    def __init__(self, now: float = NOW) -> None:
        self.now, self.up = now, 1000.0

    def __call__(self) -> float:
        return self.now

    def uptime(self) -> float:
        return self.up

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.up += seconds


def make_validator(limits: Limits = SMALL, clock: Clock | None = None, **options: Any) -> RequestValidator:
    """A request validator that was made an hour ago."""
    clock = clock or Clock()
    began = Clock(clock.now - 3600)
    began.up = clock.up - 3600
    memory = ReplayMemory(window=limits.window, most=limits.remembered, clock=began, uptime=began.uptime)
    memory._uptime = clock.uptime
    return RequestValidator(SECRET, limits, memory, clock, **options)


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
