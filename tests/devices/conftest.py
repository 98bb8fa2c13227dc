"""A RunEngine, its documents, and a soft IOC of a Pilatus for whoever needs a real one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from area_detector_handlers.handlers import AreaDetectorHDF5Handler, AreaDetectorTiffHandler
from bluesky import RunEngine
from event_model import DocumentNames, Filler, schema_validators, unpack_event_page

from tests.helpers.waiting import PATIENCE

HELPERS = Path(__file__).parents[1] / "helpers"
HANDLERS = {"AD_TIFF": AreaDetectorTiffHandler, "AD_HDF5": AreaDetectorHDF5Handler}


@dataclass(eq=False)
class Documents:
    """Documents of runs, each checked against its schema when it comes; pages are taken apart."""

    all: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        schema_validators[DocumentNames[name]].validate(document)
        if name == "event_page":
            self.all += [("event", event) for event in unpack_event_page(document)]
        else:
            self.all.append((name, document))

    def of(self, kind: str, stream: str | None = None) -> list[dict[str, Any]]:
        """Documents of a kind; of events, those of a stream."""
        found = [document for name, document in self.all if name == kind]
        if stream is not None:
            descriptors = {each["uid"] for each in self.of("descriptor") if each["name"] == stream}
            found = [document for document in found if document["descriptor"] in descriptors]
        return found

    def images(self, key: str = "pilatus_image") -> list[np.ndarray]:
        """Images of all events that have some, as the handlers of area-detector-handlers read them."""
        with Filler(HANDLERS, inplace=False) as filler:
            filled = [filler(name, document) for name, document in self.all]
            return [
                np.asarray(event["data"][key]) for name, event in filled if name == "event" and key in event["data"]
            ]


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def run_engine(documents: Documents) -> Iterator[RunEngine]:
    """A RunEngine whose thread ends with the test; its documents go to `documents`."""
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop, call_returns_result=False)
    engine.subscribe(documents)
    yield engine
    if engine.state not in ("idle", "panicked"):
        engine.halt()
    loop.call_soon_threadsafe(loop.stop)
    engine._th.join()
    loop.close()


@dataclass(frozen=True)
class PilatusIOC:
    """A running IOC: the ``prefix`` of its records, a ``directory`` for its frames, the ``process``, and the
    ``environment`` of processes that shall find it. From other environments it cannot be seen.
    """

    prefix: str
    directory: Path
    environment: dict[str, str]
    process: subprocess.Popen[str]

    def start(self, script: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python script that finds the IOC."""
        return subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env=self.environment | {"IOC_PID": str(self.process.pid)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: Path, *arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a Python script that finds the IOC."""
        with self.start(script, *arguments) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@contextlib.contextmanager
def running_ioc(directory: Path) -> Iterator[PilatusIOC]:
    """Run an IOC in a process of its own."""
    environment = os.environ | {
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_BEACON_ADDR_LIST": "",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "OPHYD_CONTROL_LAYER": "caproto",
    }
    server, repeater = free_ports(2)
    for variable in ("EPICS_CA_SERVER_PORT", "EPICS_CAS_SERVER_PORT"):
        environment[variable] = str(server)
    environment["EPICS_CA_REPEATER_PORT"] = str(repeater)
    command = [sys.executable, str(HELPERS / "pilatus_ioc.py"), "TEST:PIL:"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready", "the IOC did not start"
            yield PilatusIOC(command[-1], directory, environment, process)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def pilatus_ioc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PilatusIOC]:
    with running_ioc(tmp_path_factory.mktemp("pilatus_ioc")) as ioc:
        yield ioc


def free_ports(number: int) -> list[int]:
    """Ports that are free for TCP and UDP on the loopback now."""
    taken, ports = [], []
    while len(ports) < number:
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        taken += [tcp, udp]
        tcp.bind(("127.0.0.1", 0))
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            continue
        ports.append(tcp.getsockname()[1])
    for each in taken:
        each.close()
    return ports
