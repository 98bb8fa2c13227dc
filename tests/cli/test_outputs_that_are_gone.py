"""Commands whose standard output is closed, full, or read by nobody, and whose current folder is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.leash import Command
from saxs_bluesky.reduction import read_chi, write_frame
from tests.helpers.frame_files import HEADER
from tests.helpers.ports import free_port
from tests.helpers.serving import MASK, NEW, Server
from tests.helpers.waiting import PATIENCE

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(beamtime: Path) -> Iterator[Start]:
    """Start a command through a shell, which sees to its standard output."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(command: str, options: str, redirection: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        code = f"import sys; from saxs_bluesky.cli.{command} import main; sys.exit(main())"
        line = f"exec {sys.executable} -c '{code}' {options} {redirection}"
        started.append(
            subprocess.Popen(
                ["/bin/sh", "-c", line], cwd=cwd or beamtime, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        )
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


GONE = [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "> /dev/full 2> /dev/full", "< /dev/null <&- >&- 2>&-"]


@pytest.mark.parametrize("redirection", GONE)
def test_saxsdog_does_all_the_same(beamtime: Path, start: Start, redirection: str) -> None:
    process = start("saxsdog", f"-c {beamtime}/cal.json -t 2 {beamtime}/data", redirection)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert errors == b""
    for name in ("work/a.chi", "work/b_cS1.chi", "data/work/c.chi"):
        read_chi(beamtime / name)
    # Nothing that was meant for people got into a file.
    assert len((beamtime / "results" / "filelist_data.log").read_text().splitlines()) == 6


def test_failure_shows_in_the_exit_code_where_nobody_reads(beamtime: Path, start: Start) -> None:
    write_frame(beamtime / "data" / "wrong.tif", np.ones((80, 60)))
    process = start("saxsdog", f"-c {beamtime}/cal.json -t 1 {beamtime}/data", ">&- 2>&-")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 1


@pytest.mark.parametrize("options", ["-w", "-w -V"])
def test_watch_goes_on_when_the_reader_has_gone(beamtime: Path, start: Start, options: str) -> None:
    pipe = beamtime / "pipe"
    os.mkfifo(pipe)
    process = start("saxsdog", f"-c {beamtime}/cal.json {options} -t 1 {beamtime}/data", f"> {pipe}")
    reader = os.open(pipe, os.O_RDONLY)
    until((beamtime / "work" / "b.chi").exists, process)
    os.close(reader)
    for number in range(3):
        write_frame(beamtime / "data" / f"new{number}.tif", np.ones((60, 80)), HEADER)
        until((beamtime / "work" / f"new{number}.chi").exists, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("redirection", [">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_server_serves_all_the_same(tmp_path: Path, start: Start, redirection: str) -> None:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    process = start("saxsdogserver", " ".join(server.arguments), redirection)
    with server.client() as client:
        # What was signed before it began is refused.
        until(lambda: client.ask(Command.NEW, NEW, MASK).result == "new queue", process)
        server.add("a.tif")
        until(server.chi(server.data / "a.tif").exists, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("redirection", [">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_feeder_announces_all_the_same(beamtime: Path, start: Start, redirection: str) -> None:
    process = start("saxsfeeder", f"-d {beamtime}/data --port {free_port()}", redirection)
    time.sleep(10)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("redirection", [">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_reduction_of_documents_listens_all_the_same(beamtime: Path, start: Start, redirection: str) -> None:
    process = start(
        "saxs_reduce",
        f"-c {beamtime}/cal.json --chi {beamtime}/chi --proxy {free_port()} {free_port()}",
        redirection,
    )
    time.sleep(10)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("redirection", "code"), [("> /dev/full", 1), (">&-", 1)])
def test_what_was_asked_for_and_not_written_shows_in_the_exit_code(
    beamtime: Path, start: Start, redirection: str, code: int
) -> None:
    options = f"--server tcp://127.0.0.1:7 --name n -y --network {beamtime}/network.json --show-secret"
    process = start("saxsnetconf", options, redirection)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert b"saxsnetconf: standard output cannot be written" in errors


@pytest.mark.parametrize("when", ["before", "while"])
def test_current_folder_that_is_gone_does_not_matter(
    beamtime: Path, start: Start, tmp_path_factory: pytest.TempPathFactory, when: str
) -> None:
    current = tmp_path_factory.mktemp("current")
    options = f"-c {beamtime}/cal.json -w -t 2 --catalog {beamtime}/catalog {beamtime}/data"
    if when == "before":
        saxsdog = Path(sys.executable).with_name("saxsdog")
        line = (
            f"cd {current} && rmdir {current} && exec {saxsdog} -c {beamtime}/cal.json -w -t 2 "
            f"--catalog {beamtime}/catalog {beamtime}/data"
        )
        process = subprocess.Popen(["/bin/sh", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    else:
        process = start("saxsdog", options, "", current)
    try:
        until((beamtime / "work" / "b.chi").exists, process)
        if when == "while":
            shutil.rmtree(current)
        write_frame(beamtime / "data" / "new.tif", np.ones((60, 80)), HEADER)
        until((beamtime / "work" / "new.chi").exists, process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert b"Traceback" not in errors
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
