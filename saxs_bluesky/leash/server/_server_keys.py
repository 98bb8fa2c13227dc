"""Encryption of a server's connections (0MQ's CURVE), for clients whose keys it knows."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path
from typing import TypeAlias

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from saxs_bluesky.errors import OutputError, SaxsError, system_reason
from saxs_bluesky.leash.protocol import make_keys

_log = logging.getLogger(__name__)

_SERVER = "server"
_POLL_SECONDS = 1.0
_LARGEST_FILE = 65_536  # bytes
_KEY_BYTES = 32

_Stamps: TypeAlias = "dict[str, tuple[int, ...]]"


class ServerKeys:
    """The keys of a server: ``server.key_secret`` and ``server.key`` of its own, and ``clients/*.key`` of its clients.

    Parameters
    ----------
    folder
        Folder of the keys; keys of the server are made if there are none.

    Raises
    ------
    SaxsError
        The server's keys cannot be read or made. Clients' keys that cannot be read are ignored, and logged.
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
        except OSError as error:
            raise OutputError(f"{folder}: wanted a folder for keys, found {system_reason(error)}") from error
        except ValueError as error:
            raise SaxsError(f"{self.secret_file}: wanted the keys of the server, found {error}") from error
        if secret is None:
            raise SaxsError(f"{self.secret_file}: wanted a secret key, found none in it")
        self.public = public
        self._secret = secret
        self._client_keys = ClientKeys(self.clients)

    @property
    def number_of_clients(self) -> int:
        """Number of clients with a key."""
        return len(self._client_keys)

    def authenticate_clients(
        self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]
    ) -> ClientAuthenticator:
        """Encrypt the connections of a socket that is not bound yet, for known clients only.

        Returns
        -------
        What authenticates the clients; to be stopped after the socket is closed.
        """
        socket.curve_publickey = self.public
        socket.curve_secretkey = self._secret
        socket.curve_server = True
        return ClientAuthenticator(context, self._client_keys)


class ClientKeys:
    """The public keys in a folder's files ``*.key``.

    A file that holds no key is ignored, and logged once until it is changed. Without the folder there are no keys.

    Parameters
    ----------
    folder
        Folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps: _Stamps = {}
        self._keys: dict[str, bytes] = {}
        self._allowed: frozenset[bytes] = frozenset()
        self._is_listed = True
        self.refresh()

    def __len__(self) -> int:
        """Number of different keys."""
        return len(self._allowed)

    def refresh(self) -> None:
        """Read new and changed files, and forget the keys of those that are gone."""
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return
        for name in self._stamps.keys() - stamps.keys():
            self._keys.pop(name, None)
        for name, stamp in stamps.items():
            if stamp != self._stamps.get(name):
                self._keys.pop(name, None)
                self._read_key(name)
        self._stamps = stamps
        self._allowed = frozenset(self._keys.values())

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002 - the authenticator passes both
        """True if the client with this key is known; called by 0MQ's authenticator, in its thread."""
        return key in self._allowed

    def _read_stamps(self) -> _Stamps:
        """Stamps of the files, which change with content and mode."""
        stamps: _Stamps = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".key"):
                        stamps[entry.name] = _stamp(Path(entry.path))
        except OSError as error:
            if self._is_listed:
                text = "%s: the folder of the clients' keys cannot be read (%s): nobody is let in"
                _log.warning(text, self._folder, system_reason(error))
            self._is_listed = False
            return {}
        self._is_listed = True
        return stamps

    def _read_key(self, name: str) -> None:
        path = self._folder / name
        try:
            self._keys[name] = _public_key(path)
        except (OSError, ValueError) as error:
            found = system_reason(error) if isinstance(error, OSError) else error
            _log.warning("%r: wanted the public key of a client, found %s; it is ignored", str(path), found)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode


def _public_key(path: Path) -> bytes:
    """Public key in a file, in Z85; OSError or ValueError if there is none."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # to read a pipe would stop the server
        raise ValueError("no regular file")
    if found.st_size > _LARGEST_FILE:
        raise ValueError(f"{found.st_size} bytes")
    try:
        key, _ = zmq.auth.load_certificate(path)
        whole = len(z85.decode(key)) == _KEY_BYTES
    except OSError:
        raise
    except Exception as error:  # the decoder raises whatever its arithmetic does
        raise ValueError("no key in it") from error
    if not whole:
        raise ValueError("no key in it")
    return key


class ClientAuthenticator:
    """Lets only clients connect whose public keys are known; the keys may change meanwhile.

    Parameters
    ----------
    context
        0MQ's context, that of the server's sockets.
    keys
        The clients' keys.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ClientKeys) -> None:
        self._client_keys = keys
        self._next_refresh = time.monotonic() + _POLL_SECONDS
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain="*", credentials_provider=keys)

    def refresh(self) -> None:
        """Read changed keys, at most once a second; connections that exist are kept."""
        now = time.monotonic()
        if now >= self._next_refresh:
            self._next_refresh = now + _POLL_SECONDS
            self._client_keys.refresh()

    def stop(self) -> None:
        """Stop the authenticator's thread."""
        self._authenticator.stop()
