"""Documents over the network: bluesky's publisher and proxy, with what they need to lose nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import zmq
from bluesky.callbacks.zmq import ClientCurve, Proxy, Publisher, ServerCurve

from saxs_bluesky.callbacks.network._formats import Format, serializer
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.support.addresses import tcp_address

_log = logging.getLogger(__name__)

_LINGER = 5000  # milliseconds for what is sent and not yet gone when a publisher is closed
_SUBSCRIPTION_SECONDS = 0.05  # from a connection to the proxy's subscription to it


def publish(
    address: str, *, prefix: bytes = b"", serializer: Format = "msgpack", connect_seconds: float = 2.0
) -> Publisher:
    """Connect to the proxy that ``saxs-reduce`` listens at; subscribe the result to a RunEngine.

    It never raises when called: the RunEngine would end the scan. It keeps what the network does not take at
    once, where bluesky's own publisher drops what is beyond 1000 documents. Call its ``close()`` at the end.

    Parameters
    ----------
    address
        The proxy's in port, ``host:port``; without a host that of this computer.
    prefix
        Tells publishers apart that share a proxy; no spaces.
    serializer
        As the receiver's.
    connect_seconds
        For how long to wait for the proxy. Without it this is logged, and what is published before it comes is lost.

    Returns
    -------
    The publisher, a callback of a RunEngine.

    Raises
    ------
    SaxsError
        The address or the serializer is none.

    Examples
    --------
    >>> RE.subscribe(publish("127.0.0.1:5567"))  # doctest: +SKIP
    """
    publisher = _Publisher(tcp_address(address), checked_prefix(prefix), serializer)
    if not publisher.connect(connect_seconds):
        _log.warning("%s: wanted a 0MQ proxy, found none yet; documents are lost until it is there", publisher.address)
    return publisher


class _Publisher(Publisher):
    """Publisher that neither drops nor raises."""

    def __init__(self, address: str, prefix: bytes, name: str) -> None:
        self._to_bytes = serializer(name)
        super().__init__(address, prefix=prefix, serializer=self._to_bytes)

    def connect(self, seconds: float) -> bool:
        """Connect anew, with nothing dropped; whether the proxy answered in time."""
        socket = self._socket
        socket.disconnect(self.address)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.LINGER, _LINGER)
        monitor = socket.get_monitor_socket(zmq.Event.HANDSHAKE_SUCCEEDED)
        socket.connect(self.address)
        connected = bool(monitor.poll(int(seconds * 1000)))
        socket.disable_monitor()
        monitor.close()
        # What is sent before the proxy has subscribed goes nowhere.
        time.sleep(_SUBSCRIPTION_SECONDS)
        return connected

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Send a document."""
        try:
            self._socket.send(b" ".join([self._prefix, name.encode(), self._to_bytes(doc)]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the scan goes on
            _log.warning("a %s document cannot be published: %s: %s", name, type(error).__name__, error)

    def close(self) -> None:
        """Send what waits, for up to five seconds."""
        self._socket.close()
        self._context.destroy()


class DocumentProxy(Proxy):
    """Bluesky's proxy in a thread, without its limit of 1000 documents beyond which it drops.

    Parameters
    ----------
    in_address, out_address
        Where publishers and where listeners connect to.

    Raises
    ------
    SaxsError
        An address is none, or taken.
    """

    def __init__(self, in_address: str, out_address: str) -> None:
        addresses = tcp_address(in_address), tcp_address(out_address)
        try:
            super().__init__(*addresses)
        except zmq.ZMQError as error:
            raise SaxsError(f"{' or '.join(addresses)}: wanted a free address for the proxy, found {error}") from error
        self._thread = threading.Thread(target=self._forward, name="saxs-bluesky-proxy", daemon=True)
        self._thread.start()

    @staticmethod
    def configure_server_socket(
        ctx: zmq.Context[zmq.Socket[bytes]],
        sock_type: int,
        address: str | tuple[Any, ...] | int | None,
        curve: ServerCurve | ClientCurve | None,
        bind: bool = True,
    ) -> tuple[zmq.Socket[bytes], int | str]:
        """Make a socket without a limit: it must be so before it is bound."""
        ctx.setsockopt(zmq.SNDHWM, 0)
        ctx.setsockopt(zmq.RCVHWM, 0)
        ctx.setsockopt(zmq.LINGER, 0)
        return Proxy.configure_server_socket(ctx, sock_type, address, curve, bind)

    # Not start(), which ends the context too: two threads that do so wait for each other.
    def _forward(self) -> None:
        try:
            zmq.proxy(self._frontend, self._backend)
        except zmq.ContextTerminated:
            pass  # closed
        finally:
            self.closed = True
            self._frontend.close()
            self._backend.close()

    def close(self) -> None:
        """End the proxy; what it holds is dropped."""
        self._context.term()
        self._thread.join()


def checked_prefix(prefix: bytes) -> bytes:
    """Prefix that a message can have.

    Raises
    ------
    SaxsError
        It has spaces.
    """
    if b" " in prefix:
        raise SaxsError(f"prefix: wanted no spaces, found {prefix!r}")
    return prefix
