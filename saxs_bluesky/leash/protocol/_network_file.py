"""The network file: addresses and secrets of the servers."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import OutputError, SaxsError, SchemaError, system_errors_as, system_reason
from saxs_bluesky.leash.protocol._errors import LeashError
from saxs_bluesky.leash.protocol._messages import parse
from saxs_bluesky.leash.protocol._secret_files import write_private
from saxs_bluesky.schemas import fill_defaults, load_schema, validate

SERVER_PORT = 9723
"""Port of a server, unless told otherwise."""
FEEDER_PORT = 9823
"""Port of a feeder, unless told otherwise."""
NETWORK_FILE = Path("~/.saxsdognetwork")
"""Path that deployed programs use; ``~`` is not expanded yet."""

_LARGEST_FILE = 2**20
_SECRET_BYTES = 32  # as many as the digest of protocol 2 has
_HARMLESS = ("Server", "Feeder", "Name")


@dataclass(frozen=True)
class NetworkEntry:
    """A server: its address, that of its feeder, the secret it shares with its clients, and a name for people."""

    server: str
    feeder: str
    secret: str = field(repr=False)
    name: str = ""


@dataclass(frozen=True)
class Network:
    """The servers in a network file.

    Parameters
    ----------
    entries
        Servers, in the file's order.
    exposed
        True if others than its owner can read or change the file.
    where
        Path of the file.
    """

    entries: tuple[NetworkEntry, ...]
    exposed: bool
    where: str

    def choose(self, index: int = 0) -> NetworkEntry:
        """Server number ``index``, counted from 0.

        Raises
        ------
        SaxsError
            There is no such server.
        """
        if not 0 <= index < len(self.entries):
            wanted = f"a number from 0 to {len(self.entries) - 1}" if self.entries else "at least one server in it"
            raise SaxsError(f"{self.where}: wanted {wanted}, found server number {index} asked for")
        return self.entries[index]


def read_network(path: str | Path = NETWORK_FILE) -> Network:
    """Read a network file. No error message shows a secret.

    Raises
    ------
    SaxsError
        It cannot be read.
    SchemaError
        It does not fit its schema.
    """
    path = Path(path).expanduser()
    where = str(path)
    try:
        with path.open("rb") as file:
            exposed = bool(stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077)
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise SaxsError(f"{where}: wanted a network file, found nothing there; saxsnetconf makes one") from error
    except OSError as error:
        raise SaxsError(f"{where}: wanted a network file, found {system_reason(error)}") from error
    if len(content) > _LARGEST_FILE:
        raise SchemaError(f"{where}: wanted a network file, found one of more than {_LARGEST_FILE} bytes")
    try:
        document = parse(content.removeprefix(b"\xef\xbb\xbf"), where, depth=8, values=10_000)
    except LeashError as error:
        raise SchemaError(str(error)) from None
    schema = load_schema("leash-network")
    validate(_without_secrets(document), schema, where)
    entries = (
        NetworkEntry(server=entry["Server"], feeder=entry["Feeder"], secret=entry["Secret"], name=entry["Name"])
        for entry in fill_defaults(document, schema)
    )
    return Network(tuple(entries), exposed, where)


def _without_secrets(document: Any) -> Any:
    """A copy without secrets, to be validated: errors show the values that they found."""
    if isinstance(document, list):
        return [_without_secrets(entry) for entry in document]
    if isinstance(document, dict):
        return {name: entry if name in _HARMLESS else _concealed(entry) for name, entry in document.items()}
    return _concealed(document)


def _concealed(value: Any) -> Any:
    """A value of the same type, which is empty if the original is."""
    match value:
        case str():
            return "***" if value else ""
        case list() | dict():
            return type(value)()
        case bool() | None:
            return value
        case _:
            return 0


def new_entry(
    host: str = "localhost", *, server_port: int = SERVER_PORT, feeder_port: int = FEEDER_PORT, name: str = ""
) -> NetworkEntry:
    """Make the entry of a server on a host, with a new random secret."""
    return NetworkEntry(
        server=f"tcp://{host}:{server_port}",
        feeder=f"tcp://{host}:{feeder_port}",
        secret=secrets.token_hex(_SECRET_BYTES),
        name=name,
    )


def write_network(entries: Sequence[NetworkEntry], path: str | Path = NETWORK_FILE) -> Path:
    """Write a network file that only its owner can read at any moment.

    Returns
    -------
    Path of the file.

    Raises
    ------
    OutputError
        It cannot be written; a file that was there is not changed.
    """
    path = Path(path).expanduser()
    document = [{key.capitalize(): value for key, value in asdict(entry).items()} for entry in entries]
    text = json.dumps(document, indent=2) + "\n"
    with system_errors_as(OutputError, lambda reason: f"{path}: the network file cannot be written ({reason})"):
        write_private(path, text.encode("ascii"))
    return path
