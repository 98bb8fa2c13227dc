"""``saxsfeeder`` in a process of its own, heard over a real socket, with files that other processes write."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from saxs_bluesky.cli.saxsfeeder import main
from saxs_bluesky.reduction import read_frame, write_frame
from saxs_bluesky.sources import FeederSource
from tests.helpers.commands import command_line
from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE, until

COMMAND = command_line("saxsfeeder")
IMAGE = np.arange(1, 4801, dtype=np.int32).reshape(60, 80)


class Feeder:
    """The command in a process, what it says, and what a server hears that was there before."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(f"tcp://127.0.0.1:{self.port}")
        self.process = subprocess.Popen(
            [*COMMAND, "-p", str(self.port), *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.complaints: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.complaints))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        lines.extend(line.rstrip("\n") for line in stream)

    def hear(self, number: int) -> list[str]:
        """The next paths that it announces."""
        paths = []
        for _ in range(number):
            assert self._socket.poll(int(PATIENCE * 1000)), (paths, self.lines, self.complaints)
            message = json.loads(self._socket.recv().decode())
            assert message.keys() == {"command", "argument"}
            assert message["command"] == "new file"
            paths.append(message["argument"])
        return paths

    def hear_rest(self) -> list[str]:
        """What it has announced beyond, once it is at its end."""
        paths = []
        while self._socket.poll(100):
            paths += self.hear(1)
        return paths

    def end(self, number: int | None = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        if number is not None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        for reader, stream in zip(self._readers, (self.process.stdout, self.process.stderr), strict=True):
            reader.join()
            assert stream is not None
            stream.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._context.destroy(linger=0)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Feeder]]:
    started: list[Feeder] = []

    def make(*options: str, **keywords: Any) -> Feeder:
        started.append(Feeder(tmp_path, *options, **keywords))
        return started[-1]

    yield make
    for feeder in started:
        feeder.close()


Start = Callable[..., Feeder]

WRITER = """
import sys, time
from pathlib import Path
content = Path(sys.argv[1]).read_bytes()
for name in sys.argv[2:]:
    with open(name, "wb", buffering=0) as file:
        for begin in range(0, len(content), 4000):
            file.write(content[begin : begin + 4000])
            time.sleep(0.02)
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of some images, beside the one that is watched."""
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    for number, name in enumerate(("a_0008.tif", "a_0009.tif", "below/b.tif")):
        write_frame(folder / name, IMAGE + number)
    return folder


@pytest.mark.parametrize(
    ("options", "number"), [((), signal.SIGTERM), (("--poll-only", "--sdir", "/mnt/data/user1/"), signal.SIGINT)]
)
def test_files_that_another_process_writes_are_announced_when_complete(
    tmp_path: Path, images: Path, start: Start, options: tuple[str, ...], number: int
) -> None:
    data = tmp_path / "data"
    write_frame(data / "early.tif", IMAGE)
    feeder = start("-d", "data", *options)
    prefix = "/mnt/data/user1/" if options else ""
    assert feeder.hear(1) == [f"{prefix}early.tif"]
    (data / "run").mkdir()
    names = [f"run/{number}.tif" for number in range(3)]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, images / "a_0008.tif", *(data / name for name in names)],
    )
    for name in names:
        assert feeder.hear(1) == [prefix + name]
        np.testing.assert_array_equal(read_frame(data / name).image, IMAGE)
    assert writer.wait(PATIENCE) == 0
    write_frame(data / names[0], IMAGE + 1)
    assert feeder.hear(1) == [prefix + names[0]]
    assert feeder.end(number) == 0
    assert feeder.hear_rest() == []
    assert feeder.lines[0] == f"announcing at tcp://127.0.0.1:{feeder.port} what comes into {data}"
    assert feeder.lines[-1] == "announced 5, pending 0, failed 0"
    assert feeder.complaints == []


def test_without_walking_only_new_files_are_announced(tmp_path: Path, images: Path, start: Start) -> None:
    data = tmp_path / "data"
    write_frame(data / "old.tif", IMAGE)
    feeder = start("-n", "-d", "data", "--silent")
    thread_ended = threading.Event()

    def write() -> None:
        number = 0
        while not thread_ended.is_set():
            write_frame(data / f"new{number}.tif", IMAGE)
            number += 1
            time.sleep(0.1)

    thread = threading.Thread(target=write)
    thread.start()
    first = feeder.hear(1)
    thread_ended.set()
    thread.join()
    assert feeder.end() == 0
    assert all(name.startswith("new") for name in first + feeder.hear_rest())
    assert feeder.lines == []


def test_file_that_does_not_become_whole_is_told_and_not_announced(tmp_path: Path, images: Path, start: Start) -> None:
    data = tmp_path / "data"
    content = (images / "a_0008.tif").read_bytes()
    (data / "cut.tif").write_bytes(content[:-100])
    feeder = start("-d", "data", "--patience", "0.3")
    until(lambda: feeder.complaints)
    write_frame(data / "good.tif", IMAGE)
    assert feeder.hear(1) == ["good.tif"]
    # Late is better than never.
    (data / "cut.tif").write_bytes(content)
    assert feeder.hear(1) == ["cut.tif"]
    assert feeder.end() == 0
    (complaint,) = feeder.complaints
    assert complaint.startswith(f"saxsfeeder: {data}/cut.tif: wanted ")
    assert complaint.endswith(f"found a file cut short at {len(content) - 100}; not announced")
    assert feeder.lines[-1] == "announced 2, pending 0, failed 1"


def test_source_of_a_server_gets_the_files_of_its_user(tmp_path: Path, images: Path, start: Start) -> None:
    (tmp_path / "data" / "user1").mkdir()
    (tmp_path / "data" / "user10").mkdir()
    port = free_port()
    source = FeederSource(str(port), tmp_path / "data" / "user1", base=tmp_path / "data")
    files = source.files()
    for name in ("user10/a.tif", "user1/a.tif", "b.tif", "user1/b.tif"):
        write_frame(tmp_path / "data" / name, IMAGE)
    feeder = start("-d", "data", port=port)
    found = [next(files).path for _ in range(2)]
    files.close()  # type: ignore[attr-defined]
    assert sorted(found) == [str(tmp_path / "data" / "user1" / name) for name in ("a.tif", "b.tif")]
    assert feeder.end() == 0


def test_replay_writes_images_and_announces_each(tmp_path: Path, images: Path, start: Start) -> None:
    feeder = start("--simulate", "images", "-d", "new/data", "--rate", "50")
    names = ["a_0008.tif", "a_0009.tif", "below/b.tif"]
    assert feeder.hear(3) == names
    assert feeder.end(None) == 0
    assert feeder.hear_rest() == []
    for number, name in enumerate(names):
        np.testing.assert_array_equal(read_frame(tmp_path / "new" / "data" / name).image, IMAGE + number)
    assert feeder.lines[-1] == "announced 3, pending 0, failed 0"
    assert feeder.complaints == []


def test_replay_that_begins_anew_goes_on_with_its_numbers(tmp_path: Path, images: Path, start: Start) -> None:
    feeder = start("--simulate", "images", "-d", "data", "--rate", "50", "--count", "7")
    second, third = ["a_0010.tif", "a_0011.tif", "below/b_1.tif"], ["a_0012.tif"]
    assert feeder.hear(7) == ["a_0008.tif", "a_0009.tif", "below/b.tif", *second, *third]
    assert feeder.end(None) == 0
    np.testing.assert_array_equal(read_frame(tmp_path / "data" / "below" / "b_1.tif").image, IMAGE + 2)


def test_endless_replay_is_stopped_by_a_signal(tmp_path: Path, images: Path, start: Start) -> None:
    (images / "broken.tif").write_bytes(b"no image")
    feeder = start("--simulate", "images", "-d", "data", "--rate", "50", "--loop")
    feeder.hear(10)
    assert feeder.end() == 1
    heard = 10 + len(feeder.hear_rest())
    assert len(list((tmp_path / "data").rglob("*.tif"))) == heard
    assert re.fullmatch(rf"announced {heard}, pending 0, failed \d+", feeder.lines[-1])
    assert {complaint[:43] for complaint in feeder.complaints} == {"saxsfeeder: images/broken.tif: wanted a TIF"}


def test_replay_overwrites_nothing(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frame(tmp_path / "data" / "a_0009.tif", IMAGE + 99)
    monkeypatch.chdir(tmp_path)
    assert main(["-p", str(free_port()), "--simulate", "images", "-d", "data", "--rate", "1000"]) == 2
    complaint = "a_0009.tif: the file exists already; the image is not replayed"
    assert capsys.readouterr().err == f"saxsfeeder: {tmp_path}/data/{complaint}\n"
    np.testing.assert_array_equal(read_frame(tmp_path / "data" / "a_0009.tif").image, IMAGE + 99)
    # Least of all its own originals.
    assert main(["-p", str(free_port()), "--simulate", "images", "-d", "images"]) == 2


def test_port_that_is_taken_is_one_line(tmp_path: Path, images: Path, start: Start) -> None:
    write_frame(tmp_path / "data" / "a.tif", IMAGE)
    first = start("-d", "data")
    first.hear(1)
    second = start("-d", "data", port=first.port)
    assert second.end(None) == 2
    assert second.complaints == [
        f"saxsfeeder: tcp://127.0.0.1:{first.port}: the feeder cannot listen at this address: Address already in use"
        f" (addr='tcp://127.0.0.1:{first.port}')"
    ]
    assert first.end() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-d", "absent"], "absent: no such folder to watch"),
        (["-p", "none"], "'127.0.0.1:none': wanted an address host:port"),
        (["--bind", "no such host"], "the feeder cannot listen at this address"),
        (["--simulate", "absent"], "absent: no images to replay in this folder"),
        (["--simulate", "data"], "data: no images to replay in this folder"),
        (["--rate", "2"], "--rate, --count and --loop need --simulate"),
        (["--loop"], "--rate, --count and --loop need --simulate"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(options) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert complaint.startswith("saxsfeeder: ")
    assert message in complaint


@pytest.mark.parametrize(
    "options", [["--rate", "0"], ["--rate", "inf"], ["--count", "0"], ["--count", "1", "--loop"], ["--patience", "-1"]]
)
def test_options_out_of_range_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--simulate", ".", *options])
