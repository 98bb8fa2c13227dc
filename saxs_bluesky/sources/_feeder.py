"""The feeder of the SAXSdog network: it announces files when they are complete, and a server listens."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zmq

from saxs_bluesky.errors import SaxsError, printable
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._feeder_connection import KEEPALIVE, FeederConnection
from saxs_bluesky.sources._finders import Candidate
from saxs_bluesky.sources._folder_scanner import FolderScanner, is_image_name
from saxs_bluesky.sources._raw_run_composer import describe_session
from saxs_bluesky.sources._readiness import Readiness
from saxs_bluesky.sources._source import FileSource
from saxs_bluesky.support.addresses import tcp_address
from saxs_bluesky.support.log_throttle import is_logged

_log = logging.getLogger(__name__)

NEW_FILE = "new file"

_LONGEST_PATH, _LONGEST_NAME = 4095, 255  # bytes, as Linux has them
# Names with these are no detector's, act on terminals, or cannot be written in UTF-8.
_STRANGE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

MOST_ANNOUNCED = 1_000_000
"""How many announced files may wait to be looked at."""

_LOOK_EVERY = 100  # milliseconds
_PAUSE_AFTER_FAILURE = 1.0  # seconds
_SECONDS_TO_END = 5.0  # for the thread, which may wait for a file system that does not answer
_AT_A_TIME = 100  # messages of a connection between two looks after it
_CATCHING_UP = 2.0  # seconds for what is on its way at the end

_WAITING_AT_MOST = 1_000_000  # announcements for a listener that stands still
_LINGER = 5000  # milliseconds for announcements on their way when the announcer is closed


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
    address
        Of the feeder, ``host:port``, or of several.
    directory
        The folder whose images count, those in folders below it included.
    base
        What relative paths are relative to; default: the folder itself.
    follow_links
        Whether to take files that symbolic links lead to out of the folder.

    Raises
    ------
    SaxsError
        An address is none.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        directory: str | Path,
        *,
        base: str | Path | None = None,
        follow_links: bool = False,
    ) -> None:
        self.addresses = [tcp_address(one) for one in ([address] if isinstance(address, str) else address)]
        self.counters = FeederCounters()
        self._places = _Places(directory, base, follow_links=follow_links)
        self._announced: dict[str, None] = {}  # in their order
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._quiet = threading.Event()  # nothing was on its way since somebody asked
        self._quiet.set()
        self._thread: threading.Thread | None = None

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:  # noqa: ARG002 - what is known may be announced anew
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

    def find(self) -> Iterable[Candidate]:
        """Name the images that were announced since the last call, in the order of their first announcements."""
        with self._lock:
            announced, self._announced = self._announced, {}
        return [Candidate(path, promised=True) for path in announced]

    def find_all(self) -> Iterable[Candidate]:
        """Name the images that were announced, those included that are on their way through this computer."""
        if self._thread is not None:
            self._quiet.clear()
            self._quiet.wait(_CATCHING_UP)
        return self.find()

    @property
    def next_look(self) -> None:
        """None: announcements wake."""
        return

    @property
    def exhausted(self) -> bool:
        """Never: more may always come."""
        return False

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
                self._listen_once(connections)
            # Announcements would stay away without a word if this thread ended.
            except Exception:  # noqa: BLE001
                failures += 1
                if is_logged(failures):
                    _log.exception("%s: listening to a feeder failed, and goes on", ", ".join(self.addresses))
                self._stopping.wait(_PAUSE_AFTER_FAILURE)
        for connection in connections:
            connection.close()
        context.destroy(linger=0)

    def _listen_once(self, connections: Sequence[FeederConnection]) -> None:
        poller = zmq.Poller()
        for connection in connections:
            connection.register(poller)
        asked = not self._quiet.is_set()
        heard = bool(poller.poll(_LOOK_EVERY))
        for connection in connections:
            if (parts := connection.receive()) is not None:
                self._take(parts)
            connection.look_after()
        self._count_connections(connections)
        if asked and not heard:
            self._quiet.set()

    def _count_connections(self, connections: Sequence[FeederConnection]) -> None:
        interruptions = sum(connection.interruptions for connection in connections)
        if interruptions > self.counters.interruptions and is_logged(interruptions):
            gone = ", ".join(connection.address for connection in connections if not connection.connected)
            _log.warning("%s: wanted a feeder, found it gone; what it announces before it is back is missed", gone)
        connected = sum(connection.connected for connection in connections)
        self.counters = replace(self.counters, connected=connected, interruptions=interruptions)

    def _take(self, parts: Sequence[bytes]) -> None:
        kind, path = self._judge(parts)
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
                self._tell_dropped(lost)

    def _tell_dropped(self, path: str) -> None:
        self.counters = replace(self.counters, dropped=self.counters.dropped + 1)
        if is_logged(self.counters.dropped):
            _log.warning(
                "%s: announced, and dropped: %d files wait to be looked at (dropped so far: %d); list the folder to "
                "find them (saxsdog -w, saxsleash readdir)",
                printable(path),
                MOST_ANNOUNCED,
                self.counters.dropped,
            )

    def _judge(self, parts: Sequence[bytes]) -> tuple[str, str]:
        try:
            text = _announced_path(parts)
            return ("ignored", "") if text is None else self._places.judge(text)
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


def _announced_path(parts: Sequence[bytes]) -> str | None:
    """Path in a message; None where the message is another command.

    Raises
    ------
    ValueError, TypeError, RecursionError
        The message is no command, or its argument no path.
    """
    if len(parts) != 1:
        raise ValueError(f"wanted a message of one part, found {len(parts)}")
    message = json.loads(parts[0].decode())
    if not isinstance(message, dict) or not isinstance(message.get("command"), str):
        raise TypeError(f"wanted an object with a command, found {parts[0][:80]!r}")
    if message["command"] != NEW_FILE:
        return None
    path = message.get("argument")
    if not isinstance(path, str):
        raise TypeError(f"wanted a path as the argument, found {parts[0][:80]!r}")
    if not path or _STRANGE.search(path):
        raise ValueError(f"wanted a path, found {path[:80]!r}")
    if len(path.encode()) > _LONGEST_PATH or any(len(name.encode()) > _LONGEST_NAME for name in path.split("/")):
        raise ValueError(f"wanted a path that a file can have, found a longer one: {path[:80]!r}")
    return path


class _Places:
    """Tells which announced paths are images of a folder, and what they are called there."""

    def __init__(self, directory: str | Path, base: str | Path | None, *, follow_links: bool) -> None:
        self._tree = FolderScanner(directory, AcceptedFiles(), follow_links=follow_links)
        self._base = Path(directory if base is None else base).absolute()
        self._root = Path(directory).absolute()
        self._real_root = Path(os.path.realpath(directory))
        self._follow_links = follow_links

    def judge(self, text: str) -> tuple[str, str]:
        """Say what an announced path is, as `FeederCounters` has it, and its name below the folder as given."""
        path = self._base / text
        if not is_image_name(path.name):
            return "ignored", ""
        relative = self._relative(path)
        if relative is None:
            return "outside", ""
        if any(part.startswith(".") for part in relative.parts):
            return "ignored", ""
        name = os.path.join(self._tree.root, relative)
        return ("announced" if self._tree.takes(name) else "outside"), name

    def _relative(self, path: Path) -> Path | None:
        """Path relative to the folder: the one that listing it finds, whatever links the feeder came by."""
        if self._follow_links and os.pardir not in path.parts and path.is_relative_to(self._root):
            return path.relative_to(self._root)
        real = Path(os.path.realpath(path.parent), path.name)
        return real.relative_to(self._real_root) if real.is_relative_to(self._real_root) else None


class FeederSource(FileSource):
    """The images that a feeder announces, until it is stopped.

    Parameters
    ----------
    address
        Of the feeder, ``host:port``, or of several.
    directory
        The folder whose images count, those in folders below it included.
    base
        What relative paths are relative to; default: the folder itself.
    follow_links
        Whether to take files that symbolic links lead to out of the folder.
    metadata
        For the start document, beside what this source says itself.
    readiness, skip
        As for `FileSource`.

    Raises
    ------
    SaxsError
        An address is none.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        directory: str | Path,
        *,
        base: str | Path | None = None,
        follow_links: bool = False,
        metadata: Mapping[str, Any] | None = None,
        readiness: Readiness | None = None,
        skip: Callable[[str], bool] | None = None,
    ) -> None:
        self.listener = FeederListener(address, directory, base=base, follow_links=follow_links)
        described = describe_session("feeder", directory) | {"feeder": ", ".join(self.listener.addresses)}
        super().__init__([self.listener], described | dict(metadata or {}), readiness=readiness, skip=skip)


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
            raise SaxsError(f"{self.address}: wanted a free address for the feeder, found {error}") from error

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
