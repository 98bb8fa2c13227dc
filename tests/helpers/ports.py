"""Ports for servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that systems give to connections and to servers that ask for any (32768 and up): another test could take
# one of these between the question whether it is free and the start of the server. Tests that run beside each other
# have ranges of their own.
_FIRST, _RANGE = 10_000, 2000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(os.getpid() % _RANGE)


def free_port() -> int:
    """A port of the loopback that nobody has, and that nobody else is given."""
    while True:
        port = _FIRST + _WORKER % 10 * _RANGE + next(_numbers) % _RANGE
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
