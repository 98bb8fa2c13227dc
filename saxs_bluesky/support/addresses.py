"""Addresses on the network, as users write them."""

from __future__ import annotations

from saxs_bluesky.errors import SaxsError


def tcp_address(address: str) -> str:
    """Address as 0MQ wants it, on the loopback where it names no host: ``5568``, ``:5568``, ``host:5568``.

    Raises
    ------
    SaxsError
        It has no port.
    """
    protocol, found, rest = address.partition("://")
    if found and protocol != "tcp":
        return address
    host, _, port = (rest if found else address).rpartition(":")
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise SaxsError(f"{address!r}: wanted an address host:port or tcp://host:port, found no port from 1 to 65535")
    return f"tcp://{host or '127.0.0.1'}:{port}"
