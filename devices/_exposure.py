"""One trigger of a `Pilatus`: from the order to the last file."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import ophyd
from ophyd.areadetector.trigger_mixins import ADTriggerStatus

from saxs_bluesky.devices._acquisition import ToldStatus
from saxs_bluesky.errors import SaxsError

if TYPE_CHECKING:
    from saxs_bluesky.devices._pilatus import Pilatus

_log = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks at a detector that tells nothing
_BEGUN = 2.0  # seconds after which an exposure has begun though nothing was heard of it
_RECONNECTED = 5.0  # seconds for a connection that was lost, or an IOC that is silent, to come back
_STOPPED = 5.0  # seconds for an exposure to end that was told to


class TriggerStatus(ToldStatus, ADTriggerStatus):  # type: ignore[misc]
    """Status of a trigger, with progress in frames; as text it is the reason of a failure."""


class Exposure:
    """An exposure in a thread of its own, which ends the status of its trigger.

    Parameters
    ----------
    detector
        What exposes.
    point
        Number of the point.
    before
        The exposure before, which may be going on; None if there was none.
    """

    def __init__(self, detector: Pilatus, point: int, before: Exposure | None) -> None:
        self.status = TriggerStatus(detector)
        self._detector = detector
        self._first = point * detector.tiff.frames_per_point
        self._before = before
        cam = detector.cam
        seconds = max(cam.acquire_period.get(), cam.acquire_time.get()) * detector.tiff.frames_per_point
        self._patience = float(detector.patience)
        self._seconds = float(seconds)
        self._wake = threading.Event()
        self._begun = threading.Event()
        self._ordered = False
        self._silent_since = 0.0
        self._cut = ""
        self.failure: SaxsError | None = None
        self._thread = ophyd.cl.thread_class(target=self._run, name=f"{detector.name} exposure", daemon=True)

    def start(self) -> None:
        """Begin as soon as the detector is free."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while the exposure runs."""
        return bool(self._thread.is_alive())

    @property
    def void(self) -> bool:
        """True if some of its files do not belong to its point."""
        return bool(self._cut) or self.failure is not None

    def acquiring(self, on: bool) -> None:
        """Note that the detector has begun or ended to acquire."""
        if on:
            self._begun.set()
        self._wake.set()

    def wake(self) -> None:
        """Note that the connection has changed."""
        self._wake.set()

    def cut_off(self, by: str) -> None:
        """Stop the exposure; its status does not fail, since whoever stops it expects no result."""
        self._cut = self._cut or by
        self._wake.set()

    def join(self) -> None:
        """Wait until it is over, and the detector stopped."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._take()
        except _CutError:
            self.failure = SaxsError(f"{self._detector.name}: wanted an exposure, found it cut off by {self._cut}")
        except SaxsError as error:
            self.failure = error
        # What a control layer raises is of many types; who waits for the status must hear of it.
        except Exception as error:  # noqa: BLE001
            self.failure = self._detector.connection.explain(error)
        self._stop()
        if self.failure is None or self._cut:
            self.status.set_finished()
        else:
            self.status.set_exception(self.failure)

    def _take(self) -> None:
        while self._before is not None and self._before.running:
            self._wait(_LOOK)
        self._before = None
        self._wait_for_the_detector()
        self._detector.tiff.expect(self._first)
        self._ordered = True
        begin = time.monotonic()
        self._detector.cam.acquire.put(1, wait=False)
        self._wait_for_the_end(begin)
        self._ordered = False
        self._detector.tiff.check_written(self._first, self._patience, self._wait)

    def _wait_for_the_detector(self) -> None:
        """Wait for the end of an acquisition of another session; those of this session have been stopped."""
        end = time.monotonic() + self._patience
        while self._detector.cam.acquire.get():
            if time.monotonic() > end:
                raise SaxsError(
                    f"{self._detector.name}: wanted an idle detector, found it acquiring for {self._patience:g} s, "
                    f"not for this scan: stop that ({self._detector.prefix}cam1:Acquire), or let the other session end"
                )
            self._wait(_LOOK)

    def _wait_for_the_end(self, begin: float) -> None:
        allowed = self._seconds + self._patience
        while True:
            self._wait(_LOOK)
            elapsed = time.monotonic() - begin
            # Before it has begun it seems to have ended.
            if (self._begun.is_set() or elapsed > _BEGUN) and not self._acquires():
                return
            if elapsed > allowed:
                raise SaxsError(
                    f"{self._detector.name}: the trigger failed to complete in specified timeout: wanted "
                    f"{self._detector.tiff.frames_per_point} frame(s) within {allowed:g} s, found the detector "
                    f"{self._detector.prefix} acquiring: look at its TriggerMode, and at what triggers it"
                )

    def _acquires(self) -> bool:
        """True if the detector acquires, as it does while an IOC does not answer for a moment."""
        try:
            on = bool(self._detector.cam.acquire.get())
        except TimeoutError:
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since > _RECONNECTED:
                raise
            return True
        self._silent_since = 0.0
        return on

    def _wait(self, seconds: float) -> None:
        """Wait until something happens, but not for long; raise if there is nothing to wait for any more."""
        if not self._cut:
            self._wake.wait(seconds)
            self._wake.clear()
        end = time.monotonic() + _RECONNECTED
        if self._detector.connection.lost:
            _log.warning("%s", self._detector.connection.sentence())
        while self._detector.connection.lost and not self._cut:
            if time.monotonic() > end:
                raise SaxsError(self._detector.connection.sentence())
            self._wake.wait(_LOOK)
            self._wake.clear()
        if self._cut:
            raise _CutError

    def _stop(self) -> None:
        """Stop what this exposure has begun and nobody waits for any more."""
        if not self._ordered or self._detector.connection.lost:
            return
        try:
            self._detector.cam.acquire.put(0, wait=False)
            end = time.monotonic() + _STOPPED
            while self._detector.busy() and time.monotonic() < end:
                time.sleep(0.02)
        except Exception as error:  # noqa: BLE001 (as above)
            self.failure = self.failure or self._detector.connection.explain(error)


class _CutError(Exception):
    """The exposure is cut off."""
