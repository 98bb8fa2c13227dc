"""Messages between the main process and a worker.

A message is a small pickled head and any number of payloads, which stay bytes until somebody wants what is in
them: so one that cannot be unpickled spoils no other, and large ones are not copied on their way.

To a worker goes one message for a batch of tasks: its head has a `TaskHead` for each, its payloads are their
pickled arguments. Back come messages with results, in the order of the tasks: the head is a `ResultHead`, the payloads
are pickled results or exceptions. The first message of a worker says that it is ready: it has no results; where
it has one, that is the exception for which the worker cannot start.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PROTOCOL = 5
# How many functions a worker remembers; both sides drop the oldest at the same task.
KNOWN_FUNCTIONS = 32

# Number of the function; the function, pickled, where the worker does not know it; whether the task is done again.
TaskHead = tuple[int, bytes | None, bool]
# Seconds of work; for each result whether it is one (and not an exception).
ResultHead = tuple[float, list[bool]]

_SIZES = struct.Struct("!QQ")  # of the head, of the whole


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was received: the head, and the payloads as views of one buffer."""

    head: Any
    payloads: list[memoryview]


def encode(head: object, payloads: Sequence[bytes]) -> list[memoryview]:
    """The pieces of a message, for `send_some`."""
    packed = pickle.dumps((head, [len(payload) for payload in payloads]), PROTOCOL)
    sizes = _SIZES.pack(len(packed), len(packed) + sum(map(len, payloads)))
    return [memoryview(sizes + packed), *(memoryview(payload) for payload in payloads)]


def send_some(link: socket.socket, pieces: list[memoryview]) -> None:
    """Send what the socket takes at once and remove that from the pieces.

    Raises
    ------
    BlockingIOError
        A non-blocking socket takes nothing now.
    """
    sent = link.sendmsg(pieces)
    done = 0
    while done < len(pieces) and sent >= len(pieces[done]):
        sent -= len(pieces[done])
        done += 1
    del pieces[:done]
    if sent:
        pieces[0] = pieces[0][sent:]


class Reader:
    """Puts messages together from what a socket has."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._begin(_SIZES.size)
        self._head_size = 0

    def _begin(self, size: int) -> None:
        self._room = memoryview(bytearray(size))
        self._filled = 0

    def receive(self) -> Message:
        """The next message; waits for it if the socket does.

        Raises
        ------
        BlockingIOError
            A non-blocking socket has no whole message yet; what it had is kept.
        EOFError
            The other side is gone, between messages or within one.
        """
        if not self._head_size:
            self._fill()
            self._head_size, size = _SIZES.unpack(self._room)
            self._begin(size)
        self._fill()
        body, head_size, self._head_size = self._room, self._head_size, 0
        self._begin(_SIZES.size)
        return _decode(body, head_size)

    def _fill(self) -> None:
        while self._filled < len(self._room):
            try:
                count = self._link.recv_into(self._room[self._filled :])
            except ConnectionError:
                count = 0  # what a process that dies with unread messages leaves
            if not count:
                raise EOFError
            self._filled += count


def _decode(body: memoryview, head_size: int) -> Message:
    head, sizes = pickle.loads(body[:head_size])  # noqa: S301 - from a process of this program
    payloads, start = [], head_size
    for size in sizes:
        payloads.append(body[start : start + size])
        start += size
    return Message(head, payloads)
