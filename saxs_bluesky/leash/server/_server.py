"""The server of the SAXSdog network: a socket to which deployed clients speak as before."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zmq

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.protocol import Kind, LeashError, Limits
from saxs_bluesky.leash.server._command_handler import IMMEDIATE_COMMANDS, ORDERED_COMMANDS, CommandHandler
from saxs_bluesky.leash.server._replay_memory import ReplayMemory
from saxs_bluesky.leash.server._request_validator import Request, RequestValidator
from saxs_bluesky.leash.server._server_keys import ServerKeys
from saxs_bluesky.leash.server._server_messages import Message, receive_message, router_socket, send_answer
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

_LONG_MESSAGE = 65_536  # bytes; a longer message takes so long to validate that others should not wait for it
_MOST_WAITING = 200  # requests that may wait for a worker
_MESSAGES_PER_TURN = 100  # before the answers of the workers are sent
_POLL_MS = 500
_LAST_ANSWERS_SECONDS = 5.0  # for requests in hand when the server stops
_LINGER_MS = 200  # for answers on their way when the server stops


@dataclass(frozen=True)
class ServerCounters:
    """Requests that were ``served`` and ``refused``, and those that ``wait`` for a worker."""

    served: int = 0
    refused: int = 0
    wait: int = 0


class _Worker(threading.Thread):
    """A thread that does the tasks in its queue, one after the other; it ends at None."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        """Do the tasks."""
        while (task := self.tasks.get()) is not None:
            task()


class LeashServer:
    """Answers the clients that share one secret.

    One thread owns the socket, and answers at once what many clients ask often (``stat``, ``plot``, ``fileslist``).
    Two workers do what takes longer: one does everything that changes the queue, in order, the other the rest. Each
    message gets one answer, unless its client has gone.

    Parameters
    ----------
    address
        Where clients connect: ``tcp://host:port``.
    secret
        Shared by server and clients.
    handler
        Does what valid requests ask for.
    limits
        Limits for requests and answers; None: the defaults.
    memory
        Path of the file with the requests seen; None: only those since the start are remembered.
    clock
        Returns the time in seconds since 1970.
    legacy
        Accept the requests of deployed clients, whose signature leaves attachments out.
    encryption
        Keys to encrypt connections with (CURVE); None: no encryption.

    Raises
    ------
    SaxsError
        The secret is empty, or the address is taken or not valid.
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
        self._memory = ReplayMemory(memory, window=self._limits.window, most=self._limits.remembered, clock=clock)
        self._validator = RequestValidator(secret, self._limits, self._memory, clock, legacy=legacy)
        self._served = self._refused = self._waiting = self._waiting_bytes = 0
        self._done: queue.SimpleQueue[tuple[Message, list[bytes]]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._wake_read_end, self._wake_write_end = os.pipe()
        os.set_blocking(self._wake_read_end, False)
        os.set_blocking(self._wake_write_end, False)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = router_socket(self._context, self._limits)
        self._authenticator = encryption.authenticate_clients(self._context, self._socket) if encryption else None
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._release()
            raise SaxsError(f"{address}: wanted a free address for the server, found: {error}") from error
        self._ordered, self._unordered = _Worker("saxs-bluesky-changes"), _Worker("saxs-bluesky-looks")
        self._thread = threading.Thread(target=self._run, name="saxs-bluesky-server", daemon=True)

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    @property
    def counters(self) -> ServerCounters:
        """How many requests there were."""
        return ServerCounters(self._served, self._refused, self._waiting)

    @property
    def is_alive(self) -> bool:
        """True while it answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Accept no more requests, answer those in hand if that takes less than 5 s, and release the address."""
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._ordered.tasks.put(None)
        self._unordered.tasks.put(None)
        self._release()

    def _release(self) -> None:
        self._socket.close(linger=_LINGER_MS)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()
        self._memory.close()
        # The write end is closed with the object: a worker may still use it.
        os.close(self._wake_read_end)

    def __del__(self) -> None:
        if hasattr(self, "_wake_write_end"):
            os.close(self._wake_write_end)

    def _wake(self) -> None:
        # A full pipe wakes the thread too.
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
            for _ in range(_MESSAGES_PER_TURN):
                message = receive_message(self._socket, self._limits)
                if message is None:
                    break
                self._dispatch(message)
        deadline = time.monotonic() + _LAST_ANSWERS_SECONDS
        poller.unregister(self._socket)
        while self._waiting and time.monotonic() < deadline:
            poller.poll(_POLL_MS // 10)
            self._send_done()

    def _dispatch(self, message: Message) -> None:
        """Answer a message, or give it to a worker."""
        request = None
        try:
            if message.error is not None:
                raise message.error
            if len(message.parts) > 1 or message.size > _LONG_MESSAGE:
                # Only `new` and `mergedata` are long, and they are done in order anyway.
                worker = self._ordered
            else:
                request = self._validator.validate(message.parts)
                if request.command in IMMEDIATE_COMMANDS:
                    send_answer(self._socket, message.route, self._answer(request))
                    return
                worker = self._ordered if request.command in ORDERED_COMMANDS else self._unordered
            waiting_bytes = self._waiting_bytes + message.size
            if self._waiting >= _MOST_WAITING or (self._waiting and waiting_bytes > 2 * self._limits.message_bytes):
                raise LeashError(Kind.SERVER, "The server has too much to do; ask again later.")
        # The server goes on, and every client gets its answer.
        except Exception as error:  # noqa: BLE001
            send_answer(self._socket, message.route, self._error_reply(error, request))
            return
        self._waiting += 1
        self._waiting_bytes = waiting_bytes
        worker.tasks.put(lambda: self._process(message, request))

    def _send_done(self) -> None:
        """Send the answers of the workers."""
        with suppress(BlockingIOError):
            os.read(self._wake_read_end, 4096)
        while True:
            try:
                message, answer = self._done.get_nowait()
            except queue.Empty:
                return
            self._waiting -= 1
            self._waiting_bytes -= message.size
            send_answer(self._socket, message.route, answer)

    # Any thread

    def _process(self, message: Message, request: Request | None) -> None:
        """Validate a message, unless that is done, and do what it asks for; in a worker."""
        try:
            request = request or self._validator.validate(message.parts)
            answer = self._answer(request)
        # The worker goes on, and every client gets its answer.
        except Exception as error:  # noqa: BLE001
            answer = self._error_reply(error, request)
        self._done.put((message, answer))
        self._wake()

    def _answer(self, request: Request) -> list[bytes]:
        if request.command in IMMEDIATE_COMMANDS:
            context = request.reply_context
            answer = self._validator.sign(context, self._handler.immediate_answer(request.command, context.protocol))
        else:
            answer = self._validator.reply(request, *self._handler.answer(request))
        self._served += 1
        return answer

    def _error_reply(self, error: Exception, request: Request | None) -> list[bytes]:
        self._refused += 1
        if not isinstance(error, SaxsError | OSError):
            _log.error("a request failed", exc_info=error)
        elif is_logged(self._refused):
            kind = error.kind if isinstance(error, LeashError) else type(error).__name__
            _log.warning("a request is refused (%d so far): %s: %s", self._refused, kind, error)
        return self._validator.error_reply(error, request)
