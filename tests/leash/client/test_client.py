"""The client against a server on a real socket, and against everything that is none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
import zmq.auth

from saxs_bluesky.errors import CalibrationError, MaskError, SaxsError, SchemaError
from saxs_bluesky.leash import (
    Attachment,
    CallError,
    Command,
    EncryptionKeys,
    LeashClient,
    LeashError,
    LeashTimeoutError,
    Limits,
    NetworkEntry,
    graph_curves,
)
from tests.helpers.hostile import CALIBRATION, MERGE, npy
from tests.helpers.leash_validation import SECRET
from tests.helpers.talking import GRAPH, PLOT, STAT, Server, assert_signed, raw, silence
from tests.helpers.waiting import PATIENCE

#: With the keys that deployed servers need.
COMPLETED = CALIBRATION | {
    "GISAXSmode": False,
    "Live-Filelisting": True,
    "OverwriteFiles": True,
    "Masks": [{"Phi-mode": False} | mask for mask in CALIBRATION["Masks"]],
}
SHORT = 0.2  # seconds: for answers that never come


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[LeashClient]:
    with LeashClient(server.address, secret=SECRET, timeout=PATIENCE) as connected:
        yield connected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``cal.json`` with its mask, another mask, ``merge.json`` with its log."""
    mask = np.zeros((60, 80), "u1")
    for column, name in enumerate(("mask.npy", "other.npy")):
        mask[3, column] = 255
        (tmp_path / name).write_bytes(npy(content=mask.tobytes()))
    (tmp_path / "cal.json").write_text(json.dumps(CALIBRATION))
    merge = json.loads(json.dumps(MERGE))
    merge["LogDataTables"][1]["Files"] = [{"LocalPath": "data.log"}, {"RemotePath": ["x"], "LocalPath": ""}]
    (tmp_path / "merge.json").write_text(json.dumps(merge))
    (tmp_path / "data.log").write_bytes(b"1\t2 \xc2\xb0C\r\n")
    return tmp_path


SIMPLE: dict[Command, Callable[[LeashClient], Any]] = {
    Command.CLOSE: LeashClient.close,
    Command.ABORT: LeashClient.abort,
    Command.READDIR: LeashClient.readdir,
    Command.STAT: LeashClient.stat,
    Command.GET: LeashClient.get,
    Command.PLOT: LeashClient.plot,
    Command.LISTDIR: lambda client: client.listdir("user/2014"),
    Command.FILESLIST: LeashClient.fileslist,
    Command.MERGESTAT: LeashClient.mergestat,
    Command.GETMERGEDATA: LeashClient.getmergedata,
}


@pytest.mark.parametrize("protocol", [1, 2])
def test_every_command_is_signed_and_answered(server: Server, folder: Path, protocol: int) -> None:
    with LeashClient(server.address, secret=SECRET, protocol=protocol, timeout=PATIENCE) as client:
        for method in SIMPLE.values():
            assert method(client).error is None
        client.new(folder / "cal.json")
        client.mergedata(folder / "merge.json")
    assert [request.command for request in server.requests] == [*SIMPLE, Command.NEW, Command.MERGEDATA]
    assert {request.reply_context.protocol for request in server.requests} == {protocol}
    for message in server.messages:
        assert_signed(message)
    assert all(json.loads(message[0])["argument"] == {} for message in server.messages[:6])


def test_answer_is_what_the_server_said(client: LeashClient) -> None:
    response = client.stat()
    assert (response.result, response.data["stat"]) == ("stat", STAT)
    assert np.isnan(client.plot().data["graphs"][0]["array"][1][0])


def test_server_of_deployed_programs_answers(folder: Path) -> None:
    """A plain REP socket, with no more than the protocol's description."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.REP) as rep:
        rep.setsockopt(zmq.LINGER, 0)
        port = rep.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            for _ in range(2):
                assert_signed(rep.recv_multipart())
                rep.send(b'{"result": "merge startedmergedata", "data": {}}')

        thread = threading.Thread(target=serve)
        thread.start()
        with LeashClient(NetworkEntry(f"tcp://127.0.0.1:{port}", "", SECRET), timeout=PATIENCE) as client:
            assert client.mergedata(folder / "merge.json").result == "merge startedmergedata"
            assert client.request("getmergestat").data == {}
        thread.join()


class Deployed:
    """A REP socket that checks requests and answers as deployed servers were seen to."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._rep = self._context.socket(zmq.REP)
        self._rep.linger = 0
        self.address = f"tcp://127.0.0.1:{self._rep.bind_to_random_port('tcp://127.0.0.1')}"
        self.commands: list[str] = []
        self._thread = threading.Thread(target=self._serve)
        self._end = threading.Event()

    def __enter__(self) -> Deployed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._rep.close()
        self._context.term()

    def _serve(self) -> None:
        while not self._end.is_set():
            if self._rep.poll(20):
                parts = self._rep.recv_multipart()
                assert_signed(parts)
                request = json.loads(parts[0])
                self.commands.append(request["command"])
                result, data = self._answer(request, parts[1:])
                self._rep.send(json.dumps({"result": result, "data": data}).encode())

    def _answer(self, request: dict[str, Any], attachments: list[bytes]) -> tuple[str, dict[str, Any]]:
        match request["command"]:
            case "new":
                calibration = request["argument"]["calibration"]
                lacks = {"GISAXSmode", "Live-Filelisting", "OverwriteFiles"} - set(calibration)
                lacks |= {"Phi-mode" for mask in calibration["Masks"] if "Phi-mode" not in mask}
                if lacks or len(attachments) != len(calibration["Masks"]):
                    return "ValidationError in request", {"Error": f"{sorted(lacks)} is a required property"}
                return "new queue", {"cal": calibration, "user": "x"}
            case "plot":
                graph = {**GRAPH, "mask": 0, "Integparam": {"I0": 1.0}, "Image": [[1, 2]], "slice": None}
                return "plot", {"graphs": [graph], "filename": "a.tif", "stat": {**STAT, "hist": []}, "more": {"a": 1}}
            case "listdir":
                return "listdir", {"dircontent": [{"isdir": True, "path": "user", "size": 3}], "directory": []}
            case _:
                return "stat", {"stat": STAT, "threads": 2, "version": "2019"}


def test_deployed_server_takes_what_is_sent_and_is_understood(folder: Path) -> None:
    with Deployed() as server, LeashClient(server.address, secret=SECRET, timeout=PATIENCE) as client:
        for masks in (None, folder / "other.npy"):
            assert client.new(folder / "cal.json", masks).result == "new queue"
        (folder / "cal.json").write_text(json.dumps(CALIBRATION | {"GISAXSmode": False, "Masks": [{}, {}]}))
        assert client.new(folder / "cal.json").result == "new queue"
        assert set(client.plot().data["graphs"][0]) == {"kind", "conf", "columnLabels", "array"}
        (graph,) = graph_curves(client.plot().data)
        assert graph.curve.axis.size == len(GRAPH["array"][0])
        assert client.stat().data["stat"] == STAT
        assert client.listdir().data["dircontent"] == [{"isdir": True, "path": "user"}]


@pytest.mark.parametrize("parts", ["user/2014", ["user", "2014"], "./user//2014/"])
def test_directories_are_parts(client: LeashClient, server: Server, parts: Any) -> None:
    client.listdir(parts)
    assert json.loads(server.messages[0][0])["argument"] == {"directory": ["user", "2014"]}


def test_base_directory_is_listed_by_default(client: LeashClient, server: Server) -> None:
    client.listdir()
    client.listdir("")
    assert [request.argument for request in server.requests] == [{"directory": []}] * 2


@pytest.mark.parametrize("parts", ["../etc", "/etc", ["user", ".."], ["a/b"], "a\nb"])
def test_directories_lead_down(client: LeashClient, server: Server, parts: Any) -> None:
    with pytest.raises(LeashError):
        client.listdir(parts)
    with pytest.raises(LeashError):
        client.new(CALIBRATION, directory=parts)
    assert server.messages == []


def test_new_sends_what_the_calibration_says(client: LeashClient, server: Server, folder: Path) -> None:
    assert client.new(folder / "cal.json").result == "new queue"
    ((body, mask),) = server.messages
    assert json.loads(body)["argument"] == {"calibration": COMPLETED, "data": {}}
    assert json.loads(mask) == {"filename": "mask.npy", "data": (folder / "mask.npy").read_bytes().decode("latin-1")}


def test_new_takes_mask_and_directory_that_are_given(client: LeashClient, server: Server, folder: Path) -> None:
    client.new(str(folder / "cal.json"), folder / "other.npy", "user/x")
    (request,) = server.requests
    assert request.calibration is not None
    assert request.calibration.load_mask(0)[3, 1]
    assert request.calibration.document["Directory"] == ["user", "x"]
    assert request.calibration.document["Masks"][0]["MaskFile"] == str(folder / "other.npy")
    assert json.loads((folder / "cal.json").read_text()) == CALIBRATION


def test_one_mask_is_for_all_entries(client: LeashClient, server: Server, folder: Path) -> None:
    client.new({**CALIBRATION, "Masks": [{}, {"qStop": 3.0}, CALIBRATION["Masks"][0]]}, folder / "other.npy")
    (request,) = server.requests
    assert request.calibration is not None
    assert [bool(request.calibration.load_mask(index)[3, 1]) for index in range(3)] == [True] * 3
    assert len(request.attachments) == 3


def test_calibration_without_masks_takes_one(client: LeashClient, server: Server, folder: Path) -> None:
    plain = {name: value for name, value in CALIBRATION.items() if name not in ("Masks", "Slices")}
    client.new(plain)
    client.new(plain, folder / "mask.npy")
    assert [len(request.attachments) for request in server.requests] == [0, 1]
    assert "Masks" not in plain


def test_masks_are_in_the_order_of_their_entries(
    client: LeashClient, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    entries = [{"MaskFile": "other.npy"}, {}, {"MaskFile": "mask.npy"}]
    client.new({**CALIBRATION, "Masks": entries})
    client.new({**CALIBRATION, "Masks": entries}, ["mask.npy", None, folder / "other.npy"])
    wanted = [(folder / name).read_bytes() if name else b"" for name in ("other.npy", "", "mask.npy")]
    for request, contents in zip(server.requests, (wanted, wanted[::-1]), strict=True):
        assert [attachment.content() for attachment in request.attachments] == contents
        assert request.calibration is not None
        assert not request.calibration.load_mask(1).any()


def test_other_spellings_become_the_format_s_own(client: LeashClient, server: Server, folder: Path) -> None:
    geometry = dict(CALIBRATION["Geometry"])
    geometry["DetectorDistanceMM"] = geometry.pop("DedectorDistanceMM")
    (folder / "cal.json").write_text(json.dumps({**CALIBRATION, "Geometry": geometry}))
    client.new(folder / "cal.json")
    assert json.loads(server.messages[0][0])["argument"]["calibration"] == COMPLETED


def small_mask(folder: Path) -> None:
    (folder / "mask.npy").write_bytes(npy(shape=(2, 2), content=bytes(4)))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "mask.npy").unlink(), SaxsError, r"mask.npy: wanted a mask file, found No such"),
        (lambda folder: (folder / "mask.npy").write_bytes(b"x"), MaskError, "mask.npy"),
        (small_mask, MaskError, r"wanted a mask of shape \(60, 80\)"),
        (lambda folder: (folder / "cal.json").unlink(), SaxsError, "cal.json: wanted a JSON file, found No such"),
        (lambda folder: (folder / "cal.json").write_text("{"), SchemaError, "cal.json: wanted JSON"),
        (lambda folder: (folder / "cal.json").write_text("{}"), SchemaError, "Geometry"),
        (
            lambda folder: (folder / "cal.json").write_text(json.dumps({**CALIBRATION, "Masks": [{"qStart": 9}]})),
            CalibrationError,
            "wanted qStart below qStop",
        ),
    ],
)
def test_what_does_not_fit_is_not_sent(
    client: LeashClient,
    server: Server,
    folder: Path,
    spoil: Callable[[Path], Any],
    error: type[SaxsError],
    message: str,
) -> None:
    spoil(folder)
    with pytest.raises(error, match=message):
        client.new(folder / "cal.json")
    assert server.messages == []


@pytest.mark.parametrize("masks", [[], ["mask.npy", "mask.npy"]])
def test_number_of_masks_is_checked(client: LeashClient, folder: Path, masks: list[str]) -> None:
    with pytest.raises(SaxsError, match=f"wanted one mask for each of the 1 entries of Masks, found {len(masks)}"):
        client.new(folder / "cal.json", masks)


def test_logs_travel_as_text(client: LeashClient, server: Server, folder: Path) -> None:
    client.mergedata(folder / "merge.json")
    (request,) = server.requests
    assert request.attachments == (Attachment("data.log", "1\t2 \u00b0C\r\n"),)
    (folder / "old.log").write_bytes(b"21 \xb0C")
    client.mergedata(folder / "merge.json", [folder / "old.log"])
    assert server.requests[1].attachments == (Attachment("old.log", "21 \u00b0C"),)


def test_number_of_logs_is_checked(client: LeashClient, folder: Path) -> None:
    with pytest.raises(SaxsError, match="wanted one log file for each of the 1 with a LocalPath, found 2"):
        client.mergedata(folder / "merge.json", ["a", "b"])
    with pytest.raises(SchemaError, match="LogDataTables"):
        client.mergedata({})
    (folder / "data.log").unlink()
    with pytest.raises(SaxsError, match=r"data.log: wanted a log file"):
        client.mergedata(folder / "merge.json")


def test_errors_of_the_server_are_raised(client: LeashClient, server: Server) -> None:
    server.speak = raw({"result": "IOError", "data": {"Error": "no such\x1b[2J folder"}})
    with pytest.raises(CallError, match=r": IOError: no such \[2J folder$") as caught:
        client.stat()
    assert (caught.value.kind, caught.value.result) == ("IOError", "IOError")
    assert caught.value.response is not None


def test_errors_of_the_server_are_returned_where_asked(client: LeashClient, server: Server) -> None:
    server.speak = raw({"result": "TypeError", "data": {"Error": "x"}})
    assert client.request(Command.STAT, check=False).error == "x"
    with pytest.raises(CallError) as caught:
        client.stat()
    assert (caught.value.kind, caught.value.result) == ("Error", "TypeError")


def test_error_without_reason_is_one(client: LeashClient, server: Server) -> None:
    server.speak = raw({"result": "ServerError", "data": {}})
    with pytest.raises(CallError, match="it does not say why"):
        client.stat()


def test_no_queue_is_an_answer(client: LeashClient, server: Server) -> None:
    server.speak = raw({"result": "no queue", "data": {}})
    assert client.plot().result == "no queue"


@pytest.mark.parametrize("protocol", [1, 2])
def test_wrong_secret_is_an_error_of_the_server(server: Server, protocol: int) -> None:
    with (
        LeashClient(server.address, secret="another", protocol=protocol, timeout=PATIENCE) as client,
        pytest.raises(CallError, match=r"Wrong signature\.") as caught,
    ):
        client.stat()
    assert caught.value.kind == "AuthenticationError"


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"result": "stat"}', b"\xff" * 100, b"[" * 5000])
def test_garbage_is_no_answer(client: LeashClient, server: Server, body: bytes) -> None:
    server.speak = raw(body)
    with pytest.raises(CallError, match=r"127\.0\.0\.1:\d+: answer: "):
        client.stat()
    server.speak = server.answer
    assert client.stat().result == "stat"


def test_forged_answers_of_protocol_2_are_refused(server: Server) -> None:
    kept: list[list[bytes]] = []

    def spoil(how: Callable[[list[bytes]], list[bytes]]) -> Callable[[list[bytes]], list[bytes]]:
        def speak(parts: list[bytes]) -> list[bytes]:
            answer = server.answer(parts)
            assert answer is not None
            kept.append(answer)
            return how(answer)

        return speak

    with LeashClient(server.address, secret=SECRET, protocol=2, timeout=PATIENCE) as client:
        for how, message in (
            (lambda answer: [answer[0].replace(b"3", b"4"), answer[1]], "wanted the server's signature, found another"),
            (lambda answer: [answer[0], b"0" * 64], "wanted the server's signature, found another"),
            (lambda answer: answer[:1], "wanted a signature, found none"),
            (lambda answer: kept[0], "found another's"),
        ):
            server.speak = spoil(how)
            with pytest.raises(CallError, match=message) as caught:
                client.stat()
            assert caught.value.kind == "AuthenticationError"
        server.speak = server.answer
        assert client.stat().result == "stat"


@pytest.mark.parametrize(
    ("size", "parts", "message"),
    [(10_001, 1, "at most 10000 bytes"), (30_000, 1, "connection broken"), (10, 2, "wanted 1 parts")],
)
def test_too_much_is_no_answer(server: Server, size: int, parts: int, message: str) -> None:
    with LeashClient(server.address, secret=SECRET, timeout=PATIENCE, limits=Limits(response_bytes=10_000)) as client:
        server.speak = lambda message: [b" " * size] * parts
        with pytest.raises(CallError, match=message):
            client.stat()
        server.speak = raw({"result": "stat", "data": {}})
        assert client.stat().data == {}


def test_too_much_is_not_sent(server: Server, folder: Path) -> None:
    limits = Limits(attachment_bytes=1000)
    with (
        LeashClient(server.address, secret=SECRET, timeout=PATIENCE, limits=limits) as client,
        pytest.raises(LeashError, match="wanted at most 1000 bytes in an attachment"),
    ):
        client.new(folder / "cal.json")
    assert server.messages == []


def test_client_can_be_used_after_a_timeout(server: Server) -> None:
    with LeashClient(server.address, secret=SECRET, timeout=PATIENCE) as client:
        server.speak = silence
        client.timeout = SHORT
        for _ in range(2):
            with pytest.raises(LeashTimeoutError, match=f"within {SHORT} s") as caught:
                client.stat()
            assert caught.value.result == "Timeout"
        server.speak, client.timeout = server.answer, 20
        assert client.stat().data["stat"] == STAT
        assert client.get().result == "cal"


def test_late_answer_is_not_that_to_the_next_question(server: Server) -> None:
    late = threading.Event()

    def speak(parts: list[bytes]) -> list[bytes] | None:
        late.wait(20)
        return server.answer(parts)

    server.speak = speak
    with LeashClient(server.address, secret=SECRET, timeout=SHORT) as client:
        with pytest.raises(LeashTimeoutError):
            client.plot()
        late.set()
        client.timeout = 20
        assert client.stat().result == "stat"


def test_nobody_there_is_a_timeout() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            LeashClient(address, secret=SECRET, timeout=SHORT) as client,
            pytest.raises(LeashTimeoutError, match=r"found none that listens there within 0\.2 s"),
        ):
            client.stat()


def test_server_that_speaks_another_language_is_a_timeout() -> None:
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen()
        with (
            LeashClient(f":{web.getsockname()[1]}", secret=SECRET, timeout=SHORT) as client,
            pytest.raises(LeashTimeoutError),
        ):
            client.stat()


def test_server_that_dies_with_the_question_is_noticed() -> None:
    server = Server()
    with server, LeashClient(server.address, secret=SECRET, timeout=PATIENCE) as client:

        def die(parts: list[bytes]) -> None:
            server._end.set()

        server.speak = die
        with pytest.raises(CallError, match="found the connection broken") as caught:
            client.stat()
        assert not isinstance(caught.value, LeashTimeoutError)


def test_server_may_begin_anew_between_questions() -> None:
    first = Server()
    with first, LeashClient(first.address, secret=SECRET, timeout=PATIENCE) as client:
        client.stat()
        first.stop()
        with Server(first.port) as second:
            assert client.stat().result == "stat"
            assert len(second.requests) == 1


def test_disconnecting_ends_a_call_that_waits(server: Server) -> None:
    server.speak = silence
    client = LeashClient(server.address, secret=SECRET)
    failures: list[str] = []

    def call() -> None:
        with pytest.raises(CallError) as caught:
            client.stat()
        failures.append(caught.value.result)

    thread = threading.Thread(target=call)
    thread.start()
    while not server.messages:
        thread.join(0.01)
    client.disconnect()
    thread.join()
    client.disconnect()
    assert failures == ["Disconnected"]
    with pytest.raises(CallError, match="found the client disconnected"):
        client.stat()


def test_nothing_is_left_behind(server: Server) -> None:
    def left() -> tuple[int, int]:
        return len([*Path("/proc/self/fd").iterdir()]), len([*Path("/proc/self/task").iterdir()])

    before = left()
    with LeashClient(server.address, secret=SECRET, timeout=PATIENCE) as client:
        client.stat()
        inside = left()
        for answer in (server.answer, raw(b"x"), raw({"result": "Error", "data": {"Error": "x"}}), silence):
            server.speak = answer
            client.timeout = SHORT if answer is silence else 20
            for _ in range(3):
                with suppress(CallError):
                    client.stat()
        assert left()[1] == inside[1]
    server.stop()
    assert left()[0] <= before[0]
    assert left()[1] <= before[1]


def test_client_starts_without_the_pipeline() -> None:
    code = "import sys, saxs_bluesky.cli.saxsleash; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"saxs_bluesky.leash", "zmq"} <= set(loaded)
    assert not {"bluesky", "event_model", "matplotlib", "numba", "pandas", "tiled", "xarray"} & set(loaded)


def test_secret_is_wanted_and_never_told(server: Server) -> None:
    with pytest.raises(SaxsError, match="wanted a secret"):
        LeashClient("127.0.0.1:9723")
    with LeashClient(NetworkEntry(server.address, "", "wrong"), secret=SECRET, timeout=PATIENCE) as client:
        assert client.stat().result == "stat"
        assert SECRET not in repr(client)


@pytest.mark.parametrize("address", ["host", "tcp://host", "tcp://host:0", "tcp://host:port"])
def test_address_without_port_is_none(address: str) -> None:
    with pytest.raises(SaxsError, match="wanted an address"):
        LeashClient(address, secret=SECRET)


def test_address_of_no_known_kind_is_none() -> None:
    with LeashClient("carrier://pigeon", secret=SECRET) as client, pytest.raises(SaxsError, match="carrier://pigeon"):
        client.stat()


def test_requests_that_are_none_are_not_sent(client: LeashClient, server: Server) -> None:
    with pytest.raises(LeashError, match="wanted a command of the leash, found 'dance'"):
        client.request("dance")
    with pytest.raises(LeashError, match='unknown key "x"'):
        client.request("stat", {"x": 1})
    with LeashClient(server.address, secret=SECRET, protocol=3) as other, pytest.raises(LeashError, match="found 3"):
        other.stat()
    assert server.messages == []


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not zmq.has("curve"):
        pytest.skip("0MQ without CURVE")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("server", "client", "other"):
        zmq.auth.create_certificates(folder, name)
    return folder


def test_conversation_may_be_encrypted(keys: Path) -> None:
    server = Server()
    public, secret = zmq.auth.load_certificate(keys / "server.key_secret")
    assert secret is not None
    server.socket.curve_server = True
    server.socket.curve_publickey, server.socket.curve_secretkey = public, secret
    with server:
        encryption = EncryptionKeys(keys / "server.key", keys / "client.key_secret")
        with LeashClient(server.address, secret=SECRET, encryption=encryption, timeout=PATIENCE) as client:
            assert client.stat().result == "stat"
        for wrong in (None, EncryptionKeys(keys / "other.key", keys / "client.key_secret")):
            with (
                LeashClient(server.address, secret=SECRET, encryption=wrong, timeout=SHORT) as client,
                pytest.raises(LeashTimeoutError, match="wanted a server, found one that breaks connections off"),
            ):
                client.stat()
    assert len(server.messages) == 1


def test_unusable_keys_are_named(keys: Path, server: Server) -> None:
    (keys / "empty").write_text("")
    (keys / "short").write_text('public-key = "abc"\nsecret-key = "abc"\n')
    for public, own, message in (
        ("absent", "client.key_secret", "absent: wanted a file of keys, found no file"),
        ("server.key", "empty", "empty: wanted a file of keys, found no public key in it"),
        ("server.key", "client.key", "client.key: wanted a pair of keys, found a public key alone"),
        ("server.key", "short", "wanted keys of CURVE, found others"),
    ):
        encryption = EncryptionKeys(keys / public, keys / own)
        with (
            LeashClient(server.address, secret=SECRET, encryption=encryption) as client,
            pytest.raises(SaxsError, match=message),
        ):
            client.stat()


def test_graphs_become_curves() -> None:
    first, second = graph_curves(PLOT, skip=2, clip=8)
    assert (first.title, second.title) == ("R0 (whole detector)", "slice along x at 5")
    assert (first.curve.axis_label, first.curve.axis_unit) == ("q", "1/nm")
    assert (second.curve.axis_label, second.curve.kind) == ("q_h", "slice")
    assert first.curve.axis.tolist() == GRAPH["array"][0][2:-8]  # type: ignore[index]
    assert graph_curves({}) == []


def test_curves_over_the_azimuth_and_of_others_are_named() -> None:
    azimuthal, other = graph_curves(
        {
            "graphs": [
                {"kind": "Radial", "conf": {}, "columnLabels": ["Phi Angle [rad]"], "array": [[0.0], [1.0], [1.0]]},
                {"kind": "Radial", "conf": {}, "columnLabels": [], "array": [[0], [1]]},
            ]
        }
    )
    assert (azimuthal.title, azimuthal.curve.kind, azimuthal.curve.axis_unit) == ("P0 azimuthal", "azimuthal", "rad")
    assert (other.title, other.curve.axis_label) == ("R1 radial", "")
    assert np.isnan(other.curve.sigma).all()


@pytest.mark.parametrize("array", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[], [], []]])
def test_graph_that_is_no_curve_is_refused(array: list[list[float]]) -> None:
    with pytest.raises(LeashError, match=r"graphs\[0\]: wanted"):
        graph_curves({"graphs": [{**GRAPH, "array": array}]})
