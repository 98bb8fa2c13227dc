"""The server of the SAXSdog network: a socket that deployed clients speak to as they always did."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.protocol import Kind, LeashError, Limits
from saxs_bluesky.leash.server._command_handler import IMMEDIATE_COMMANDS, ORDERED_COMMANDS, CommandHandler
from saxs_bluesky.leash.server._replay_memory import ReplayMemory
from saxs_bluesky.leash.server._request_validator import Request, RequestValidator
from saxs_bluesky.leash.server._server_keys import ServerKeys
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

_LONG_MESSAGE = 65_536  # bytes of a message that takes so long to check that others should not wait for it
_MOST_WAITING = 200  # requests that may wait for a worker
_AT_A_TIME = 100  # messages between two looks at what the workers have done
_LONGEST_ROUTE = 8  # proxies on the way, and the client
_LONGEST_IDENTITY = 255  # bytes, as 0MQ has them
_POLL_MS = 500
_LAST_ANSWERS = 5.0  # seconds for requests in hand when the server ends
_LINGER = 200  # milliseconds for answers on their way then
_BACKLOG = 1000  # connections that come at once
_SOCKET_OPTIONS = {
    zmq.LINGER: 0,
    zmq.RCVHWM: 4,  # of a client, that waits for its answer before it asks again
    zmq.SNDHWM: 1000,  # of one that asks many things at once and does not read; more is dropped
    zmq.HANDSHAKE_IVL: 10_000,  # milliseconds
    zmq.BACKLOG: _BACKLOG,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,  # seconds
    zmq.TCP_KEEPALIVE_INTVL: 15,
    zmq.TCP_KEEPALIVE_CNT: 4,
}


@dataclass(frozen=True)
class ServerCounters:
    """Messages that came, by what became of them: ``served``, ``refused``; and those that ``wait``."""

    served: int = 0
    refused: int = 0
    wait: int = 0


@dataclass(frozen=True)
class _Message:
    """A message: the ``route`` that its answer goes, and its parts; none where it was too large to be taken in."""

    route: list[bytes]
    parts: list[bytes]
    size: int
    error: LeashError | None = None


class _LockedReplayMemory(ReplayMemory):
    """A memory of requests for the threads of a server."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._turn = threading.Lock()
        super().__init__(*args, **options)

    def accept_once(self, mark: str, signed: float, now: float) -> None:
        with self._turn:
            super().accept_once(mark, signed, now)


class _TaskThread(threading.Thread):
    """Does one thing after the other."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.start()

    def add(self, task: Callable[[], None] | None) -> None:
        """Do this too; None: end."""
        self._tasks.put(task)

    def run(self) -> None:
        """Work."""
        while (task := self._tasks.get()) is not None:
            task()


class LeashServer:
    """Answers the clients of one secret.

    One thread owns the socket. It answers at once what many clients ask for often (``stat``, ``plot``,
    ``fileslist``); two others do what takes long: one whatever changes the queue, in order, one the rest. Each message
    gets one answer, unless its client has gone.

    Parameters
    ----------
    address
        Where clients connect to: ``tcp://host:port``.
    secret
        What server and clients share.
    handler
        What does what they ask for.
    limits
        Bounds of what is taken in.
    memory
        Path of the file with the requests seen; None: those since the start are remembered.
    clock
        Tells the time in seconds since 1970.
    legacy
        Whether to take the requests of deployed clients.
    encryption
        Keys to encrypt connections with (CURVE); None: no encryption.

    Raises
    ------
    SaxsError
        The secret is empty, or the address taken or none.
    """

    def __init__(
        self,
        address: str,
        secret: str,
        handler: CommandHandler,
        *,
        limits: Limits | None = None,
        memory: Path | None = None,
        clock: Callable[[], float] = time.time,
        legacy: bool = True,
        encryption: ServerKeys | None = None,
    ) -> None:
        self.address = address
        self._handler = handler
        self._limits = limits or Limits()
        self._memory = _LockedReplayMemory(
            memory, window=self._limits.window, most=self._limits.remembered, clock=clock
        )
        self._validator = RequestValidator(secret, self._limits, self._memory, clock, legacy=legacy)
        self._served = self._refused = self._waiting = self._waiting_bytes = 0
        self._done: queue.SimpleQueue[tuple[list[bytes], list[bytes], int]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._wake_read_end, self._wake_write_end = os.pipe()
        os.set_blocking(self._wake_read_end, False)
        os.set_blocking(self._wake_write_end, False)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in _SOCKET_OPTIONS.items():
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max(self._limits.attachment_bytes, self._limits.request_bytes))
        self._authenticator = encryption.authenticate_clients(self._context, self._socket) if encryption else None
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._release()
            raise SaxsError(f"{address}: wanted a free address for the server, found: {error}") from error
        self._ordered, self._unordered = _TaskThread("saxs-bluesky-changes"), _TaskThread("saxs-bluesky-looks")
        self._thread = threading.Thread(target=self._run, name="saxs-bluesky-server", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def counters(self) -> ServerCounters:
        """How it stands."""
        return ServerCounters(self._served, self._refused, self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take no more requests, answer those in hand as far as five seconds allow, and let go of the address."""
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._ordered.add(None)
        self._unordered.add(None)
        self._release()

    def _release(self) -> None:
        self._socket.close(linger=_LINGER)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()
        self._memory.close()
        # The end that workers tell at stays with the object: one of them may still be at work.
        os.close(self._wake_read_end)

    def __del__(self) -> None:
        if hasattr(self, "_wake_write_end"):
            os.close(self._wake_write_end)

    def _wake(self) -> None:
        # Full: then there is enough to wake by.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._wake_write_end, b"x")

    # The thread of the socket

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_read_end, zmq.POLLIN)
        while not self._stopping.is_set():
            poller.poll(_POLL_MS)
            self._send_done()
            if self._authenticator is not None:
                self._authenticator.refresh()
            for _ in range(_AT_A_TIME):
                message = self._receive()
                if message is None:
                    break
                self._dispatch(message)
        deadline = time.monotonic() + _LAST_ANSWERS
        poller.unregister(self._socket)
        while self._waiting and time.monotonic() < deadline:
            poller.poll(_POLL_MS // 10)
            self._send_done()

    def _receive(self) -> _Message | None:
        """Receive a message, of which no more is kept than is taken."""
        frames: list[bytes] = []
        size = count = 0
        most_bytes = self._limits.message_bytes + _LONGEST_ROUTE * _LONGEST_IDENTITY
        most_frames = self._limits.attachments + 1 + 2 * _LONGEST_ROUTE
        more = True
        while more:
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return None
            more = bool(self._socket.getsockopt(zmq.RCVMORE))
            count, size = count + 1, size + len(frame)
            if size > most_bytes or count > most_frames:
                del frames[_LONGEST_ROUTE + 1 :]
            else:
                frames.append(frame)
        route, parts = _split(frames)
        if size > most_bytes or count > most_frames:
            text = f"wanted at most {most_bytes} bytes in {most_frames} parts, found {size} in {count}"
            return _Message(route, [], 0, LeashError(Kind.VALUE, text))
        return _Message(route, parts, size)

    def _dispatch(self, message: _Message) -> None:
        if message.error is not None:
            self._send_error(message, message.error)
        elif len(message.parts) > 1 or message.size > _LONG_MESSAGE:
            # Only `new` and `mergedata` are long: what is to be done about them must be done in order anyway.
            self._queue_task(self._ordered, message, lambda: self._process(message, None))
        else:
            self._answer_or_queue(message)

    def _answer_or_queue(self, message: _Message) -> None:
        request = None
        try:
            request = self._validator.validate(message.parts)
            if request.command in IMMEDIATE_COMMANDS:
                answer = self._validator.sign(request.reply_context, self._handler.immediate_answer(request.command))
                self._served += 1
                self._send(message.route, answer)
                return
        # The server must live on, and every client gets its answer.
        except Exception as error:  # noqa: BLE001
            self._send_error(message, error, request)
            return
        worker = self._ordered if request.command in ORDERED_COMMANDS else self._unordered
        self._queue_task(worker, message, lambda: self._process(message, request))

    def _queue_task(self, worker: _TaskThread, message: _Message, task: Callable[[], None]) -> None:
        bytes_waiting = self._waiting_bytes + message.size
        if self._waiting >= _MOST_WAITING or (self._waiting and bytes_waiting > 2 * self._limits.message_bytes):
            self._send_error(message, LeashError(Kind.SERVER, "The server has too much to do; ask again later."))
            return
        self._waiting += 1
        self._waiting_bytes = bytes_waiting
        worker.add(task)

    def _send_error(self, message: _Message, error: Exception, request: Request | None = None) -> None:
        self._send(message.route, self._error_reply(error, request))

    def _send_done(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_read_end, 4096)
        while True:
            try:
                route, answer, size = self._done.get_nowait()
            except queue.Empty:
                return
            self._waiting -= 1
            self._waiting_bytes -= size
            self._send(route, answer)

    def _send(self, route: Sequence[bytes], answer: Sequence[bytes]) -> None:
        try:
            self._socket.send_multipart([*route, *answer], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:  # a client that does not read, or has gone
            _log.debug("an answer was not sent: %s", error)

    # Any thread

    def _process(self, message: _Message, request: Request | None) -> None:
        """Do what a message asks for; in a worker."""
        try:
            if request is None:
                request = self._validator.validate(message.parts)
            if request.command in IMMEDIATE_COMMANDS:
                answer = self._validator.sign(request.reply_context, self._handler.immediate_answer(request.command))
            else:
                answer = self._validator.reply(request, *self._handler.answer(request))
            self._served += 1
        # A worker must live on, and every client gets its answer.
        except Exception as error:  # noqa: BLE001
            answer = self._error_reply(error, request)
        self._done.put((message.route, answer, message.size))
        self._wake()

    def _error_reply(self, error: Exception, request: Request | None) -> list[bytes]:
        self._refused += 1
        if not isinstance(error, SaxsError | OSError):
            _log.error("a request failed", exc_info=error)
        elif is_logged(self._refused):
            kind = error.kind if isinstance(error, LeashError) else type(error).__name__
            _log.warning("a request is refused (%d so far): %s: %s", self._refused, kind, error)
        return self._validator.error_reply(error, request)


def _split(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Route of a message and its parts: a REQ, also behind proxies, puts an empty frame between them."""
    for index, frame in enumerate(frames[1 : _LONGEST_ROUTE + 1], start=1):
        if not frame and (index == 1 or len(frames) > index + 1):
            return frames[: index + 1], frames[index + 1 :]
        if len(frame) > _LONGEST_IDENTITY:
            break
    return frames[:1], frames[1:]
