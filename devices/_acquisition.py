"""Work of a simulated detector in the background, and the documents that it makes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ophyd import Device, DeviceStatus

from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.errors import SaxsError


class ToldStatus(DeviceStatus):  # type: ignore[misc]
    """Status that as text is the reason of its failure: what a RunEngine shows, and keeps in the stop document."""

    def __str__(self) -> str:
        error = self.exception(timeout=0) if self.done else None
        return (str(error) if error else "") or super().__str__()

    def _handle_failure(self) -> None:
        """Leave the device alone, which ophyd would stop: it has been, or has begun with something else."""


class CutOffError(SaxsError):
    """Work was cut off by somebody who expects no result of it."""


class Background:
    """One piece of work at a time for a device, in a thread of its own."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._status: DeviceStatus | None = None
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], None]) -> DeviceStatus:
        """Start ``work``; the status finishes when it returns, and fails with what it raises.

        That of work that raises `CutOffError` finishes: nobody waits for it, and a RunEngine that has
        paused would take a failure for one of the plan.

        Raises
        ------
        SaxsError
            The work before is still going on.
        """
        self.require_idle()
        status = self._status = ToldStatus(self._device)

        def run() -> None:
            try:
                work()
            except CutOffError:
                status.set_finished()
            # Whatever happened, who waits for the status must hear of it.
            except Exception as error:  # noqa: BLE001
                status.set_exception(error)
            else:
                status.set_finished()

        self._thread = threading.Thread(target=run, name=f"{self._device.name} exposure", daemon=True)
        self._thread.start()
        return status

    def require_idle(self) -> None:
        """Raise SaxsError while work is going on."""
        if self._status is not None and not self._status.done:
            raise SaxsError(f"{self._device.name}: the last exposure is not over; {self._device.name}.stop() ends it")

    def join(self) -> None:
        """Wait until the work is done."""
        if self._thread is not None:
            self._thread.join()


class Outbox:
    """Documents of a detector's frames, and events of a flight, until the RunEngine collects them.

    The RunEngine asks for documents first and for events then: an event stays here until its documents
    are out, though frames come in between the two questions.
    """

    def __init__(self) -> None:
        self._taken: deque[tuple[list[NamedDocument], dict[str, Any] | None]] = deque()
        self._announced: deque[dict[str, Any]] = deque()

    def put(self, documents: list[NamedDocument], event: dict[str, Any] | None = None) -> None:
        """Add the documents of a point and the event that needs them, if it is to be collected here."""
        self._taken.append((documents, event))

    def documents(self) -> Iterator[NamedDocument]:
        """Documents that nobody collected yet."""
        while self._taken:
            documents, event = self._taken.popleft()
            yield from documents
            if event is not None:
                self._announced.append(event)

    def events(self) -> Iterator[dict[str, Any]]:
        """Events that nobody collected yet and whose documents are out."""
        while self._announced:
            yield self._announced.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._taken.clear()
        self._announced.clear()
