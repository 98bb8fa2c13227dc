"""True if the IOC of a device answers, and since when it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from saxs_bluesky.errors import SaxsError

_PATIENCE = 2.0  # seconds until a connection that is being made, or made again, counts as missing


class Connection:
    """The connection to an IOC, as one of its signals sees it.

    Parameters
    ----------
    name
        Of the device.
    prefix
        Of the IOC's records.
    signal
        An EPICS signal that exists from the beginning on.
    changed
        Called when the connection is lost or there again.
    """

    def __init__(self, name: str, prefix: str, signal: Any, changed: Callable[[], None]) -> None:
        self._name = name
        self._prefix = prefix
        self._signal = signal
        self._tell = changed
        self._lost_at: float | None = None
        signal.subscribe(self._changed, event_type=signal.SUB_META, run=False)

    @property
    def lost(self) -> bool:
        """True if the IOC does not answer."""
        return not self._signal.connected

    def sentence(self) -> str:
        """Message of a lost connection."""
        since = "" if self._lost_at is None else f" since {time.strftime('%H:%M:%S', time.localtime(self._lost_at))}"
        return (
            f"{self._name}: the detector's IOC {self._prefix} is disconnected{since}: "
            "see whether its computer, the IOC and the network are up, then repeat the scan"
        )

    def require(self) -> None:
        """Wait a little for a connection.

        Raises
        ------
        SaxsError
            There is none.
        """
        if self.lost:
            try:
                self._signal.wait_for_connection(timeout=_PATIENCE)
            except TimeoutError:
                raise SaxsError(self.sentence()) from None

    def explain(self, error: Exception) -> SaxsError:
        """Message of a signal's error: that the connection is lost, if it is."""
        if self.lost:
            return SaxsError(self.sentence())
        return SaxsError(
            f"{self._name}: the detector's IOC {self._prefix} does not answer ({error}): see whether it hangs"
        )

    def _changed(self, *, connected: bool = False, **_: Any) -> None:
        if connected:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = time.time()
        self._tell()
