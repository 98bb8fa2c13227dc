"""Messages of a ROUTER socket: received with a limit, and answered on the route that they came."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from saxs_bluesky.leash.protocol import Kind, LeashError, Limits

_log = logging.getLogger(__name__)

_LONGEST_ROUTE = 8  # proxies on the way, and the client
_LONGEST_IDENTITY = 255  # bytes, the most that 0MQ allows
_BACKLOG = 1000  # connections that are made at the same time
_OPTIONS = {
    zmq.LINGER: 0,
    zmq.RCVHWM: 4,  # of a client, which waits for its answer before it asks again
    zmq.SNDHWM: 1000,  # of a client that asks many things and does not read; more answers are dropped
    zmq.HANDSHAKE_IVL: 10_000,  # milliseconds
    zmq.BACKLOG: _BACKLOG,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,  # seconds
    zmq.TCP_KEEPALIVE_INTVL: 15,
    zmq.TCP_KEEPALIVE_CNT: 4,
}


@dataclass(frozen=True)
class Message:
    """A message.

    Parameters
    ----------
    route
        Frames that lead its answer back.
    parts
        The frames behind; none if it was too large.
    size
        Bytes in it.
    error
        Why it is refused: it was too large.
    """

    route: list[bytes]
    parts: list[bytes]
    size: int
    error: LeashError | None = None


def router_socket(context: zmq.Context[zmq.Socket[bytes]], limits: Limits) -> zmq.Socket[bytes]:
    """Make the socket of a server, not bound yet."""
    socket = context.socket(zmq.ROUTER)
    for option, value in _OPTIONS.items():
        socket.setsockopt(option, value)
    socket.setsockopt(zmq.MAXMSGSIZE, max(limits.attachment_bytes, limits.request_bytes))
    return socket


def receive_message(socket: zmq.Socket[bytes], limits: Limits) -> Message | None:
    """Receive a message, and keep no more of it than the limits allow.

    Returns
    -------
    None if there is no message.
    """
    frames: list[bytes] = []
    size = count = 0
    most_bytes = limits.message_bytes + _LONGEST_ROUTE * _LONGEST_IDENTITY
    most_frames = limits.attachments + 1 + 2 * _LONGEST_ROUTE
    more = True
    while more:
        try:
            frame = socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        more = bool(socket.getsockopt(zmq.RCVMORE))
        count, size = count + 1, size + len(frame)
        if size > most_bytes or count > most_frames:
            del frames[_LONGEST_ROUTE + 1 :]
        else:
            frames.append(frame)
    route, parts = _split(frames)
    if size > most_bytes or count > most_frames:
        text = f"wanted at most {most_bytes} bytes in {most_frames} parts, found {size} in {count}"
        return Message(route, [], 0, LeashError(Kind.VALUE, text))
    return Message(route, parts, size)


def _split(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Route and parts of a message: a REQ socket, also behind proxies, puts an empty frame between them."""
    for index, frame in enumerate(frames[1 : _LONGEST_ROUTE + 1], start=1):
        if not frame and (index == 1 or len(frames) > index + 1):
            return frames[: index + 1], frames[index + 1 :]
        if len(frame) > _LONGEST_IDENTITY:
            break
    return frames[:1], frames[1:]


def send_answer(socket: zmq.Socket[bytes], route: Sequence[bytes], answer: Sequence[bytes]) -> None:
    """Send the parts of an answer, unless its client does not read or has gone."""
    try:
        socket.send_multipart([*route, *answer], zmq.NOBLOCK, copy=False)
    except zmq.ZMQError as error:
        _log.debug("an answer was not sent: %s", error)
