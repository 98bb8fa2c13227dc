"""Putting back what staging has set."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

from ophyd import Device

_log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for a setting to be taken

Settings = OrderedDict[Any, Any]
"""Signals and their values."""


def put_back(settings: Settings) -> list[str]:
    """Set signals to their values, the last one first, and drop those that took them.

    One that does not take its value keeps no other from its own.

    Returns
    -------
    What failed: the names of signals, and the values that they did not take.
    """
    failed = []
    for signal, value in reversed(list(settings.items())):
        try:
            _put_back(signal, value)
        # Whatever a control layer raises: it is told of by name, and the other signals have their turn.
        except Exception:  # noqa: BLE001
            _log.debug("%s", signal.name, exc_info=True)
            failed.append(f"{signal.name} to {value!r}")
        else:
            del settings[signal]
    return failed


def _put_back(signal: Any, value: Any) -> None:
    if value == "":  # a path is made to end in a separator by set(), which would make the root folder of none
        signal.put(value)
    else:
        signal.set(value, timeout=_PATIENCE).wait(_PATIENCE + 1)


def staged_devices(device: Device) -> list[Device]:
    """The parts of a device, innermost first, and the device itself."""
    parts: list[Device] = []
    for attribute in reversed(device._sub_devices):  # noqa: SLF001 (ophyd unstages these)
        part = getattr(device, attribute)
        if hasattr(part, "_original_vals"):
            parts += staged_devices(part)
    return [*parts, device]
