"""Listener of the SAXSdog network: it hears from feeders which files are complete."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import zmq

from saxs_bluesky.errors import SaxsError, printable
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._announcements import AnnouncedFiles, announced_path
from saxs_bluesky.sources._feeder_connection import FeederConnection
from saxs_bluesky.sources._settings import SourceSettings
from saxs_bluesky.support.addresses import tcp_address
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

MOST_ANNOUNCED = 1_000_000
"""How many announced files may wait to be looked at."""

_POLL_MS = 100
_PAUSE_AFTER_FAILURE = 1.0  # seconds
_SECONDS_TO_END = 5.0  # for the thread, which may wait for a file system that does not answer
_CATCHING_UP = 2.0  # seconds for what is on its way at the end


@dataclass(frozen=True)
class FeederCounters:
    """Messages of feeders, by what they were, and the connection to them.

    Parameters
    ----------
    announced
        Images in the folder.
    ignored
        Files that are no images by their names, or are hidden; and commands other than announcements.
    outside
        Images that are not in the folder, or that a symbolic link leads out of it.
    unreadable
        What was no announcement.
    connected
        Feeders that there is a connection to, now.
    interruptions
        How often a connection was lost; what was announced before it was there again was missed.
    dropped
        Announcements that were dropped, since `MOST_ANNOUNCED` files waited to be looked at.
    """

    announced: int = 0
    ignored: int = 0
    outside: int = 0
    unreadable: int = 0
    connected: int = 0
    interruptions: int = 0
    dropped: int = 0


class FeederListener:
    """Finds the images that feeders announce, in a thread of its own.

    It connects again where a feeder goes and comes back, and keeps up to `MOST_ANNOUNCED` names that arrive; a file
    that is announced again before it is asked for is one. What a feeder announces while there is no connection
    is missed, and nothing in the protocol tells of it: where that matters, list the folder too, with a `FolderWatch`
    beside this.

    A feeder has no secret, so anyone may speak for it. Paths that lead out of the folder and messages that are no
    announcements are counted, and otherwise left alone.

    Parameters
    ----------
    settings
        ``feeder`` holds the addresses of the feeders; images in ``directory`` and its subfolders count. Relative
        paths are relative to ``base``.

    Raises
    ------
    SaxsError
        An address is not valid.
    """

    announces = True
    exhausted = False  # more may always come
    next_look = None  # announcements wake

    def __init__(self, settings: SourceSettings) -> None:
        self.addresses = [tcp_address(address) for address in settings.feeder]
        self.counters = FeederCounters()
        self._files = AnnouncedFiles(settings)
        self._announced: dict[str, None] = {}  # in their order
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._quiet = threading.Event()  # nothing was on its way since somebody asked
        self._quiet.set()
        self._thread: threading.Thread | None = None

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:  # noqa: ARG002 - known files may be announced again
        """Start to listen.

        Raises
        ------
        SaxsError
            There can be no connection to an address.
        """
        self._wake = wake
        self._stopping.clear()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            connections = [FeederConnection(context, address) for address in self.addresses]
        except SaxsError:
            context.destroy(linger=0)
            raise
        self._thread = threading.Thread(
            target=self._listen, args=(context, connections), name="saxs-bluesky-feeder", daemon=True
        )
        self._thread.start()

    def find(self) -> list[str]:
        """Paths of images that were announced since the last call, in the order of their first announcements."""
        with self._lock:
            announced, self._announced = self._announced, {}
        return list(announced)

    def find_all(self) -> list[str]:
        """Paths of images that were announced, those included that are on their way through this computer."""
        if self._thread is not None:
            self._quiet.clear()
            self._quiet.wait(_CATCHING_UP)
        return self.find()

    def close(self) -> None:
        """End the connection."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_END)
            self._thread = None

    def _listen(self, context: zmq.Context[zmq.Socket[bytes]], connections: Sequence[FeederConnection]) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._poll(connections)
            # Announcements would stay away without a word if this thread ended.
            except Exception:  # noqa: BLE001
                failures += 1
                if is_logged(failures):
                    _log.exception("%s: listening to a feeder failed, and goes on", ", ".join(self.addresses))
                self._stopping.wait(_PAUSE_AFTER_FAILURE)
        for connection in connections:
            connection.close()
        context.destroy(linger=0)

    def _poll(self, connections: Sequence[FeederConnection]) -> None:
        poller = zmq.Poller()
        for connection in connections:
            connection.register(poller)
        asked = not self._quiet.is_set()
        heard = bool(poller.poll(_POLL_MS))
        for connection in connections:
            if (parts := connection.receive()) is not None:
                self._handle_message(parts)
            connection.maintain()
        self._count_connections(connections)
        if asked and not heard:
            self._quiet.set()

    def _count_connections(self, connections: Sequence[FeederConnection]) -> None:
        interruptions = sum(connection.interruptions for connection in connections)
        if interruptions > self.counters.interruptions and is_logged(interruptions):
            gone = ", ".join(connection.address for connection in connections if not connection.connected)
            _log.warning("%s: connection to the feeder lost; what it announces before it is back is missed", gone)
        connected = sum(connection.connected for connection in connections)
        self.counters = replace(self.counters, connected=connected, interruptions=interruptions)

    def _handle_message(self, parts: Sequence[bytes]) -> None:
        kind, path = self._classify(parts)
        self.counters = replace(self.counters, **{kind: getattr(self.counters, kind) + 1})
        if kind == "announced":
            with self._lock:
                self._announced[path] = None
                dropped = len(self._announced) > MOST_ANNOUNCED
                if dropped:
                    lost = next(iter(self._announced))
                    del self._announced[lost]
            self._wake()
            if dropped:
                self._warn_dropped(lost)

    def _warn_dropped(self, path: str) -> None:
        self.counters = replace(self.counters, dropped=self.counters.dropped + 1)
        if is_logged(self.counters.dropped):
            _log.warning(
                "%s: announced, and dropped: %d files wait to be looked at (dropped so far: %d); list the folder to "
                "find them (saxsdog -w, saxsleash readdir)",
                printable(path),
                MOST_ANNOUNCED,
                self.counters.dropped,
            )

    def _classify(self, parts: Sequence[bytes]) -> tuple[str, str]:
        try:
            text = announced_path(parts)
            return ("ignored", "") if text is None else self._files.classify(text)
        # A parser of what strangers send raises anything.
        except Exception as error:  # noqa: BLE001
            number = self.counters.unreadable + 1
            if is_logged(number):
                # repr, since a message may hold what would act on a terminal.
                _log.warning(
                    "%s: wanted an announcement of a file, found %s: %.200r (unreadable so far: %d)",
                    ", ".join(self.addresses),
                    type(error).__name__,
                    str(error)[:200],
                    number,
                )
            return "unreadable", ""
