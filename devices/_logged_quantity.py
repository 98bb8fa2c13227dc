"""A quantity that changes by itself: the signal of the simulated loggers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from saxs_bluesky.devices._quantity import Quantity


class LoggedQuantity(Quantity):
    """A read-only number, new at every look, and every so often while somebody is subscribed to it.

    The thread that renews it runs from the first subscription to the end of the last one. It takes
    its values from a model; see `follow`.
    """

    def __init__(self, *, units: str, **kwargs: Any) -> None:
        super().__init__(value=0.0, units=units, metadata={"write_access": False}, **kwargs)
        self._model: Callable[[float], float] = lambda _: 0.0
        self._period = 1.0
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def follow(self, model: Callable[[float], float], period: float) -> None:
        """Take the values from ``model``, a function of the time (s since the epoch), every ``period`` s."""
        self._model, self._period = model, period

    def get(self, **kwargs: Any) -> float:
        """The value of now, or with subscribers the last one that they heard of."""
        if self._thread is None:
            self._renew()
        value: float = super().get(**kwargs)
        return value

    def subscribe(self, callback: Callable[..., Any], event_type: str | None = None, run: bool = True) -> int:
        """Call ``callback`` with every new value; see ophyd."""
        # The thread comes first: a callback that reads must not renew, which would call it again.
        self._start()
        try:
            identifier: int = super().subscribe(callback, event_type=event_type, run=run)
        finally:
            self._stop_unless_heard()
        return identifier

    def unsubscribe(self, cid: int) -> None:
        """End one subscription."""
        super().unsubscribe(cid)
        self._stop_unless_heard()

    def unsubscribe_all(self) -> None:
        """End all subscriptions."""
        super().unsubscribe_all()
        self._stop_unless_heard()

    def _renew(self) -> None:
        now = time.time()
        self.put(self._model(now), timestamp=now, force=True)

    def _start(self) -> None:
        with self._changing:
            if self._thread is not None:
                return
            self._renew()
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._renew_until, args=(self._stop,), name=f"{self.name} logger", daemon=True
            )
            self._thread.start()

    def _stop_unless_heard(self) -> None:
        with self._changing:
            if self._thread is None or self._callbacks[self.SUB_VALUE]:
                return
            thread, self._thread = self._thread, None
            self._stop.set()
        # A subscriber may end its subscription from within its callback.
        if thread is not threading.current_thread():
            thread.join()

    def _renew_until(self, stop: threading.Event) -> None:
        while not stop.wait(self._period):
            self._renew()
