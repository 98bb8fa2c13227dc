"""Documents from the network: a receiver that leaves nothing lying in a socket."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import zmq
from event_model import DocumentNames

from saxs_bluesky.callbacks.network._formats import Format, deserializer
from saxs_bluesky.callbacks.network._publisher import checked_prefix
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.support.addresses import tcp_address
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

_POLL_MS = 100  # milliseconds
_LAST_SECONDS = 2.0  # for what has arrived when the receiver is closed
_PICKLE = b"\x80"
_NAMES = {name.name for name in DocumentNames} - {"bulk_events", "bulk_datum"}


@dataclass(frozen=True)
class ReceiverCounters:
    """Messages that were ``received`` as documents, are ``unreadable``, or ``foreign``: with another prefix."""

    received: int = 0
    unreadable: int = 0
    foreign: int = 0


class DocumentReceiver:
    """Receives the documents of a bluesky 0MQ proxy in a thread of its own.

    Messages wait without limit, in 0MQ's own thread, until this one comes to them; the consumer should return at
    once all the same. 0MQ connects again where the proxy goes and comes back. What is no document is counted.

    Why not bluesky's RemoteDispatcher: ``docs/explanations/decisions/0003-documents-over-0mq.md``.

    Parameters
    ----------
    address
        The proxy's out port, ``host:port``; without a host that of this computer.
    consumer
        What gets the documents: ``(name, document)``.
    prefix
        Whose documents count; empty: everyone's.
    serializer
        As the publisher's.

    Raises
    ------
    SaxsError
        The address or the serializer is none.
    """

    def __init__(
        self,
        address: str,
        consumer: Callable[[str, dict[str, Any]], Any],
        *,
        prefix: bytes = b"",
        serializer: Format = "msgpack",
    ) -> None:
        self.address = tcp_address(address)
        self._consumer = consumer
        self._prefix = checked_prefix(prefix)
        self._format = serializer
        self._from_bytes = deserializer(serializer)
        self.counters = ReceiverCounters()
        self._stopping = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._connected()
        self._thread = threading.Thread(target=self._receive, name="saxs-bluesky-receiver", daemon=True)
        self._thread.start()

    def _connected(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            socket.connect(self.address)
        except zmq.ZMQError as error:
            socket.close()
            self._context.term()
            raise SaxsError(f"{self.address}: wanted the address of a 0MQ proxy, found {error}") from error
        return socket

    def close(self, timeout: float | None = None) -> bool:
        """Take what has arrived, and end; whether that was done within ``timeout`` seconds."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _receive(self) -> None:
        while not self._stopping.is_set():
            if self._socket.poll(_POLL_MS):
                self._handle_message(self._socket.recv_multipart())
        end = time.monotonic() + _LAST_SECONDS
        while self._socket.poll(0) and time.monotonic() < end:
            self._handle_message(self._socket.recv_multipart())
        self._socket.close()
        self._context.term()

    def _handle_message(self, parts: list[bytes]) -> None:
        prefix, _, rest = parts[0].partition(b" ")
        if self._prefix and prefix != self._prefix:
            self.counters = replace(self.counters, foreign=self.counters.foreign + 1)
            return
        try:
            name, doc = self._document(rest, len(parts))
        # A parser of what strangers send raises anything.
        except Exception as error:  # noqa: BLE001
            self._unreadable(rest, error)
            return
        self.counters = replace(self.counters, received=self.counters.received + 1)
        try:
            self._consumer(name, doc)
        except Exception:  # noqa: BLE001 - a fault of the consumer costs one document
            _log.warning("a %s document was received and could not be handed on", name, exc_info=True)

    def _document(self, rest: bytes, parts: int) -> tuple[str, dict[str, Any]]:
        name, _, content = rest.partition(b" ")
        if parts != 1 or name.decode() not in _NAMES:
            raise ValueError(f"wanted a message 'PREFIX NAME DOCUMENT', found {parts} parts, name {name[:40]!r}")
        doc = self._from_bytes(content)
        if not isinstance(doc, dict):
            raise TypeError(f"wanted a document, found {type(doc).__name__}")
        return name.decode(), doc

    def _unreadable(self, rest: bytes, error: Exception) -> None:
        number = self.counters.unreadable + 1
        self.counters = replace(self.counters, unreadable=number)
        if not is_logged(number):
            return
        content = rest.partition(b" ")[2]
        hint = "; it looks like pickle: use saxs_bluesky.callbacks.publish" if content.startswith(_PICKLE) else ""
        # repr, since a message may hold what would act on a terminal.
        _log.warning(
            "%s: wanted a document in %s, found %s: %.200r%s (unreadable so far: %d)",
            self.address,
            self._format,
            type(error).__name__,
            str(error)[:200],
            hint,
            number,
        )
