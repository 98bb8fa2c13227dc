"""A server on a real socket: the project's request validator, answers that a test may choose, messages that came."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from saxs_bluesky.leash import COMMANDS, Command, LeashError
from saxs_bluesky.leash.server import Request, RequestValidator
from tests.helpers.leash_validation import NOW, SECRET

STAT = {"queue length": 3, "images processed": 4, "time": NOW, "start time": NOW - 60, "mergecount": 0}
Q = [0.05 * number for number in range(1, 81)]
I0 = [1000.0 / (1 + (2 * q) ** 4) for q in Q]
GRAPH = {
    "kind": "Radial",
    "conf": {"Name": "whole detector"},
    "columnLabels": ["Scattering Vector  q [$nm^{-1}$]", "Intensity (Count/Pixel)", "Error Margin"],
    "array": [Q, [float("nan"), *I0[1:]], [i**0.5 for i in I0]],
}
SLICE = {
    "kind": "Slice",
    "conf": {"Direction": "x", "CutPosition": 5},
    "columnLabels": ["horizontal scattering vector  $ q_{h} [nm^{-1}]$", "Intensity (Count/Pixel)", "Error Margin"],
    "array": [[q - 2 for q in Q], I0, [0.1 * i for i in I0]],
}
PLOT = {
    "filename": "user/2014/frame_00012.tif",
    "graphs": [GRAPH, SLICE],
    "stat": STAT,
    "history": [NOW - 1, NOW],
    "IntegralParameters": {
        "R0": {"time": [NOW - 1, NOW], "file": ["a.tif", "b.tif"], "I0": [1.5, 2.5], "I1": [2, 3], "I2": [3, 4]}
    },
}
DATA: dict[Command, dict[str, Any]] = {
    Command.CLOSE: {"stat": STAT},
    Command.ABORT: {"stat": STAT},
    Command.READDIR: {"stat": STAT},
    Command.STAT: {"stat": STAT},
    Command.GET: {"cal": {"Wavelength": 1.54, "Directory": ["user", "2014"]}, "attachments": []},
    Command.PLOT: PLOT,
    Command.LISTDIR: {"dircontent": [{"isdir": True, "path": "user"}, {"isdir": False, "path": "a\x1b[2J\u00e9.tif"}]},
    Command.FILESLIST: {"fileslist": {"Radial0": ["work/a.chi", "work/b.chi"], "Slice1": ["work/a_cS1.chi"]}},
    Command.MERGEDATA: {},
    Command.MERGESTAT: {"mergeinfo": "read 3 logs\nno shutter\n"},
    Command.GETMERGEDATA: {"syncplot": {"CalculatedTimeshift": "1.5"}, "fileslist": {"csv": ["merged.csv"]}},
}  # fmt: skip
Answer = Callable[[list[bytes]], list[bytes] | None]


class Server:
    """Answers requests in a thread until the end of its block.

    ``speak`` may be set to a function of a message's parts; None for an answer is silence.
    """

    def __init__(self, port: int | None = None) -> None:
        self.validator = RequestValidator(SECRET)
        self.messages: list[list[bytes]] = []
        self.requests: list[Request] = []
        self.speak: Answer = self.answer
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # One that may be silent, which REP may not.
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self._wanted_port = port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="server of a test")

    def __enter__(self) -> Self:
        self.socket.bind(f"tcp://127.0.0.1:{self._wanted_port or '*'}")
        self.address = self.socket.last_endpoint.decode()
        self.port = int(self.address.rpartition(":")[2])
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def answer(self, parts: list[bytes]) -> list[bytes] | None:
        try:
            request = self.validator.validate(parts)
        except LeashError as error:
            return self.validator.error_reply(error)
        self.requests.append(request)
        if request.command is Command.NEW:
            return self.validator.reply(request, "new queue", {"cal": request.argument["calibration"]})
        return self.validator.reply(request, COMMANDS[request.command].result, DATA[request.command])

    def _serve(self) -> None:
        while not self._end.is_set():
            if not self.socket.poll(10):
                continue
            peer, empty, *parts = self.socket.recv_multipart()
            assert empty == b""
            self.messages.append(parts)
            answer = self.speak(parts)
            if answer is not None:
                self.socket.send_multipart([peer, b"", *answer])
        self.socket.close()
        self._context.term()


def raw(document: Any) -> Answer:
    """Always the same answer, from a server without request validator."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda parts: [body]


def silence(parts: list[bytes]) -> None:
    """No answer."""


def assert_signed(parts: list[bytes]) -> None:
    """Verify a signature in the way that the protocol's description says it is made."""
    request = json.loads(parts[0])
    text = json.dumps({**request, "sign": ""}, sort_keys=True).encode()
    if "protocol" not in request:
        assert set(request) == {"command", "argument", "time", "sign"}
        assert request["sign"] == hashlib.sha512(text + SECRET.encode()).hexdigest()
        return
    wanted = hmac.new(SECRET.encode(), b"saxs-bluesky leash 2 request\0" + text, hashlib.sha256).hexdigest()
    assert request["sign"] == wanted
    assert request["attachments"] == [hashlib.sha256(part).hexdigest() for part in parts[1:]]
