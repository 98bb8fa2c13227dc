"""A request and its answer, each pair over a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import zmq
from zmq.utils.monitor import parse_monitor_message

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.client._requests import Response
from saxs_bluesky.leash.protocol import EncryptionKeys, Kind, LeashError

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

_CONNECT_SECONDS = 10.0  # a busy server accepts connections too
_POLL_MS = 100
_LOST = (
    zmq.Event.DISCONNECTED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)


class CallError(LeashError):
    """A call that failed: the server answered an error, did not answer, or answered something else.

    Parameters
    ----------
    result
        ``result`` of the answer, ``Timeout`` or ``Disconnected``.
    message
        One line, for people.
    response
        The server's answer; None if there is no valid one.
    """

    def __init__(self, result: str, message: str, response: Response | None = None) -> None:
        super().__init__(next((kind for kind in Kind if kind == result), Kind.ERROR), message)
        self.result = result
        self.response = response


class LeashTimeoutError(CallError):
    """There was no answer in time; the server may have done what was asked."""

    def __init__(self, message: str) -> None:
        super().__init__("Timeout", message)


@dataclass(frozen=True)
class Exchange:
    """Sends a request to a server and returns the answer.

    Each request has a socket of its own: a REQ socket that gets no answer cannot be used again, and deployed servers
    (REP) do not support the options that would change that.

    Parameters
    ----------
    context
        0MQ's context.
    address
        Address of the server.
    encryption
        Keys to encrypt the connection with (CURVE); None: no encryption.
    most_bytes
        Limit for a part of the answer, in bytes: 0MQ closes the connection beyond it.
    stopped
        Returns True if the call should end.
    """

    context: Context
    address: str
    encryption: EncryptionKeys | None
    most_bytes: int
    stopped: Callable[[], bool]

    def __call__(self, signed: Callable[[], Sequence[bytes]], timeout: float) -> tuple[Sequence[bytes], list[bytes]]:
        """Send a request and wait for its answer.

        Parameters
        ----------
        signed
            Makes the parts of the request; called once there is a connection, since a server refuses what was signed
            before its start.
        timeout
            Time to wait for the connection, and then for the answer, in seconds.

        Returns
        -------
        Parts of the request and of its answer.

        Raises
        ------
        CallError
            There is no answer.
        SaxsError
            The address or the keys cannot be used.
        """
        self._raise_if_stopped()
        try:
            with self._connection() as (socket, monitor):
                self._wait_for_server(socket, monitor, min(timeout, _CONNECT_SECONDS))
                _read_events(monitor)  # of attempts to connect
                socket.setsockopt(zmq.SNDTIMEO, max(1, round(1000 * timeout)))
                parts = signed()
                socket.send_multipart(parts)
                self._wait_for_answer(socket, monitor, timeout)
                return parts, socket.recv_multipart()
        except zmq.Again as error:
            raise self._timeout_error(timeout) from error
        except zmq.ZMQError as error:
            raise CallError("Disconnected", f"{self.address}: wanted an answer, found {error}") from error

    @contextmanager
    def _connection(self) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
        """A socket that connects, and one that receives events when the connection is lost."""
        socket = self.context.socket(zmq.REQ)
        try:
            monitor = socket.get_monitor_socket(_LOST)
            try:
                if self.encryption is not None:
                    self.encryption.apply(socket)
                # Ready to send only when there is a connection.
                socket.setsockopt(zmq.IMMEDIATE, 1)
                socket.setsockopt(zmq.MAXMSGSIZE, self.most_bytes)
                try:
                    socket.connect(self.address)
                except zmq.ZMQError as error:
                    raise SaxsError(f"{self.address}: wanted the address of a server, found {error}") from error
                yield socket, monitor
            finally:
                monitor.close(linger=0)
                socket.disable_monitor()
        finally:
            socket.close(linger=0)

    def _wait_for_server(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes], timeout: float) -> None:
        if self._poll_until(lambda step: bool(socket.poll(step, zmq.POLLOUT)), timeout):
            return
        events = _read_events(monitor)
        if zmq.Event.HANDSHAKE_FAILED_AUTH in events:
            found = "one that does not let these keys in"
        elif events:
            found = "one that breaks connections off (does it encrypt, or is it no such server?)"
        else:
            found = "none that listens there"
        raise LeashTimeoutError(f"{self.address}: wanted a server, found {found} within {timeout:g} s")

    def _wait_for_answer(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes], timeout: float) -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        if not self._poll_until(lambda step: bool(poller.poll(step)), timeout):
            raise self._timeout_error(timeout)
        if not socket.poll(0):
            # A server answers only on the connection of the request.
            raise CallError(
                "Disconnected",
                f"{self.address}: wanted an answer, found the connection broken (the server ended, or answered more "
                f"than {self.most_bytes} bytes)",
            )

    def _poll_until(self, poll: Callable[[int], bool], timeout: float) -> bool:
        end = time.monotonic() + timeout
        while True:
            self._raise_if_stopped()
            left = end - time.monotonic()
            if poll(max(0, min(_POLL_MS, round(1000 * left)))):
                return True
            if left <= 0:
                return False

    def _raise_if_stopped(self) -> None:
        if self.stopped():
            raise CallError("Disconnected", f"{self.address}: wanted an answer, found the client disconnected")

    def _timeout_error(self, timeout: float) -> LeashTimeoutError:
        return LeashTimeoutError(f"{self.address}: wanted an answer within {timeout:g} s, found none")


def _read_events(monitor: zmq.Socket[bytes]) -> set[zmq.Event]:
    """Events since the last call."""
    events = set()
    while monitor.poll(0):
        events.add(zmq.Event(parse_monitor_message(monitor.recv_multipart())["event"]))
    return events
