"""A request validator, its clock that stands still, and the secret that requests are signed with."""

from __future__ import annotations

from typing import Any

from saxs_bluesky.leash import Limits
from saxs_bluesky.leash.server import ReplayMemory, RequestValidator

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
