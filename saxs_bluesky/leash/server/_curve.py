"""Encryption of a server's connections, for clients whose keys it knows (CURVE, as 0MQ has it)."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from saxs_bluesky.errors import OutputError, SaxsError
from saxs_bluesky.leash._curve import make_keys

_log = logging.getLogger(__name__)

_SERVER = "server"
_LOOK_EVERY = 1.0  # seconds


class ServerKeys:
    """The keys of a server: ``server.key_secret`` and ``server.key`` of its own, ``clients/*.key`` of its clients.

    Parameters
    ----------
    folder
        Of the keys; a server without keys makes itself some.

    Raises
    ------
    SaxsError
        The keys cannot be read, or made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients = folder / "clients"
        self.secret_file = folder / f"{_SERVER}.key_secret"
        try:
            self.clients.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.secret_file.exists():
                make_keys(folder, _SERVER)
            self.exposed = bool(stat.S_IMODE(os.stat(self.secret_file).st_mode) & 0o077)  # noqa: PTH116
            public, secret = zmq.auth.load_certificate(self.secret_file)
            self.number_of_clients = len(zmq.auth.load_certificates(self.clients))
        except OSError as error:
            raise OutputError(f"{folder}: wanted a folder for keys, found {error.strerror or error}") from error
        except ValueError as error:
            raise SaxsError(f"{folder}: wanted keys of server and clients, found {error}") from error
        if secret is None:
            raise SaxsError(f"{self.secret_file}: wanted a secret key, found none in it")
        self.public = public
        self._secret = secret

    def guard(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> Guard:
        """Let only clients with keys speak to a socket that is not bound yet; what is returned is to be stopped."""
        socket.curve_publickey = self.public
        socket.curve_secretkey = self._secret
        socket.curve_server = True
        return Guard(context, self.clients)


class Guard:
    """Lets clients in whose public keys lie in a folder; keys may come and go meanwhile.

    Parameters
    ----------
    context
        0MQ's, in which all sockets of a server are.
    clients
        The folder.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], clients: Path) -> None:
        self._clients = clients
        self._changed = self._change()
        self._next_look = time.monotonic() + _LOOK_EVERY
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(clients))

    def look(self) -> None:
        """Look whether there are other keys now, once a second at most; who is connected stays so."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY
        changed = self._change()
        if changed == self._changed:
            return
        self._changed = changed
        try:
            self._authenticator.configure_curve(domain="*", location=str(self._clients))
        except (OSError, ValueError) as error:  # a file that is half written is looked at again when it is whole
            _log.warning("%s: wanted keys of clients, found %s; those before go on to count", self._clients, error)

    def _change(self) -> list[tuple[str, int]]:
        try:
            return sorted((path.name, path.stat().st_mtime_ns) for path in self._clients.glob("*.key"))
        except OSError:
            return []

    def stop(self) -> None:
        """End."""
        self._authenticator.stop()
