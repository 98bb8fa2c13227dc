"""A feeder that says what a test tells it to."""

from __future__ import annotations

import json
from typing import Any

import zmq

from tests.helpers.waiting import PATIENCE


def message(path: Any) -> bytes:
    return json.dumps({"command": "new file", "argument": path}).encode()


class Feeder:
    """A feeder that says what it is told to; what it sends, arrives."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # to be told of every listener
        self._socket.bind(f"tcp://127.0.0.1:{port}")

    def wait_for_listener(self) -> None:
        """Wait until a listener more can hear."""
        told = b""
        while told != b"\x01":
            assert self._socket.poll(int(PATIENCE * 1000)), "no listener came"
            told = self._socket.recv()

    def send(self, *parts: bytes) -> None:
        self._socket.send_multipart(parts)

    def announce(self, path: Any) -> None:
        self.send(message(str(path)))

    def close(self) -> None:
        self._context.destroy(linger=2000)
