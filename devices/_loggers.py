"""Simulated loggers: what a beamline records besides the detector, read as baseline or monitored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from ophyd import Component, Device, DeviceStatus, Signal

from saxs_bluesky.devices._logged_quantity import LoggedQuantity
from saxs_bluesky.devices._quantity import Quantity
from saxs_bluesky.errors import SaxsError

OPEN, CLOSED = "open", "closed"

_LIFETIME = 10 * 3600.0
"""Lifetime of the stored beam in s: that of a ring without top-up."""


class SimShutter(Device):  # type: ignore[misc]
    """Simulated shutter: ``set("open")`` and ``set("closed")``, which it follows at once.

    ``state`` is what it is; ``duration`` (s) how long it was open the last time, new at each closing.
    Both can be monitored.

    Parameters
    ----------
    name
        Of the device; data keys begin with it.
    """

    state = Component(Signal, value=CLOSED, metadata={"write_access": False}, kind="normal")
    duration = Component(Quantity, value=0.0, units="s", metadata={"write_access": False}, kind="normal")

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._opened = 0.0

    def set(self, state: str) -> DeviceStatus:
        """Open or close it.

        Raises
        ------
        SaxsError
            The state is neither "open" nor "closed".
        """
        if state not in (OPEN, CLOSED):
            raise SaxsError(f'{self.name}: wanted "{OPEN}" or "{CLOSED}", found {state!r}')
        if state != self.state.get():
            now = time.time()
            self.state.put(state, timestamp=now, force=True)
            if state == OPEN:
                self._opened = now
            else:
                self.duration.put(now - self._opened, timestamp=now, force=True)
        status = DeviceStatus(self)
        status.set_finished()
        return status


class SimIonChamber(Device):  # type: ignore[misc]
    """Simulated ion chamber before the sample: the beam's intensity as a ``current`` in nA.

    It decays with the stored beam and carries noise of 0.2 %.

    Parameters
    ----------
    name
        Of the device.
    current
        What it is at first, nA.
    period
        Seconds between two values while it is monitored.
    seed
        Of the noise.
    """

    current = Component(LoggedQuantity, units="nA", kind="hinted")

    def __init__(self, name: str, *, current: float = 120.0, period: float = 1.0, seed: int = 1) -> None:
        super().__init__(name=name)
        beam, rng = _decaying(current), np.random.default_rng(seed)
        self.current.follow(lambda now: beam(now) * (1 + 0.002 * rng.standard_normal()), period)


class SimDiode(Device):  # type: ignore[misc]
    """Simulated diode in the beamstop: the transmitted beam as a ``current`` in nA.

    It decays with the stored beam and carries noise of 0.3 % and of its dark current, 0.02 nA; behind
    a closed shutter the dark current is all there is.

    Parameters
    ----------
    name
        Of the device.
    current
        What it is at first, nA.
    shutter
        The shutter before it; None for a beam that is always on.
    period
        Seconds between two values while it is monitored.
    seed
        Of the noise.
    """

    current = Component(LoggedQuantity, units="nA", kind="hinted")

    def __init__(
        self, name: str, *, current: float = 75.0, shutter: SimShutter | None = None, period: float = 1.0, seed: int = 2
    ) -> None:
        super().__init__(name=name)
        beam, rng = _decaying(current), np.random.default_rng(seed)

        def model(now: float) -> float:
            dark = abs(0.02 * rng.standard_normal())
            if shutter is not None and shutter.state.get() == CLOSED:
                return dark
            return beam(now) * (1 + 0.003 * rng.standard_normal()) + dark

        self.current.follow(model, period)


class SimThermometer(Device):  # type: ignore[misc]
    """Simulated thermometer at the sample: ``temperature`` in degC.

    It swings by 0.15 degC in ten minutes, as a thermostat does, with noise of 0.01 degC.

    Parameters
    ----------
    name
        Of the device.
    temperature
        What the thermostat is set to, degC.
    period
        Seconds between two values while it is monitored.
    seed
        Of the noise.
    """

    temperature = Component(LoggedQuantity, units="degC", kind="hinted")

    def __init__(self, name: str, *, temperature: float = 25.0, period: float = 1.0, seed: int = 3) -> None:
        super().__init__(name=name)
        rng = np.random.default_rng(seed)
        self.temperature.follow(
            lambda now: temperature + 0.15 * math.sin(2 * math.pi * now / 600) + 0.01 * rng.standard_normal(), period
        )


def _decaying(initial: float) -> Callable[[float], float]:
    """Current of a beam at a time in s since the epoch; it is ``initial`` now, and decays."""
    since = time.time()
    return lambda now: initial * math.exp(-(now - since) / _LIFETIME)
