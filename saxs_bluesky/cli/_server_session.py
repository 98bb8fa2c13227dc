"""What ``saxsdogserver`` runs, made from its options."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from saxs_bluesky.cli._command import Exit, print_error, print_status
from saxs_bluesky.cli._not_done import counted, not_catalogued, progress_of
from saxs_bluesky.cli._options import task_limit
from saxs_bluesky.cli._output import is_terminal
from saxs_bluesky.cli._service import StatusLine, complaints, default_workers, open_writer, stop_signals
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.file_pipeline import PATIENCE, ProgressJournal, SharedResources, SourceSettings
from saxs_bluesky.frame_job import OutputNames
from saxs_bluesky.leash import NETWORK_FILE, NetworkEntry
from saxs_bluesky.leash import read_network as read_network_file
from saxs_bluesky.leash.server import CommandHandler, LeashServer, QueueSettings, ServerKeys, StateFolder
from saxs_bluesky.support.addresses import tcp_address
from saxs_bluesky.workers import WorkerPool

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_LOG_EVERY = 10.0  # seconds between lines of statistics where there is no terminal
_CATALOG_SECONDS = 30.0  # for a catalog that is slow or away when the command ends
# A thread that computes keeps others waiting for so long, in seconds: some of them are clients.
_SWITCH_INTERVAL = 0.0005


def serve(options: argparse.Namespace, state: Path, ready: Callable[[], None]) -> int:
    """Serve until a signal says stop.

    Raises
    ------
    SaxsError
        Some server cannot begin.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    line = StatusLine(0.2 if is_terminal() else _LOG_EVERY)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_signals("saxsdogserver"))
        if not options.debug:
            stack.enter_context(complaints("saxsdogserver", line))
        entries = _entries(options)
        encryption = None if options.curve is None else ServerKeys(options.curve)
        if encryption is not None:
            _tell_of_keys(encryption)
        workers = options.threads or default_workers()
        pool = WorkerPool(workers, task_seconds=task_limit(options.task_timeout, PATIENCE))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        shared = SharedResources(executor=pool, workers=workers, task_seconds=options.task_timeout)
        servers = [_Served(options, entry, state, shared, encryption, stack) for entry in entries]
        for server in servers:
            server.begin()
        ready()
        while not stop.asked and all(served.server.is_alive for served in servers):
            line.show(_stamped("; ".join(server.described for server in servers)))
            time.sleep(_POLL_SECONDS)
        died = not stop.asked
        for server in servers:
            server.end()
        line.end(_stamped("; ".join(server.described for server in servers)))
        set_aside = [server.set_aside for server in servers if server.set_aside]
        for sentence in set_aside:
            print_error(f"saxsdogserver: not done: {sentence}")
    return Exit.SOME_FAILED if died or set_aside else Exit.DONE


class _Served:
    """One entry of the network file at work."""

    def __init__(
        self,
        options: argparse.Namespace,
        entry: NetworkEntry,
        state: Path,
        shared: SharedResources,
        encryption: ServerKeys | None,
        stack: ExitStack,
    ) -> None:
        port = options.port or _host_and_port(entry)[1]
        address = f"tcp://{_bracketed(options.bind)}:{port}"
        folder = StateFolder(state / str(port))
        progress = stack.enter_context(closing(ProgressJournal(folder.folder / "progress")))
        self._writer = open_writer(options.catalog, folder.folder / "catalog", stack)
        services = replace(shared, writer=self._writer, progress=progress)
        self._handler = CommandHandler(_settings(options, entry), services, folder)
        self.server = LeashServer(
            address,
            entry.secret,
            self._handler,
            memory=folder.folder / "requests",
            legacy=not options.no_legacy,
            encryption=encryption,
        )
        self._name = f"{entry.name} {address}".strip()
        self._ended = False
        stack.callback(self.end)

    def begin(self) -> None:
        """Go on with the last queue, and begin to answer."""
        self._handler.resume()
        self.server.start()
        print_status(_stamped(f"serving {self._name}"))

    def end(self) -> None:
        """Stop answering, finish the images at work, and remember the queue."""
        if self._ended:
            return
        self._ended = True
        self.server.stop()
        self._handler.suspend()
        if self._writer is not None:
            self._writer.close(_CATALOG_SECONDS)

    @property
    def set_aside(self) -> str:
        """Sentence on documents that the catalog will not get at the next start either; empty if there are none."""
        counters = self._writer.counters if self._writer else None
        if counters is None or not (counters.rejected or counters.left_out or counters.lost):
            return ""
        return f"{self._name}: {'; '.join(not_catalogued(self._writer))}"

    @property
    def described(self) -> str:
        """The status in one line."""
        counters, numbers = self.server.counters, self._handler.statistics
        text = f"{self._name}: requests {counters.served}, refused {counters.refused}, {self._handler.description}"
        if numbers is not None:
            text += f": {progress_of(numbers)}"
        rare = {
            "not written {}": numbers.unwritten if numbers else 0,
            "documents wait for the catalog {}": self._writer.counters.journaled if self._writer else 0,
        }
        return ", ".join([text, *counted(rare)])


def _entries(options: argparse.Namespace) -> list[NetworkEntry]:
    """Entries to serve: the one asked for, or all of this computer."""
    network = read_network_file(NETWORK_FILE if options.network is None else options.network)
    if network.exposed:
        _log.warning("%s: others than its owner may read or write it, and it holds secrets: chmod 600", network.where)
    if options.serverno is not None:
        return [network.choose(options.serverno)]
    entries = [entry for entry in network.entries if _is_here(_host_and_port(entry)[0])]
    if not entries:
        raise SaxsError(f"{network.where}: no server of this computer in this file; -N serves any of them")
    if options.port and len(entries) > 1:
        raise SaxsError(
            f"{network.where}: --port needs one server, and this file has {len(entries)}: choose one with -N"
        )
    for entry in entries:
        host = _host_and_port(entry)[0]
        if options.bind == "127.0.0.1" and not _is_loopback(host):
            _log.warning("%s is what clients look for, but only this computer's are let in: see --bind", entry.server)
    return entries


def _host_and_port(entry: NetworkEntry) -> tuple[str, int]:
    host, _, port = tcp_address(entry.server).removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _is_here(host: str) -> bool:
    """True if a host is this computer: only its own addresses can be bound to."""
    if host == "*" or _is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, _, _, address in found:
        with socket.socket(family, kind) as probe, suppress(OSError):
            probe.bind(address)
            return True
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _settings(options: argparse.Namespace, entry: NetworkEntry) -> QueueSettings:
    feeder = options.feeder or ("" if options.watch else entry.feeder)
    if not (feeder or options.watch):
        raise SaxsError("-w, -f or a Feeder in the network file is needed: without them no image is found")
    base = Path(os.path.realpath(options.basedir))
    source = SourceSettings(
        directory=base,
        watch=options.watch,
        feeder=(tcp_address(feeder),) if feeder else (),
        base=base,
        use_inotify=not options.poll_only,
    )
    return QueueSettings(
        source=source, names=OutputNames(options.relpath, options.out and Path(os.path.realpath(options.out)))
    )


def _tell_of_keys(encryption: ServerKeys) -> None:
    if encryption.exposed:
        _log.warning(
            "%s: others than its owner may read or write it, and it is secret: chmod 600", encryption.secret_file
        )
    if not encryption.number_of_clients:
        _log.warning("%s: no keys of clients in this folder: no client is let in", encryption.clients)


def _stamped(text: str) -> str:
    return text if is_terminal() else f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}"
