"""Keys of CURVE, with which 0MQ encrypts connections and authenticates both ends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth

from saxs_bluesky.errors import OutputError, SaxsError, system_reason


@dataclass(frozen=True)
class EncryptionKeys:
    """Keys with which a client encrypts its connection (CURVE); paths of files that `make_keys` wrote.

    Parameters
    ----------
    server
        The server's public key (``.key``).
    own
        The client's pair of keys (``.key_secret``).
    """

    server: Path
    own: Path

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Make a client's socket use the keys.

        Raises
        ------
        SaxsError
            A file cannot be read, or holds no key.
        """
        server, _ = _certificate(self.server)
        public, secret = _certificate(self.own)
        if secret is None:
            raise SaxsError(f"{self.own}: wanted a pair of keys, found a public key alone")
        try:
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret
        except zmq.ZMQError as error:
            raise SaxsError(f"{self.server}, {self.own}: wanted keys of CURVE, found others") from error


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair of keys: ``NAME.key`` is public, ``NAME.key_secret`` can be read by its owner only.

    Parameters
    ----------
    folder
        Folder of the files; it is made if it is missing.
    name
        Name of the files without suffix.

    Returns
    -------
    Paths of the public and of the secret key.

    Raises
    ------
    OutputError
        A file exists already, or cannot be written.
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    there = next((path for path in (public, secret) if path.exists()), None)
    if there is not None:
        raise OutputError(f"{there}: the key file exists already; it is not overwritten")
    umask = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        zmq.auth.create_certificates(folder, name)
        public.chmod(0o644)
    except OSError as error:
        raise OutputError(f"{folder}: wanted a folder for keys, found {system_reason(error)}") from error
    finally:
        os.umask(umask)
    return public, secret


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except OSError as error:
        raise SaxsError(f"{path}: wanted a file of keys, found {error.strerror or 'no file'}") from error
    except ValueError as error:
        raise SaxsError(f"{path}: wanted a file of keys, found no public key in it") from error
