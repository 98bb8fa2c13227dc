"""The connection to a feeder: one that comes back, whatever is sent on it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq
from zmq.utils.monitor import recv_monitor_message

from saxs_bluesky.errors import SaxsError

LARGEST_MESSAGE = 65536  # bytes; a path of the longest kind, with every character escaped, takes a third

# A connection whose other end vanished without a word is noticed after half a minute. Not 0MQ's own heartbeat: detector
# computers may have a libzmq before 4.2, which does not answer it.
KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 15,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 3,
}

_CONNECT_TIMEOUT = 2000  # milliseconds; the operating system's own is minutes
_STALLED_SECONDS = 0.5  # 0MQ begins to connect again at once, if it does

_HOPEFUL = zmq.Event.CONNECT_DELAYED | zmq.Event.CONNECT_RETRIED | zmq.Event.CONNECTED | zmq.Event.HANDSHAKE_SUCCEEDED
_ENDED = (
    zmq.Event.DISCONNECTED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)


class FeederConnection:
    """A subscription to all that a feeder says.

    0MQ connects again where a feeder goes and comes back, but never again after a message that is too large or breaks
    its protocol: then this makes a new socket.

    Parameters
    ----------
    context
        0MQ's.
    address
        Of the feeder, as 0MQ wants it.

    Raises
    ------
    SaxsError
        There can be no connection to the address.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.address = address
        self.connected = False
        self.interruptions = 0
        self._context = context
        self._ended_at: float | None = None  # and 0MQ has not begun to connect again
        self._open()

    def _open(self) -> None:
        self._socket = socket = self._context.socket(zmq.SUB)
        for option, value in KEEPALIVE.items():
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, _CONNECT_TIMEOUT)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = socket.get_monitor_socket(_HOPEFUL | _ENDED)
        try:
            socket.connect(self.address)
        except zmq.ZMQError as error:
            self.close()
            raise SaxsError(f"{self.address}: wanted the address of a feeder, found {error}") from error

    def close(self) -> None:
        """End the connection."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller tell when there is something to see to."""
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def receive(self) -> Sequence[bytes] | None:
        """Parts of a message; None where there is none."""
        return self._socket.recv_multipart() if self._socket.poll(0) else None

    def maintain(self) -> None:
        """Update `connected`, and make a new socket where 0MQ does not connect again."""
        while self._monitor.poll(0):
            self._update_state(recv_monitor_message(self._monitor)["event"])
        if self._ended_at is None or time.monotonic() - self._ended_at < _STALLED_SECONDS:
            return
        if not self._socket.poll(0):  # all that came before is taken
            self._ended_at = None
            self.close()
            self._open()

    def _update_state(self, event: int) -> None:
        if event & _HOPEFUL:
            self._ended_at = None
            self.connected = self.connected or event == zmq.Event.HANDSHAKE_SUCCEEDED
            return
        self._ended_at = time.monotonic()
        self.interruptions += self.connected
        self.connected = False
