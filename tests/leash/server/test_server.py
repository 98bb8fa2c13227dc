"""The server as its clients find it: every command in every state, hostile messages, crashes, keys."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
import zmq.auth
import zmq.utils.monitor

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.file_pipeline import ProgressJournal, SharedResources, SourceSettings
from saxs_bluesky.frame_job import OutputNames
from saxs_bluesky.leash import COMMANDS, Attachment, Command, Kind, Limits, compose
from saxs_bluesky.leash.protocol import UnknownKeyLog
from saxs_bluesky.leash.server import (
    CommandHandler,
    LeashServer,
    QueueRecord,
    QueueSettings,
    QueueState,
    Request,
    ServerKeys,
    StateFolder,
)
from saxs_bluesky.reduction import read_chi
from saxs_bluesky.reduction._operator import BinningOperator
from saxs_bluesky.sources._raw_run_composer import RawRunComposer
from tests.helpers.hostile import CALIBRATION, MERGE, changed, hostile_messages, sign
from tests.helpers.leash_validation import NOW, SECRET, SMALL
from tests.helpers.ports import free_port
from tests.helpers.serving import MASK, NEW, Client, Server, connected, until
from tests.helpers.waiting import PATIENCE
from tests.helpers.watching import Catalogued

LOG = Attachment("data.log", "1\t2\n")
ARGUMENTS: dict[Command, tuple[Any, ...]] = {
    Command.NEW: (NEW, MASK),
    Command.LISTDIR: ({"directory": ["user"]},),
    Command.MERGEDATA: ({"mergeconf": MERGE}, LOG),
}


@dataclass
class Live:
    """A server in this process, that can be stopped and started again."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    address: str = field(default_factory=lambda: f"tcp://127.0.0.1:{free_port()}")

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def start(self) -> Live:
        self.files = Server(self.folder)  # for its folders and images
        state = StateFolder(self.folder / "state")
        self.progress = ProgressJournal(state.folder / "progress")
        source = SourceSettings(directory=self.base, watch=True, base=self.base)
        settings = QueueSettings(source=source, names=OutputNames())
        self.handler = CommandHandler(
            settings, SharedResources(progress=self.progress), state, self.options.get("limits")
        )
        self.handler.resume()
        self.server = LeashServer(
            self.address, SECRET, self.handler, **{"memory": state.folder / "requests", **self.options}
        )
        self.server.start()
        return self

    def stop(self) -> None:
        self.server.stop()
        self.handler.suspend()
        self.progress.close()

    def client(self) -> AbstractContextManager[Client]:
        return connected(self.address)


@pytest.fixture
def lives() -> Iterator[list[Live]]:
    running: list[Live] = []
    yield running
    for live in running:
        live.stop()


@pytest.fixture
def live(tmp_path: Path, lives: list[Live]) -> Live:
    lives.append(Live(tmp_path).start())
    return lives[-1]


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with live.client() as client:
        yield client


# Every command in every state

ERROR = (Kind.ERROR.value, {"Error"})
ALWAYS = {
    "listdir": ("listdir", {"directory", "dircontent"}),
    "mergedata": ERROR,
    "getmergedata": ERROR,
    "mergestat": ("stat", {"mergeinfo"}),
}
NONE: tuple[str, set[str]] = ("no queue", set())
NO_QUEUE = {
    "stat": ("stat", {"stat"}), "plot": NONE, "get": NONE, "close": NONE, "abort": NONE, "readdir": NONE,
    "fileslist": NONE, **ALWAYS,
}  # fmt: skip
EMPTY = {
    "stat": ("stat", {"stat"}), "plot": ("Empty", {"stat"}), "get": ("cal", {"cal", "attachments"}),
    "fileslist": ("resultfileslists", {"fileslist"}), **ALWAYS,
}  # fmt: skip
PLOTTED = {"filename", "graphs", "stat", "history", "IntegralParameters"}
IMAGES = {**EMPTY, "plot": ("plot", PLOTTED)}


def conversation(client: Client, commands: dict[str, Any]) -> dict[str, Any]:
    """Results and keys of the data."""
    answers = {name: client.raw(Command(name), *ARGUMENTS.get(Command(name), ())) for name in commands}
    assert all(set(answer) == {"result", "data"} for answer in answers.values())
    return {name: (answer["result"], set(answer["data"])) for name, answer in answers.items()}


def test_every_command_in_every_state(live: Live, client: Client) -> None:
    assert conversation(client, NO_QUEUE) == NO_QUEUE
    assert client.stat() == {}
    assert client.raw(Command.NEW, NEW, MASK) == {"result": "new queue", "data": {"cal": CALIBRATION}}
    assert conversation(client, EMPTY) == EMPTY
    live.files.add("a.tif")
    until(lambda: client.raw(Command.PLOT)["result"] == "plot")
    assert conversation(client, IMAGES) == IMAGES
    assert conversation(client, {"close": 0}) == {"close": ("queue closed", {"stat"})}
    assert conversation(client, IMAGES) == IMAGES
    assert conversation(client, {"readdir": 0}) == {"readdir": ("queue restarted with all files", {"stat"})}
    until(lambda: client.stat()["images processed"] == 2)
    assert conversation(client, {"readdir": 0}) == {"readdir": ("queue restarted with all files", {"stat"})}
    until(lambda: client.stat()["images processed"] == 3)
    assert conversation(client, {"abort": 0}) == {"abort": ("queue aborted", {"stat"})}
    assert conversation(client, NO_QUEUE) == NO_QUEUE
    assert client.stat() == {}
    assert live.server.counters.refused == 2 * 5
    live.stop()
    live.start()
    with live.client() as later:
        assert conversation(later, NO_QUEUE) == NO_QUEUE
        assert later.stat() == {}
        assert later.raw(Command.NEW, NEW, MASK)["result"] == "new queue"
        until(lambda: later.stat()["images processed"] == 1)


@pytest.mark.parametrize("name", ["close queue", "abort queue", "send plot", "plotdata", "getmergestat"])
def test_other_names_of_commands(client: Client, name: str) -> None:
    request = sign({"command": name, "argument": {}, "time": time.time()})
    (body,) = client.exchange([json.dumps(request).encode()])
    assert json.loads(body)["result"] == ("stat" if name == "getmergestat" else "no queue")


WINDOW_MERGE = {
    "TimeOffset": 0.0,
    "LogDataTables": [
        {
            "TimeEpoch": "Mac",
            "TimeOffset": 0.0,
            "FirstImageCorrelation": False,
            "ZeroImageCorrelation": True,
            "Name": "Peak",
            "Files": [{"RemotePath": ["user", "peak.log"], "LocalPath": "/home/user/peak.log", "Path": "x"}],
        }
    ],
    "OutputFormats": {"csv": True, "hdf": False, "exel": False, "json": False},
    "OutputFileBaseName": ".//results//logs//",
    "HDFOptions": {"IncludeCHI": False, "IncludeTIF": False},
}


@pytest.mark.parametrize(
    ("conf", "logs"),
    [(MERGE, (LOG,)), (WINDOW_MERGE, (LOG,)), (WINDOW_MERGE, ()), ({}, ()), ([], (LOG,))],
)
def test_deployed_windows_see_that_no_merge_begins(client: Client, conf: Any, logs: tuple[Attachment, ...]) -> None:
    """They take any result but Error and ServerError for a merge that has begun, and disable their buttons."""
    answer = client.raw(Command.MERGEDATA, {"mergeconf": conf}, *logs) if conf else signed_merge(client, conf, logs)
    assert (answer["result"], set(answer["data"])) == ("Error", {"Error"})
    if conf:
        assert answer["data"]["Error"].startswith("mergedata: there is no queue")
    assert client.raw(Command.MERGESTAT) == {"result": "stat", "data": {"mergeinfo": ""}}


def signed_merge(client: Client, conf: Any, logs: tuple[Attachment, ...]) -> Any:
    """What no client of ours sends."""
    document = {"command": "mergedata", "argument": {"mergeconf": conf}, "time": time.time()}
    return json.loads(client.exchange([json.dumps(sign(document)).encode(), *(log.part() for log in logs)])[0])


def test_requests_of_deployed_clients_may_lack_what_is_not_needed(client: Client) -> None:
    for document in ({"command": "stat"}, {"command": "get", "argument": {"x": 1}, "host": "a", "protocol": 1}):
        body = client.exchange([json.dumps(sign(document | {"time": time.time()})).encode()])[0]
        assert "Error" not in json.loads(body)["data"]


def test_calibration_of_deployed_clients_is_taken_and_given_back_as_it_came(
    live: Live, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = changed(CALIBRATION, ["Threads"], 0) | {"Consolidate": {"a": 1}}
    deployed["Masks"][0] |= {"qStop": 0, "Color": "red"}
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert client.raw(Command.NEW, {"calibration": deployed, "data": {}}, MASK)["data"] == {"cal": deployed}
    assert client.raw(Command.GET)["data"]["cal"] == deployed
    told = [message for message in caplog.messages if "a key that is not known" in message]
    assert sorted(told) == [
        "requests hold a key that is not known, which is ignored: Consolidate",
        "requests hold a key that is not known, which is ignored: Masks[].Color",
    ]
    image = live.files.add("a.tif")
    until(lambda: client.stat()["images processed"] == 1)
    until(lambda: client.raw(Command.PLOT)["result"] == "plot")
    columns = client.raw(Command.PLOT)["data"]["IntegralParameters"]["R0"]
    assert [columns[name] for name in ("I0", "I1", "I2")] == [[0.0]] * 3
    assert read_chi(live.files.chi(image)).curve.axis.size > 40
    live.stop()
    live.start()
    with live.client() as later:
        assert later.raw(Command.GET)["data"]["cal"] == deployed


def test_protocol_2_is_strict(client: Client) -> None:
    answer = client.ask(Command.NEW, {"calibration": CALIBRATION | {"Consolidate": {}}}, MASK, protocol=2)
    assert answer.result == Kind.VALIDATION


def test_places_of_unknown_keys_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    keys = UnknownKeyLog()
    with caplog.at_level(logging.INFO):
        keys.log_new(f"key{number}\x1b[2J{'x' * 500}" for number in range(1000))
    assert len(caplog.messages) == 51
    assert all(message.isprintable() and len(message) < 200 for message in caplog.messages)


# A queue that dies


def assert_failed(client: Client, reason: str) -> None:
    until(lambda: client.raw(Command.STAT)["result"] == "Error")
    for command in (Command.STAT, Command.PLOT, Command.GET, Command.FILESLIST, Command.CLOSE):
        answer = client.raw(command)
        assert answer["result"] == "Error"
        assert reason in answer["data"]["Error"]
        assert set(answer["data"]["stat"]) == {"queue length", "images processed", "time", "start time"}


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """An image called ``bad.tif`` ends the thread of a queue, until what is given is called."""
    event = RawRunComposer.event

    def fails(run: RawRunComposer, file: Any, *page: Any) -> Any:
        if file.path.endswith("bad.tif"):
            raise OverflowError("date value out of range\x1b[2J")
        return event(run, file, *page)

    with monkeypatch.context() as patched:
        patched.setattr(RawRunComposer, "event", fails)
        yield patched.undo


@pytest.mark.logs_errors
def test_queue_whose_thread_has_died_is_told_of_in_every_answer(
    live: Live, client: Client, poisoned: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    client.ask(Command.NEW, NEW, MASK)
    live.files.add("a.tif")
    until(lambda: client.stat()["images processed"] == 1)
    live.files.add("bad.tif")
    assert_failed(client, "ended before its time: unexpected OverflowError: date value out of range")
    assert client.raw(Command.STAT)["data"]["stat"]["images processed"] == 1
    assert "queue failed" in live.handler.description
    assert "OverflowError" in live.handler.description
    assert "\x1b" not in live.handler.description
    assert sum("new opens another queue, readdir tries this one again" in message for message in caplog.messages) == 1
    poisoned()
    assert client.raw(Command.READDIR)["result"] == "queue restarted with all files"
    until(lambda: client.stat()["images processed"] == 3)
    assert client.raw(Command.PLOT)["result"] == "plot"
    assert "queue open" in live.handler.description


@pytest.mark.logs_errors
def test_new_and_abort_clear_a_queue_that_has_died(
    live: Live, client: Client, poisoned: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    for clear, result in ((lambda: client.raw(Command.ABORT), "queue aborted"), (lambda: new(client), "new queue")):
        live.files.add("bad.tif")
        assert new(client)["result"] == "new queue"
        assert_failed(client, "OverflowError")
        (live.files.data / "bad.tif").unlink()
        assert clear()["result"] == result
    assert client.stat()["images processed"] == 0
    live.files.add("a.tif")
    until(lambda: client.stat()["images processed"] == 1)


def new(client: Client) -> Any:
    return client.raw(Command.NEW, NEW, MASK)


def test_queue_that_cannot_begin_again_is_told_of(live: Live, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A file stands where the folder of the list of curves was."""
    client.ask(Command.NEW, NEW, MASK)
    live.files.add("a.tif")
    until(lambda: client.stat()["images processed"] == 1)
    client.ask(Command.CLOSE)
    results = live.files.data.parent / "results"
    until(lambda: len(live.files.listed()) == 2)
    shutil.rmtree(results)
    results.write_text("no folder")
    assert client.raw(Command.READDIR)["result"] == "Error"
    assert_failed(client, "results")
    results.unlink()
    assert client.raw(Command.READDIR)["result"] == "queue restarted with all files"
    until(lambda: client.stat()["images processed"] == 2)
    live.stop()
    shutil.rmtree(results)
    results.write_text("no folder")
    live.start()
    with live.client() as later:
        assert_failed(later, "results")
        assert "queue failed" in live.handler.description
        results.unlink()
        assert later.raw(Command.READDIR)["result"] == "queue restarted with all files"
        until(lambda: later.raw(Command.PLOT)["result"] == "plot")
    assert any("cannot be continued" in message for message in caplog.messages)


@pytest.mark.parametrize("protocol", [1, 2])
def test_images_become_curves_and_clients_see_them(live: Live, client: Client, protocol: int) -> None:
    images = [live.files.add(f"{number}.tif", number) for number in range(3)]
    client.ask(Command.NEW, NEW, MASK, protocol=protocol)
    images.append(live.files.add("more/later.tif", 4))
    until(lambda: client.stat()["images processed"] == 4)
    for image in images:
        assert read_chi(live.files.chi(image)).curve.intensity.size
        assert live.files.chi(image, "_cS1").exists()
    assert len(live.files.listed()) == 8

    def files() -> Any:
        return client.ask(Command.FILESLIST, protocol=protocol).data["fileslist"]

    until(lambda: len(files()["Radial0"]) == 4)
    assert sorted(files()["Radial0"]) == sorted(str(live.files.chi(image)) for image in images)
    assert sorted(files()["Slice1"]) == sorted(str(live.files.chi(image, "_cS1")) for image in images)
    assert files()["JSON"] == []

    def plot() -> Any:
        return client.ask(Command.PLOT, protocol=protocol).data

    until(lambda: len(plot()["history"]) == 4)
    shown = plot()
    radial, cut = shown["graphs"]
    assert (radial["kind"], cut["kind"]) == ("Radial", "Slice")
    assert radial["conf"]["MaskFile"] == "mask.npy"
    assert cut["conf"]["CutPosition"] == 5
    assert [label.split(" ")[0] for label in radial["columnLabels"]] == ["Scattering", "Intensity", "Error"]
    curve = read_chi(live.files.chi(Path(shown["filename"]))).curve
    assert radial["array"][1] == pytest.approx(curve.intensity.tolist(), rel=1e-5, nan_ok=True)
    assert [len(column) for column in radial["array"]] == [curve.axis.size] * 3
    assert set(shown["IntegralParameters"]) == {"R0"}
    columns = shown["IntegralParameters"]["R0"]
    assert {key: len(column) for key, column in columns.items()} == dict.fromkeys(("time", "file", "I0", "I1", "I2"), 4)
    assert len(shown["history"]) == 4
    assert shown["stat"]["images processed"] == 4


def test_get_gives_back_what_new_brought(client: Client) -> None:
    client.ask(Command.NEW, NEW, MASK)
    data = client.raw(Command.GET)["data"]
    assert data == {"cal": CALIBRATION, "attachments": [{"filename": MASK.filename, "data": MASK.data}]}


def test_new_replaces_the_queue(live: Live, client: Client) -> None:
    client.ask(Command.NEW, NEW, MASK)
    first = live.files.add("a.tif")
    until(lambda: client.stat()["images processed"] == 1)
    other = {"calibration": changed(CALIBRATION, ["Directory"], ["user", "2015"])}
    (live.base / "user" / "2015").mkdir()
    assert client.ask(Command.NEW, other, MASK).result == "new queue"
    assert client.stat()["images processed"] == 0
    assert client.raw(Command.PLOT)["result"] == "Empty"
    live.files.add("b.tif")  # of the old queue: nobody's now
    second = live.files.add("../2015/c.tif")
    until(lambda: client.stat()["images processed"] == 1)
    assert live.files.chi(first).exists()
    assert (live.base / "user" / "work" / "c.chi").exists(), second
    assert not (live.base / "user" / "work" / "b.chi").exists()


def test_queue_builds_its_operators_once(live: Live, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """From ``new`` over its images to all of them again."""
    built: list[BinningOperator] = []
    build = BinningOperator.__init__

    def counted(operator: BinningOperator, *arguments: Any) -> None:
        built.append(operator)
        build(operator, *arguments)

    monkeypatch.setattr(BinningOperator, "__init__", counted)
    live.files.add("a.tif")
    client.ask(Command.NEW, NEW, MASK)
    until(lambda: client.stat()["images processed"] == 1)
    client.ask(Command.CLOSE)
    until(lambda: client.ask(Command.READDIR).result.startswith("queue restarted"))
    until(lambda: client.stat()["images processed"] == 2)
    assert len(built) == 2, "one for each curve"


def test_new_that_is_refused_leaves_the_queue(live: Live, client: Client, tmp_path: Path) -> None:
    client.ask(Command.NEW, NEW, MASK)
    (live.base / "out").symlink_to(tmp_path)
    for path, value in ((["Directory"], ["out"]), (["Directory"], ["..", "x"]), (["Geometry"], {})):
        assert client.ask(Command.NEW, {"calibration": changed(CALIBRATION, path, value)}, MASK).error
    live.files.add("a.tif")
    until(lambda: client.stat()["images processed"] == 1)


def test_queue_may_be_opened_before_its_folder_is_there(live: Live, client: Client) -> None:
    later = {"calibration": changed(CALIBRATION, ["Directory"], ["user", "later"])}
    before = sorted(live.base.rglob("*"))
    assert client.ask(Command.NEW, later, MASK).result == "new queue"
    assert client.stat()["images processed"] == 0
    time.sleep(0.5)
    assert sorted(live.base.rglob("*")) == before, "nothing is made before the first image"
    live.files.add("../later/a.tif")
    until(lambda: client.stat()["images processed"] == 1)
    lines = (live.base / "user" / "results" / "filelist_later.log").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["/work/a.chi", "/work/a_cS1.chi"]


def test_list_of_the_former_form_gets_no_line_twice(begin: Callable[..., Server]) -> None:
    """A server that was killed goes on, by a newer version, with a list whose lines do not begin with a separator."""
    server = begin()
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
    images = [server.add(f"{number:02d}.tif", number) for number in range(10)]
    server.until(lambda: len(server.listed()) == 20)
    server.kill()
    path = server.data.parent / "results" / f"filelist_{server.data.name}.log"
    path.write_text("".join(line.removeprefix("/") + "\n" for line in path.read_text().splitlines()))
    journal = server.state / str(server.port) / "progress" / "progress.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'["done"' not in line))  # as if the last were not noted
    server.start()
    images.append(server.add("later.tif"))
    server.until(lambda: len(server.listed()) == 2 * len(images))
    assert set(Counter(server.listed()).values()) == {1}


def test_image_that_fails_is_counted_and_not_drawn(
    live: Live, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    (live.files.data / "bad.tif").write_bytes(b"II*\0 no image")
    client.ask(Command.NEW, NEW, MASK)
    until(lambda: client.stat()["images processed"] == 1)
    assert client.raw(Command.PLOT)["result"] == "Empty"


# Sockets


def test_slow_request_holds_up_nobody(live: Live, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    go, answer = threading.Event(), live.handler.answer

    def slow(request: Request) -> Any:
        assert go.wait(PATIENCE)
        return answer(request)

    monkeypatch.setattr(live.handler, "answer", slow)
    client.socket.send_multipart(compose(Command.NEW, NEW, (MASK,), secret=SECRET))
    with live.client() as other:
        for _ in range(20):
            assert other.stat() == {}
        vanished = live.client()
        with vanished as gone:
            gone.socket.send_multipart(compose(Command.LISTDIR, {"directory": []}, secret=SECRET))
            until(lambda: live.server.counters.wait == 2)
        assert client.socket.poll(0) == 0
        go.set()
        assert json.loads(client.socket.recv())["result"] == "new queue"
        until(lambda: live.server.counters.wait == 0)
        assert other.stat()["images processed"] == 0


def test_too_many_requests_at_a_time_are_told_so(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go, answer = threading.Event(), live.handler.answer

    def slow(request: Request) -> Any:
        assert go.wait(PATIENCE)
        return answer(request)

    monkeypatch.setattr(live.handler, "answer", slow)
    dealer = client.context.socket(zmq.DEALER)
    dealer.rcvtimeo = 60_000
    dealer.connect(live.address)
    for _ in range(300):
        dealer.send_multipart([b"", *compose(Command.GET, {}, secret=SECRET)])
    results = Counter(json.loads(dealer.recv_multipart()[-1])["result"] for _ in range(100))
    assert results == {"ServerError": 100}
    go.set()
    assert Counter(json.loads(dealer.recv_multipart()[-1])["result"] for _ in range(200)) == {"no queue": 200}
    dealer.close(linger=0)


def test_sockets_of_other_kinds(live: Live, client: Client) -> None:
    context = client.context
    dealer = context.socket(zmq.DEALER)
    dealer.rcvtimeo = 60_000
    dealer.connect(live.address)
    for frames in (0, 1):  # without the empty frame that a REQ sends, and with it
        dealer.send_multipart([*[b""] * frames, *compose(Command.STAT, {}, secret=SECRET)])
        *route, body = dealer.recv_multipart()
        assert (len(route), json.loads(body)["result"]) == (frames, "stat")
    for parts in ([b""], [b"", b""], [b"x", b""], [b"x"] * 500, [b"", *[b"x"] * 500], [b"x" * 300, b"", b"x"]):
        dealer.send_multipart(parts)
        assert "Error" in json.loads(dealer.recv_multipart()[-1])["data"]
    assert dealer.poll(100) == 0
    others = [context.socket(kind) for kind in (zmq.PUB, zmq.PUSH, zmq.REP, zmq.ROUTER, zmq.SUB, zmq.PAIR)]
    for other in others:
        other.linger = 0
        other.connect(live.address)
    others[0].send(b"hello")
    assert client.stat() == {}
    for one in (dealer, *others):
        one.close(linger=0)


def test_client_behind_a_proxy(live: Live, client: Client) -> None:
    front, back = client.context.socket(zmq.ROUTER), client.context.socket(zmq.DEALER)
    port = front.bind_to_random_port("tcp://127.0.0.1")
    back.connect(live.address)
    behind = Client(f"tcp://127.0.0.1:{port}", client.context).connect()
    behind.socket.send_multipart(compose(Command.STAT, {}, secret=SECRET))
    back.send_multipart(front.recv_multipart())
    front.send_multipart(back.recv_multipart())
    assert json.loads(behind.socket.recv())["result"] == "stat"
    for one in (front, back, behind.socket):
        one.close(linger=0)


def test_what_is_no_0mq_at_all(live: Live, client: Client) -> None:
    port = int(live.address.rpartition(":")[2])
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for connection, text in zip(
        connections, [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5000, b"", b"\0"] * 12, strict=False
    ):
        connection.sendall(text)
    assert client.stat() == {}
    for connection in connections:
        connection.close()
    assert client.stat() == {}


def test_clients_that_vanish_cost_nothing(live: Live, client: Client) -> None:
    process = psutil.Process()

    def come_and_go(number: int) -> None:
        for _ in range(number):
            with live.client() as gone:
                gone.socket.send_multipart(compose(Command.STAT, {}, secret=SECRET))

    come_and_go(20)
    before = process.num_fds()
    come_and_go(100)
    until(lambda: process.num_fds() <= before + 5)
    assert client.stat() == {}


@pytest.mark.logs_errors
def test_hostile_messages_to_a_live_server(tmp_path: Path, lives: list[Live]) -> None:
    state = StateFolder(tmp_path / "state")
    (state.folder / "requests").write_text("0.0 0.0 forgotten\n")  # or what was signed before the start is refused
    live = Live(tmp_path, {"limits": SMALL, "clock": lambda: NOW}).start()
    lives.append(live)
    number = 0
    with live.client() as client:
        new = compose(Command.NEW, NEW, (MASK,), secret=SECRET, clock=lambda: NOW - 2)
        assert json.loads(client.exchange(new)[0])["result"] == "new queue"
        table = hostile_messages()
        memory = []
        for turn in range(2):
            for name, hostile in table.items():
                if not hostile.parts or hostile.kind is None:
                    continue
                answer = exchanged(live, client.context, hostile.parts)
                if answer is None:
                    assert max(map(len, hostile.parts)) > SMALL.attachment_bytes, name
                else:
                    assert answer["result"] in {hostile.kind, Kind.AUTHENTICATION}, name
                    assert [*answer["data"]] == ["Error"]
                number += 1
                if number % 20 == 0:
                    live.files.add(f"{number}.tif", number)
            memory.append(psutil.Process().memory_info().rss)
            assert turn == 0 or memory[1] < memory[0] + 50e6
        images = sorted(live.files.data.glob("*.tif"))
        assert len(images) > 20
        until(lambda: all(live.files.chi(image).exists() for image in images))
        for hostile in table.values():
            if hostile.parts and hostile.kind is None:
                assert exchanged(live, client.context, hostile.parts) is not None
        again = compose(Command.STAT, {}, secret=SECRET, clock=lambda: NOW - 3)
        assert json.loads(client.exchange(again)[0])["result"] == "stat"


def exchanged(live: Live, context: zmq.Context[Any], parts: list[bytes]) -> Any:
    """Answer to a message from a client of its own; None where that is dropped."""
    one = Client(live.address, context).connect()
    monitor = one.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        one.socket.send_multipart(parts)
        poller = zmq.Poller()
        poller.register(one.socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        ready = dict(poller.poll(60_000))
        assert ready
        return json.loads(one.socket.recv_multipart()[0]) if one.socket in ready else None
    finally:
        one.socket.disable_monitor()
        monitor.close(linger=0)
        one.close()


def test_answer_beyond_the_limit_is_an_error(tmp_path: Path, lives: list[Live]) -> None:
    lives.append(Live(tmp_path, {"limits": Limits(response_bytes=100)}).start())
    with lives[-1].client() as client:
        assert client.stat() == {}
        assert client.ask(Command.NEW, NEW, MASK).result == "ServerError"
        error = client.ask(Command.STAT).error
        assert error is not None
        assert error.startswith("wanted an answer of at most 100 bytes")


@pytest.mark.logs_errors
def test_fault_of_the_server_is_an_answer_too(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: Any) -> Any:
        raise KeyError(SECRET)

    monkeypatch.setattr(live.handler, "answer", fault)
    monkeypatch.setattr(live.handler, "immediate_answer", fault)
    for command in (Command.STAT, Command.LISTDIR, Command.NEW):
        answer = client.ask(command, *ARGUMENTS.get(command, ()))
        assert answer.result == "ServerError"
        assert answer.error == "The server failed at this request; its log says more."
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 3


def test_answers_fit_what_clients_take(live: Live, client: Client) -> None:
    live.files.add("a.tif")
    client.ask(Command.NEW, NEW, MASK)
    until(lambda: client.stat()["images processed"] == 1)
    for spec in COMMANDS.values():
        if spec.command in (Command.MERGEDATA, Command.MERGESTAT, Command.GETMERGEDATA):
            continue  # test_data_merge.py has them
        answer = client.ask(spec.command, *ARGUMENTS.get(spec.command, ()), protocol=2)
        assert answer.result in (spec.result, *spec.otherwise)
        assert set(answer.data) <= spec.data


# Restarts


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*options: str) -> Server:
        started.append(Server(tmp_path, ("-w", *options)))
        return started[-1].start()

    yield start
    for server in started:
        server.end()


def test_killed_server_goes_on_where_it_was(begin: Callable[..., Server], tmp_path: Path) -> None:
    server = begin("--catalog", str(tmp_path / "catalog"))
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
    images = [server.add(f"{number:02d}.tif", number) for number in range(30)]
    server.until(lambda: len(server.listed()) >= 20)
    server.kill()
    server.start()
    images.append(server.add("later.tif"))
    server.until(lambda: len(server.listed()) >= 2 * len(images))
    with server.client() as client:
        assert client.stat()["images processed"] == len(images)
        assert client.ask(Command.GET).data["attachments"][0]["filename"] == "mask.npy"
        assert client.ask(Command.CLOSE).result == "queue closed"
    assert server.stop() == 0
    assert set(Counter(server.listed()).values()) == {1}
    found = Catalogued.read(server.catalog)
    once = Counter(str(image) for image in images)
    assert found.raw == once
    assert found.reduced == once
    assert found.failed == Counter()
    assert None not in found.stops


def test_killed_server_does_the_rest_of_what_was_asked_for_again(begin: Callable[..., Server]) -> None:
    server = begin()
    images = [server.add(f"{number:03d}.tif", number) for number in range(60)]
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
    server.until(lambda: len(server.listed()) == 2 * len(images))
    with server.client() as client:
        client.ask(Command.READDIR)
    server.until(lambda: len(server.listed()) >= 2 * len(images) + 20)
    server.kill()
    done = len(server.listed())
    assert done < 4 * len(images)
    server.start()
    server.until(lambda: len(server.listed()) >= 4 * len(images))
    server.until(lambda: stat_of(server)["queue length"] == 0)
    assert stat_of(server)["images processed"] == 2 * len(images)
    assert server.stop() == 0
    assert set(Counter(server.listed()).values()) == {2}


def stat_of(server: Server) -> Any:
    with server.client() as client:
        return client.stat()


def test_stopped_server_closes_its_runs_and_goes_on_later(begin: Callable[..., Server], tmp_path: Path) -> None:
    server = begin("--catalog", str(tmp_path / "catalog"))
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
    images = [server.add(f"{number:02d}.tif", number) for number in range(20)]
    server.until(lambda: len(server.listed()) >= 10)
    assert server.stop(signal.SIGTERM) == 0
    found = Catalogued.read(server.catalog)
    assert found.stops
    assert None not in found.stops
    assert found.reduced == Counter(str(image) for image in images if server.chi(image).exists())
    server.options = ("-w",)
    images.append(server.add("meanwhile.tif"))
    server.start()
    images.append(server.add("later.tif"))
    server.until(lambda: len(server.listed()) >= 2 * len(images))
    with server.client() as client:
        assert client.stat()["images processed"] == len(images)
    assert server.stop(signal.SIGINT) == 0
    assert set(Counter(server.listed()).values()) == {1}


@pytest.mark.parametrize("command", [Command.CLOSE, Command.ABORT])
def test_queue_that_was_ended_is_remembered_and_stays_so(live: Live, client: Client, command: Command) -> None:
    image = live.files.add("a.tif")
    client.ask(Command.NEW, NEW, MASK)
    until(lambda: client.stat()["images processed"] == 1)
    began = client.stat()["start time"]
    client.ask(command)
    live.stop()
    live.start()
    other = live.files.add("b.tif")
    with live.client() as later:
        if command is Command.ABORT:
            assert later.stat() == {}
        else:
            assert later.stat()["images processed"] == 1
            assert later.stat()["start time"] == began
            assert later.ask(Command.GET).data["cal"] == CALIBRATION
        assert later.ask(command).error is None
    assert live.files.chi(image).exists()
    assert not live.files.chi(other).exists()


def test_closed_queue_that_was_not_done_is_done_later(begin: Callable[..., Server]) -> None:
    server = begin()
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
        images = [server.add(f"{number:02d}.tif", number) for number in range(40)]
        server.until(lambda: len(server.listed()) >= 4)
        client.ask(Command.CLOSE)
    server.kill()
    done = len(set(server.listed()))
    server.start()
    with server.client() as client:
        state = json.loads((server.state / str(server.port) / "queue.json").read_text())["state"]
        assert state == "closed"
        server.until(lambda: client.stat()["queue length"] == 0)
    assert server.stop() == 0
    assert len(set(server.listed())) >= done
    assert set(Counter(server.listed()).values()) == {1}
    assert len(images) == 40


def test_request_that_was_seen_is_refused_after_a_restart(live: Live, client: Client) -> None:
    parts = compose(Command.CLOSE, {}, secret=SECRET)
    assert json.loads(client.exchange(parts)[0])["result"] == "no queue"
    live.stop()
    live.start()
    with live.client() as later:
        assert json.loads(later.exchange(parts)[0])["data"] == {"Error": "Request seen before."}


# What is kept


def record(**other: Any) -> QueueRecord:
    return QueueRecord(
        **{
            "document": CALIBRATION, "attachments": (MASK,), "base": "/base", "state": QueueState.OPEN, "began": 5.5,
            "processed": 7, **other,
        }
    )  # fmt: skip


def test_record_is_read_as_it_was_kept(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    assert state.load() is None
    state.save(record())
    assert StateFolder(tmp_path / "state").load() == record()
    other = record(attachments=(), state=QueueState.CLOSED)
    state.save(other)
    assert state.load() == other
    assert [path.name for path in state.folder.iterdir()] == ["queue.json"]


def test_nobody_else_reads_what_is_kept(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.save(record())
    assert state.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in state.folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", '{"version": 2}', '{"version": 1, "calibration": 5}', "\udcff", "null", "[" * 100_000,
        '{"version":1,"calibration":{},"masks":[],"base":"","state":"open","began":1e999,"processed":0}',
        '{"version":1,"calibration":{},"masks":[],"base":"","state":"open","began":1,"processed":1e999}',
        '{"version":1,"calibration":{},"masks":[{"file":"a\\u0000","filename":"m"}],"base":"","state":"open","began":1}',
    ],
    ids=range(11),
)  # fmt: skip
def test_damaged_record_is_forgotten(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    state = StateFolder(tmp_path)
    (tmp_path / "queue.json").write_text(text, errors="surrogateescape")
    with caplog.at_level(logging.WARNING):
        assert state.load() is None
    assert "it is forgotten" in caplog.text
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("queue.json.damaged-")
    assert kept.name in caplog.text


def test_folder_in_place_of_the_record_is_put_aside(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    (tmp_path / "queue.json").mkdir()
    assert state.load() is None
    state.save(record())
    assert state.load() == record()


def test_mask_that_is_gone_or_changed_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = StateFolder(tmp_path)
    state.save(record())
    (mask,) = tmp_path.glob("mask-*")
    mask.unlink()
    assert state.load() is None
    mask.write_bytes(b"other")
    assert state.load() is None
    assert len(caplog.records) == 2


def test_queue_of_another_base_directory_is_forgotten(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.stop()
    StateFolder(live.folder / "state").save(record())
    live.start()
    assert "the queue of /base is forgotten" in caplog.text
    assert live.handler.statistics is None


# Keys


def test_with_keys_only_clients_that_have_one_are_let_in(tmp_path: Path, lives: list[Live]) -> None:
    keys = tmp_path / "keys"
    made = ServerKeys(keys)
    assert (keys / "server.key_secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "own").mkdir()
    zmq.auth.create_certificates(keys / "clients", "known")
    (keys / "clients" / "known.key_secret").rename(tmp_path / "own" / "known.key_secret")
    zmq.auth.create_certificates(tmp_path / "own", "stranger")
    assert ServerKeys(keys).public == made.public
    lives.append(Live(tmp_path, {"encryption": ServerKeys(keys)}).start())
    context: zmq.Context[Any] = zmq.Context()

    def client(name: str) -> Client:
        one = Client(lives[-1].address, context)
        if name:
            public, secret = zmq.auth.load_certificate(tmp_path / "own" / f"{name}.key_secret")
            one.socket.curve_publickey, one.socket.curve_secretkey = public, secret
            one.socket.curve_serverkey = made.public
        return one.connect()

    refused = [client(""), client("stranger")]
    for one in refused:
        with suppress(zmq.Again):  # its connection may be gone already
            one.socket.send_multipart(compose(Command.STAT, {}, secret=SECRET), zmq.NOBLOCK)
    known = client("known")
    assert known.stat() == {}
    assert not any(one.socket.poll(500) for one in refused)
    for one in (known, *refused):
        one.close()
    context.destroy(linger=0)


def test_keys_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "server.key_secret").write_text("no key")
    with pytest.raises(SaxsError, match="wanted the keys of the server"):
        ServerKeys(tmp_path)


@dataclass
class Keyed:
    """A server with encryption, and a client that had its key there when it began."""

    folder: Path
    lives: list[Live]
    context: zmq.Context[Any] = field(default_factory=zmq.Context)

    def __post_init__(self) -> None:
        self.keys = self.folder / "keys"
        self.clients = self.keys / "clients"
        self.clients.mkdir(parents=True)
        zmq.auth.create_certificates(self.folder, "known")
        self.known = self.clients / "known.key"
        (self.folder / "known.key").rename(self.known)

    def start(self) -> None:
        self.made = ServerKeys(self.keys)
        self.lives.append(Live(self.folder, {"encryption": self.made}).start())

    def is_let_in(self) -> bool:
        """Whether a new connection of the client gets an answer."""
        one = Client(self.lives[-1].address, self.context)
        public, secret = zmq.auth.load_certificate(self.folder / "known.key_secret")
        one.socket.curve_publickey, one.socket.curve_secretkey = public, secret
        one.socket.curve_serverkey = self.made.public
        one.connect()
        monitor = one.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            assert monitor.poll(1000 * PATIENCE)
            event = zmq.utils.monitor.recv_monitor_message(monitor)["event"]
            return bool(event == zmq.EVENT_HANDSHAKE_SUCCEEDED) and one.stat() == {}
        finally:
            one.socket.disable_monitor()
            monitor.close(linger=0)
            one.close()


@pytest.fixture
def keyed(tmp_path: Path, lives: list[Live]) -> Iterator[Keyed]:
    one = Keyed(tmp_path, lives)
    yield one
    one.context.destroy(linger=0)


def no_key(path: Path, kind: str) -> None:  # noqa: C901 - a table
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("no key")
        case "foreign":
            path.write_bytes(bytes(range(256)) * 4)
        case "short":
            path.write_text('public-key = "abcde"')
        case "not Z85":
            path.write_text(f'public-key = "{"~" * 40}"')
        case "large":
            with path.open("wb") as file:
                file.truncate(2**30)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to nothing":
            path.symlink_to("nothing")
        case "name of control characters":
            path.with_name("a\x1b[2J\n.key").write_text("x")


NO_KEYS = [
    "empty", "text", "foreign", "short", "not Z85", "large", "folder", "pipe", "link to nothing",
    "name of control characters",
]  # fmt: skip


@pytest.mark.parametrize("kind", NO_KEYS)
def test_key_that_is_taken_away_counts_no_more_whatever_lies_beside_it(
    keyed: Keyed, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    keyed.start()
    assert keyed.is_let_in()
    no_key(keyed.clients / "bad.key", kind)
    until(lambda: "it is ignored" in caplog.text)
    assert keyed.is_let_in()
    keyed.known.unlink()
    until(lambda: not keyed.is_let_in())
    (message,) = caplog.messages
    assert message.isprintable()
    assert ".key" in message


@pytest.mark.parametrize("kind", NO_KEYS)
def test_file_that_is_no_key_does_not_stop_the_start(keyed: Keyed, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    no_key(keyed.clients / "bad.key", kind)
    keyed.start()
    assert keyed.made.number_of_clients == 1
    assert keyed.is_let_in()
    assert sum("it is ignored" in message for message in caplog.messages) == 1


def test_without_the_folder_of_keys_nobody_is_let_in(keyed: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    keyed.start()
    away = keyed.clients.rename(keyed.keys / "away")
    until(lambda: not keyed.is_let_in())
    away.rename(keyed.clients)
    until(keyed.is_let_in)
    assert sum("nobody is let in" in message for message in caplog.messages) == 1
