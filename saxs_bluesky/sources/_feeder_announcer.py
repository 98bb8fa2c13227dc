"""Announcer of the SAXSdog network: it tells servers which files are complete."""

from __future__ import annotations

import json
import os
from pathlib import Path

import zmq

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.sources._announcements import NEW_FILE
from saxs_bluesky.sources._feeder_connection import KEEPALIVE
from saxs_bluesky.support.addresses import tcp_address

_WAITING_AT_MOST = 1_000_000  # announcements for a listener that stands still
_LINGER = 5000  # milliseconds for announcements on their way when the announcer is closed


class FeederAnnouncer:
    """Announces files to everyone who listens; whoever comes later misses what was announced before.

    Parameters
    ----------
    address
        Where listeners connect to: ``port`` or ``host:port``; without a host only this computer's can, with ``*`` for
        the host all.

    Raises
    ------
    SaxsError
        The address is none, or taken.
    """

    def __init__(self, address: str) -> None:
        self.address = tcp_address(address)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        for option, value in KEEPALIVE.items():
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.SNDHWM, _WAITING_AT_MOST)
        self._socket.setsockopt(zmq.LINGER, _LINGER)
        try:
            self._socket.bind(self.address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise SaxsError(f"{self.address}: the feeder cannot listen at this address: {error}") from error

    def announce(self, path: str | Path) -> None:
        """Say that a file is complete; from one thread at a time.

        Parameters
        ----------
        path
            As listeners know it: absolute, or relative to their base directory.
        """
        self._socket.send(json.dumps({"command": NEW_FILE, "argument": os.fspath(path)}).encode())

    def close(self) -> None:
        """Send what is on its way, for up to five seconds."""
        self._context.destroy()
