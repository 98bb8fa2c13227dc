"""The soft IOC of a Pilatus in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.waiting import PATIENCE

IOC = Path(__file__).with_name("pilatus_ioc.py")


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
    command = [sys.executable, str(IOC), "TEST:PIL:"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready", "the IOC did not start"
            yield PilatusIOC(command[-1], directory, environment, process)
        finally:
            process.terminate()


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
