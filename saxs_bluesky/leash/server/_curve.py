"""Encryption of a server's connections, for clients whose keys it knows (CURVE, as 0MQ has it)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from saxs_bluesky.errors import OutputError, SaxsError

_SERVER = "server"


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
                zmq.auth.create_certificates(folder, _SERVER)
                self.secret_file.chmod(0o600)
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

    def guard(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> ThreadAuthenticator:
        """Let only clients with keys speak to a socket that is not bound yet; what is returned is to be stopped."""
        authenticator = ThreadAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=str(self.clients))
        socket.curve_publickey = self.public
        socket.curve_secretkey = self._secret
        socket.curve_server = True
        return authenticator
