"""A settable number that knows its units and its least value."""

from __future__ import annotations

import math
from typing import Any

from ophyd import Signal

from saxs_bluesky.errors import SaxsError


class Quantity(Signal):  # type: ignore[misc]
    """A number in software, settable and subscribable, with units in its data key.

    Parameters
    ----------
    value
        What it is at first; an int makes it a whole number for good.
    units
        As the data key gives them; empty for a plain number.
    minimum
        The least that may be set; None for no limit.
    """

    def __init__(self, *, value: float, units: str = "", minimum: float | None = None, **kwargs: Any) -> None:
        self._units = units
        self._minimum = minimum
        self._type: type = type(value)
        super().__init__(value=value, **kwargs)

    def check_value(self, value: Any, **_: Any) -> None:
        """Raise SaxsError for what is no such number, is not finite, or lies below the minimum."""
        try:
            fits = math.isfinite(value) and self._type(value) == value
        except (TypeError, ValueError):
            fits = False
        if not fits or (self._minimum is not None and value < self._minimum):
            kind = "a whole number" if self._type is int else "a number"
            least = "" if self._minimum is None else f" of at least {self._minimum:g} {self._units}".rstrip()
            raise SaxsError(f"{self.name}: wanted {kind}{least}, found {value!r}")

    def put(self, value: Any, **kwargs: Any) -> None:
        """Set it at once, telling the subscribers.

        Raises
        ------
        SaxsError
            The value is no such number, or lies below the minimum.
        """
        self.check_value(value)
        super().put(self._type(value), **kwargs)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Data key with units."""
        description: dict[str, dict[str, Any]] = super().describe()
        if self._units:
            description[self.name]["units"] = self._units
        return description
