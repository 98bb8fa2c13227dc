"""A request and its answer, over a connection of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import zmq
from zmq.utils.monitor import parse_monitor_message

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.client._requests import Response
from saxs_bluesky.leash.protocol import EncryptionKeys, Kind, LeashError

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

_CONNECT_SECONDS = 10.0  # seconds; a server that is busy takes connections all the same
_POLL_MS = 100
_LOST = (
    zmq.Event.DISCONNECTED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)


class CallError(LeashError):
    """A call that came to nothing: the server says so, or says nothing, or nothing that is an answer.

    Parameters
    ----------
    result
        What an answer's ``result`` says of it.
    message
        One line, for people.
    response
        The server's answer, where that is why.
    """

    def __init__(self, result: str, message: str, response: Response | None = None) -> None:
        super().__init__(next((kind for kind in Kind if kind == result), Kind.ERROR), message)
        self.result = result
        self.response = response


class LeashTimeoutError(CallError):
    """There was no answer in time; whether the server has done what was asked is not known."""

    def __init__(self, message: str) -> None:
        super().__init__("Timeout", message)


@dataclass(frozen=True)
class Exchange:
    """How to bring a request to a server and its answer back.

    Each has a socket of its own. A REQ socket that waits for an answer can do nothing else, and deployed servers
    (REP) know nothing of the options that would change that; so the one that is left without is thrown away.

    Parameters
    ----------
    context
        0MQ's.
    address
        Of the server.
    encryption
        Keys to encrypt the connection with (CURVE); None: no encryption.
    most_bytes
        Bytes of a part of the answer, beyond which 0MQ takes no more of it.
    stopped
        Whether to give up.
    """

    context: Context
    address: str
    encryption: EncryptionKeys | None
    most_bytes: int
    stopped: Callable[[], bool]

    def __call__(self, signed: Callable[[], Sequence[bytes]], timeout: float) -> tuple[Sequence[bytes], list[bytes]]:
        """Send the parts of a request, and return them with those of the answer.

        Parameters
        ----------
        signed
            Makes the request once there is a server: one that begins refuses what was signed before.
        timeout
            Seconds to wait for the server, and then for its answer.

        Raises
        ------
        CallError
            There is none.
        SaxsError
            There can be no connection to the address.
        """
        self._raise_if_stopped()
        try:
            with self._socket() as socket, _monitored(socket) as monitor:
                self._connect(socket)
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
    def _socket(self) -> Iterator[zmq.Socket[bytes]]:
        socket = self.context.socket(zmq.REQ)
        try:
            yield socket
        finally:
            socket.close(linger=0)

    def _connect(self, socket: zmq.Socket[bytes]) -> None:
        if self.encryption is not None:
            self.encryption.apply(socket)
        # Ready to send only when somebody listens.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, self.most_bytes)
        try:
            socket.connect(self.address)
        except zmq.ZMQError as error:
            raise SaxsError(f"{self.address}: wanted the address of a server, found {error}") from error

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
            # A server never answers on another connection than that of the question.
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
    """What was told since the last look."""
    events = set()
    while monitor.poll(0):
        events.add(zmq.Event(parse_monitor_message(monitor.recv_multipart())["event"]))
    return events


@contextmanager
def _monitored(socket: zmq.Socket[bytes]) -> Iterator[Any]:
    """A socket on which the losses of connections are told."""
    monitor = socket.get_monitor_socket(_LOST)
    try:
        yield monitor
    finally:
        monitor.close(linger=0)
        socket.disable_monitor()
