"""Announcements over real sockets: of files that are there, come late, or lie elsewhere; and what is none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import zmq
from event_model import DocumentNames, schema_validators

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import write_frame
from saxs_bluesky.sources import (
    FeederAnnouncer,
    FeederListener,
    FeederSource,
    FileSource,
    FolderWatch,
    FoundFile,
    Readiness,
    SourceSettings,
)
from saxs_bluesky.sources._folder_scanner import AcceptedFiles
from tests.helpers.feeder import Feeder, message
from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE, until

IMAGE = np.arange(1, 13, dtype=np.int32).reshape(3, 4)


class Listening:
    """A listener alone, and what it found."""

    def __init__(self, feeder: Feeder, directory: Path | str, **options: Any) -> None:
        self.feeder = feeder
        self._directory = Path(directory).absolute()
        self.listener = FeederListener(SourceSettings(Path(directory), feeder=(f"{feeder.port}",), **options))
        self.woken = threading.Event()
        self.listener.begin(None, self.woken.set)  # type: ignore[arg-type]
        feeder.wait_for_listener()

    def found(self, *paths: Any) -> list[str]:
        """Announce some paths; what the listener makes of them, up to a last one of the test's own."""
        for path in paths:
            self.feeder.announce(path)
        return self.heard()

    def heard(self) -> list[str]:
        end = f"{uuid4()}.tif"
        self.feeder.announce(self._directory / end)
        found: list[str] = []
        until(lambda: found.extend(self.listener.find()) or any(path.endswith(end) for path in found))
        assert self.listener.announces
        return [path for path in found if not path.endswith(end)]


@pytest.fixture
def listen(feeder: Feeder) -> Iterator[Callable[..., Listening]]:
    begun: list[Listening] = []

    def begin(directory: Path | str, **options: Any) -> Listening:
        begun.append(Listening(feeder, directory, **options))
        return begun[-1]

    yield begin
    for listening in begun:
        listening.listener.close()


Listen = Callable[..., Listening]


class Running:
    """A source in a thread, as a server runs it."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.documents.extend(self.source.documents())

    @property
    def paths(self) -> list[str]:
        return [doc["data"]["image_path"] for name, doc in self.documents if name == "event"]

    def wait_for(self, number: int) -> list[str]:
        until(lambda: len(self.paths) >= number)
        return self.paths

    def stop(self) -> list[str]:
        self.source.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.paths


@pytest.fixture
def run(feeder: Feeder) -> Iterator[Callable[[FileSource], Running]]:
    begun: list[Running] = []

    def begin(source: FileSource) -> Running:
        begun.append(Running(source))
        feeder.wait_for_listener()
        return begun[-1]

    yield begin
    for running in begun:
        running.stop()


Run = Callable[[FileSource], Running]


# Files become events


def test_announced_files_become_events_of_one_run(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    (tmp_path / "below").mkdir()
    names = ["a.tif", "below/b.TIFF", "c.tif"]
    for name in names:
        write_frame(tmp_path / name, IMAGE)
    running = run(FeederSource(f"localhost:{feeder.port}", tmp_path, metadata={"sample": "silver behenate"}))
    feeder.announce(names[0])
    feeder.announce(names[1])
    feeder.announce(tmp_path / names[2])
    running.wait_for(3)
    assert running.stop() == [str(tmp_path / name) for name in names]
    for name, doc in running.documents:
        schema_validators[DocumentNames[name]].validate(doc)
    assert [name for name, _ in running.documents] == ["start", "descriptor", "event", "event", "event", "stop"]
    start = running.documents[0][1]
    assert start["plan_name"] == "feeder"
    assert start["feeder"] == f"tcp://localhost:{feeder.port}"
    assert start["directory"] == str(tmp_path)
    assert start["sample"] == "silver behenate"


def test_file_announced_before_it_is_complete_waits_for_its_end(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    write_frame(tmp_path / "whole", IMAGE)
    content = (tmp_path / "whole").read_bytes()
    running = run(FeederSource(str(feeder.port), tmp_path))
    with (tmp_path / "a.tif").open("wb", buffering=0) as file:
        for start in range(0, len(content), len(content) // 3):
            file.write(content[start : start + len(content) // 3])
            feeder.announce("a.tif")
            until(lambda: running.source.counters.pending == 1)
        feeder.announce("a.tif")
    assert running.wait_for(1) == [str(tmp_path / "a.tif")]
    (event,) = [doc for name, doc in running.documents if name == "event"]
    assert event["data"]["file_size"] == len(content)


def test_file_announced_before_it_is_there_is_waited_for(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    running = run(FeederSource(str(feeder.port), tmp_path))
    feeder.announce("late.tif")
    until(lambda: running.source.counters.pending == 1)
    write_frame(tmp_path / "late.tif", IMAGE)
    assert running.wait_for(1) == [str(tmp_path / "late.tif")]


def files_of(source: FileSource, number: int, begun: Callable[[], None]) -> list[FoundFile]:
    """The first files of a source that runs in this thread, ``begun`` being called in another."""
    thread = threading.Thread(target=begun)
    thread.start()
    files = source.files()
    found = [next(files) for _ in range(number)]
    files.close()  # type: ignore[attr-defined]
    thread.join()
    return found


def test_announced_file_that_never_comes_is_a_failure(tmp_path: Path, feeder: Feeder) -> None:
    def announce() -> None:
        feeder.wait_for_listener()
        feeder.announce("absent.tif")

    source = FeederSource(str(feeder.port), tmp_path, readiness=Readiness(deadline=0.5))
    (file,) = files_of(source, 1, announce)
    assert file.failure == f"{tmp_path / 'absent.tif'}: wanted a TIFF image, found No such file or directory"


def test_failure_is_an_event_too(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    (tmp_path / "broken.tif").write_bytes(b"no image")
    running = run(FeederSource(str(feeder.port), tmp_path, readiness=Readiness(deadline=0.5)))
    feeder.announce("absent.tif")
    feeder.announce("broken.tif")
    assert sorted(running.wait_for(2)) == [str(tmp_path / "absent.tif"), str(tmp_path / "broken.tif")]
    running.stop()
    for name, doc in running.documents:
        schema_validators[DocumentNames[name]].validate(doc)


def test_file_announced_twice_is_one_event(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    for name in ("a.tif", "b.tif"):
        write_frame(tmp_path / name, IMAGE)
    running = run(FeederSource(str(feeder.port), tmp_path))
    feeder.announce("a.tif")
    feeder.announce("a.tif")
    running.wait_for(1)
    feeder.announce("a.tif")
    feeder.announce("b.tif")
    running.wait_for(2)
    assert running.stop() == [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]


def test_file_overwritten_and_announced_again_is_two_events(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    write_frame(tmp_path / "a.tif", IMAGE)
    running = run(FeederSource(str(feeder.port), tmp_path))
    feeder.announce("a.tif")
    running.wait_for(1)
    write_frame(tmp_path / "a.tif", IMAGE + 1)
    feeder.announce("a.tif")
    assert running.wait_for(2) == [str(tmp_path / "a.tif")] * 2


def test_file_that_a_feeder_announces_and_a_watch_finds_is_one_event(tmp_path: Path, feeder: Feeder, run: Run) -> None:
    listener = FeederListener(SourceSettings(tmp_path, feeder=(str(feeder.port),)))
    running = run(FileSource([listener, FolderWatch(SourceSettings(tmp_path))], {}))
    for number in range(5):
        write_frame(tmp_path / f"{number}.tif", IMAGE)
        feeder.announce(f"{number}.tif")
    running.wait_for(5)
    until(lambda: listener.counters.announced == 5)
    time.sleep(0.3)
    assert sorted(running.stop()) == [str(tmp_path / f"{number}.tif") for number in range(5)]


def test_burst_of_announcements_is_complete(tmp_path: Path, listen: Listen) -> None:
    listening = listen(tmp_path)
    names = [f"{number:05d}.tif" for number in range(5000)]
    assert listening.found(*names) == [str(tmp_path / name) for name in names]


# Which files


def test_only_files_of_the_folder_count(tmp_path: Path, listen: Listen) -> None:
    for name in ("user1/run", "user10", "other"):
        (tmp_path / name).mkdir(parents=True)
    listening = listen(tmp_path / "user1", base=tmp_path)
    found = listening.found(
        "user10/a.tif",
        "user1.tif",
        "a.tif",
        "other/../user10/a.tif",
        "user1/../user10/a.tif",
        "../a.tif",
        "user1/../../a.tif",
        "/etc/a.tif",
        "//etc/a.tif",
        "/a.tif",
        tmp_path / "user10" / "a.tif",
        tmp_path / "user1" / ".." / "user10" / "a.tif",
        f"{'../' * 40}etc/a.tif",
        "user1/b.tif",
        "user1/run/c.tif",
        "./user1//run/./d.tif",
        "other/../user1/e.tif",
        tmp_path / "user1" / "f.tif",
    )
    expected = ["b.tif", "run/c.tif", "run/d.tif", "e.tif", "f.tif"]
    assert found == [str(tmp_path / "user1" / name) for name in expected]
    assert listening.listener.counters.outside == 13
    assert listening.listener.counters.announced == 5 + 1


def test_files_that_are_no_images_are_ignored(tmp_path: Path, listen: Listen) -> None:
    listening = listen(tmp_path)
    assert listening.found("a.chi", "a.tif.part", ".a.tif", ".hidden/a.tif", "", ".", "a.tif/b", "tif") == []
    assert listening.listener.counters.ignored == 7
    assert listening.listener.counters.unreadable == 1


def test_links_that_lead_out_are_not_followed(tmp_path: Path, listen: Listen) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    write_frame(outside / "a.tif", IMAGE)
    write_frame(inside / "b.tif", IMAGE)
    (inside / "folder").symlink_to(outside)
    (inside / "file.tif").symlink_to(outside / "a.tif")
    (inside / "within.tif").symlink_to("b.tif")
    (inside / "round.tif").symlink_to("round.tif")
    listening = listen(inside)
    assert listening.found("folder/a.tif", "file.tif", "folder/../b.tif") == []
    assert listening.listener.counters.outside == 3
    assert listening.found("within.tif") == [str(inside / "within.tif")]
    following = listen(inside, follow_links=True)
    assert following.found("folder/a.tif", "file.tif") == [str(inside / "folder" / "a.tif"), str(inside / "file.tif")]
    assert following.found("../outside/a.tif", outside / "a.tif") == []


def test_names_are_below_the_folder_as_it_was_given(
    tmp_path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "today").mkdir(parents=True)
    (tmp_path / "current").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "latest").symlink_to("today")
    listening = listen(tmp_path / "current")
    real = tmp_path / "disk" / "today" / "a.tif"
    expected = str(tmp_path / "current" / "today" / "a.tif")
    for announced in (real, expected, "today/a.tif", "latest/a.tif", "../disk/today/a.tif"):
        assert listening.found(announced) == [expected]
    monkeypatch.chdir(tmp_path / "current")
    for given, found in ((".", "./today/a.tif"), ("today", "today/a.tif")):
        assert listen(given, base=tmp_path / "current").found("today/a.tif") == [found]


# Strangers

LONG = "x" * 300
HOSTILE: list[tuple[bytes, ...]] = [
    (b"",),
    (b"\x00",),
    (b"\xff\xfe\xfd",),
    (os.urandom(1000),),
    (b"new file",),
    (b"/data/a.tif",),
    (b"{",),
    (b"}",),
    (b"[]",),
    (b"{}",),
    (b"null",),
    (b"true",),
    (b"NaN",),
    (b"1e999",),
    (b"9" * 5000,),
    (b'"a.tif"',),
    (b"[" * 30000,),
    (b'{"a":' * 10000,),
    (b'{"command":' * 5000 + b"1" + b"}" * 5000,),
    (b'{"command": "new file"}',),
    (b'{"argument": "a.tif"}',),
    (b'{"command": ["new file"], "argument": "a.tif"}',),
    (b'{"command": null, "argument": "a.tif"}',),
    (b'{"command": {"new file": 1}, "argument": "a.tif"}',),
    (b'{"command": "new file", "argument": "a.tif"',),
    (b'{"command": "new file", "argument": "a.tif"} {}',),
    (b"{'command': 'new file', 'argument': 'a.tif'}",),
    (b"\xef\xbb\xbf" + message("a.tif"),),
    (message("a.tif").decode().encode("utf-16"),),
    (message("a.tif") + b"\x00",),
    (b'{"command": "new file", "argument": "caf\xe9.tif"}',),
    (b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x04evil\x94K\x01s.",),
    (b"\x81\xa7command\xa8new file",),
    (b"\x93NUMPY\x01\x00",),
    (b"GET /a.tif HTTP/1.1\r\nHost: x\r\n\r\n",),
    (b"<file>a.tif</file>",),
    (message(None),),
    (message(1),),
    (message(True),),
    (message(["a.tif"]),),
    (message({"path": "a.tif"}),),
    (message("a\x00.tif"),),
    (message("\x00"),),
    (message("a\n.tif"),),
    (message("\x1b[2Ja.tif"),),
    (b'{"command": "new file", "argument": "\\ud800.tif"}',),
    (b'{"command": "new file", "argument": "\\udcff.tif"}',),
    (message(LONG + ".tif"),),
    (message("\u00e9" * 150 + ".tif"),),
    (message("x/" * 3000 + "a.tif"),),
    (message("../" * 5000 + "a.tif"),),
    (message("a.tif"), message("b.tif")),
    (b"", message("a.tif")),
    (message("a.tif"), b""),
    tuple(b"x" for _ in range(1000)),
]
OTHER_COMMANDS = ["", "close", "NEW FILE", "newfile", "new file ", "abort", "new", "\x00", LONG]


def test_messages_that_are_no_announcements_are_counted(
    tmp_path: Path, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(HOSTILE) >= 40
    listening = listen(tmp_path)
    for parts in HOSTILE:
        listening.feeder.send(*parts)
    assert listening.found("a.tif") == [str(tmp_path / "a.tif")]
    counters = listening.listener.counters
    assert (counters.unreadable, counters.announced, counters.outside) == (len(HOSTILE), 1 + 1, 0)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 10
    assert all(len(text) < 400 and text.isprintable() for text in texts)


def test_other_commands_are_ignored(tmp_path: Path, listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    listening = listen(tmp_path)
    for command in OTHER_COMMANDS:
        listening.feeder.send(json.dumps({"command": command, "argument": "a.tif"}).encode())
    until(lambda: listening.listener.counters.ignored == len(OTHER_COMMANDS))
    assert listening.heard() == []
    assert listening.listener.counters.announced == 1
    assert not caplog.records


def test_announcement_may_say_more(tmp_path: Path, listen: Listen) -> None:
    listening = listen(tmp_path)
    listening.feeder.send(b'{"argument":"a.tif","time":1,"command":"new file"}')
    listening.feeder.send(b' {"command": "new file",\n "argument": "\xc3\xa9.tif"}\n')
    assert listening.heard() == [str(tmp_path / "a.tif"), str(tmp_path / "\u00e9.tif")]


def test_gigantic_message_costs_the_connection_and_no_memory(tmp_path: Path, listen: Listen) -> None:
    listening = listen(tmp_path)
    listening.feeder.send(b"x" * 50_000_000)
    until(lambda: listening.listener.counters.interruptions == 1)
    listening.feeder.wait_for_listener()
    assert listening.found("a.tif") == [str(tmp_path / "a.tif")]
    assert listening.listener.counters.unreadable == 0


# The connection


@pytest.mark.parametrize(
    "greeting",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\xff" * 100, b"\x00" * 100],
    ids=["HTTP", "nothing", "ones", "zeros"],
)
def test_feeder_is_heard_after_something_else_was_at_its_address(tmp_path: Path, greeting: bytes) -> None:
    port = free_port()
    listener = FeederListener(SourceSettings(tmp_path, feeder=(str(port),)))
    with socket.create_server(("127.0.0.1", port)) as server:
        listener.begin(None, lambda: None)  # type: ignore[arg-type]
        peer, _ = server.accept()
        peer.sendall(greeting)
        peer.close()
    feeder = Feeder(port)
    feeder.wait_for_listener()
    feeder.announce("a.tif")
    until(lambda: listener.counters.announced == 1)
    listener.close()
    feeder.close()


FEEDER = """
import sys
from saxs_bluesky.sources import FeederAnnouncer
announcer = FeederAnnouncer(sys.argv[1])
print("bound", flush=True)
for line in sys.stdin:
    announcer.announce(line.strip())
"""


def start_feeder(port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", FEEDER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "bound\n"
    return process


def test_feeder_that_is_killed_and_comes_back_is_heard_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    listener = FeederListener(SourceSettings(tmp_path, feeder=(f"127.0.0.1:{port}",)))
    listener.begin(None, lambda: None)  # type: ignore[arg-type]
    assert listener.counters.connected == 0
    for turn in range(2):
        process = start_feeder(port)
        until(lambda: listener.counters.connected == 1)
        assert process.stdin is not None
        heard = listener.counters.announced
        while listener.counters.announced == heard:  # what is said before the feeder knows of the listener is lost
            process.stdin.write(f"{turn}.tif\n")
            process.stdin.flush()
            time.sleep(0.01)
        process.kill()
        process.communicate()
        until(lambda: listener.counters.connected == 0)
        assert listener.counters.interruptions == turn + 1
    listener.close()
    assert list(listener.find()) == [str(tmp_path / "0.tif"), str(tmp_path / "1.tif")]
    (first, _) = [record.getMessage() for record in caplog.records]
    assert (
        first == f"tcp://127.0.0.1:{port}: connection to the feeder lost; what it announces before it is back is missed"
    )


def test_several_feeders_are_heard(tmp_path: Path, feeder: Feeder) -> None:
    other = Feeder(free_port())
    listener = FeederListener(SourceSettings(tmp_path, feeder=(f"{feeder.port}", f"{other.port}")))
    listener.begin(None, lambda: None)  # type: ignore[arg-type]
    for number, one in enumerate((feeder, other)):
        one.wait_for_listener()
        one.announce(f"{number}.tif")
    until(lambda: listener.counters.announced == 2)
    assert set(listener.find()) == {str(tmp_path / "0.tif"), str(tmp_path / "1.tif")}
    listener.close()
    other.close()


def test_listener_without_a_feeder_ends(tmp_path: Path) -> None:
    listener = FeederListener(SourceSettings(tmp_path, feeder=(str(free_port()),)))
    listener.close()
    listener.begin(None, lambda: None)  # type: ignore[arg-type]
    assert list(listener.find()) == []
    assert not listener.exhausted
    assert listener.next_look is None
    threads = threading.active_count()
    listener.close()
    listener.close()
    assert threading.active_count() == threads - 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("host", "'host': wanted an address host:port"),
        ("nonsense://x", "nonsense://x: wanted the address of a feeder, found"),
    ],
)
def test_address_that_is_none_is_named(tmp_path: Path, address: str, message: str) -> None:
    with pytest.raises(SaxsError, match=message):
        FeederListener(SourceSettings(tmp_path, feeder=(address,))).begin(None, lambda: None)  # type: ignore[arg-type]


# The announcer


def test_announcer_says_what_deployed_servers_expect() -> None:
    port = free_port()
    announcer = FeederAnnouncer(str(port))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")
    subscriber.connect(f"tcp://127.0.0.1:{port}")
    while not subscriber.poll(10):
        announcer.announce("first.tif")
    announcer.announce(Path("/data/\u00e9.tif"))
    announcer.close()
    parts = [b""]
    while b"data" not in parts[0]:
        assert subscriber.poll(int(PATIENCE * 1000))
        parts = subscriber.recv_multipart()
    context.destroy(linger=0)
    assert [json.loads(part.decode()) for part in parts] == [{"command": "new file", "argument": "/data/\u00e9.tif"}]


def test_burst_is_sent_before_the_announcer_closes(tmp_path: Path) -> None:
    port = free_port()
    announcer = FeederAnnouncer(f"127.0.0.1:{port}")
    listener = FeederListener(SourceSettings(tmp_path, feeder=(str(port),)))
    listener.begin(None, lambda: None)  # type: ignore[arg-type]
    while not listener.counters.ignored:
        announcer.announce("probe")
        time.sleep(0.01)
    for number in range(20_000):
        announcer.announce(f"{number}.tif")
    announcer.close()
    until(lambda: listener.counters.announced == 20_000)
    listener.close()


def test_address_that_is_taken_is_named(feeder: Feeder) -> None:
    with pytest.raises(
        SaxsError,
        match=rf"tcp://127.0.0.1:{feeder.port}: the feeder cannot listen at this address: Address already in use",
    ):
        FeederAnnouncer(str(feeder.port))


@pytest.mark.logs_errors
def test_fault_in_the_thread_that_listens_is_told_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([OSError("no descriptors")])
    count = FeederListener._count_connections

    def sometimes(self: FeederListener, connections: Any) -> None:
        for error in failures:
            raise error
        count(self, connections)

    monkeypatch.setattr(FeederListener, "_count_connections", sometimes)
    port = free_port()
    announcer = FeederAnnouncer(f"127.0.0.1:{port}")
    listener = FeederListener(SourceSettings(tmp_path, feeder=(f"127.0.0.1:{port}",)))
    (tmp_path / "a.tif").touch()
    listener.begin(AcceptedFiles(), lambda: None)
    deadline = time.monotonic() + 30
    found: list[Any] = []
    while not found and time.monotonic() < deadline:
        announcer.announce(tmp_path / "a.tif")
        time.sleep(0.05)
        found = list(listener.find())
    listener.close()
    announcer.close()
    assert list(found) == [str(tmp_path / "a.tif")]
    assert "listening to a feeder failed, and goes on" in caplog.text
