"""A ``saxsdogserver`` in a process of its own, and clients that speak to it as deployed ones do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from saxs_bluesky.leash import Attachment, Command, Response, compose, read_reply
from saxs_bluesky.reduction import write_frame
from tests.helpers.frame_files import HEADER
from tests.helpers.hostile import CALIBRATION, npy
from tests.helpers.leash_validation import SECRET
from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE, until

CAL: dict[str, Any] = CALIBRATION
MASK = Attachment.from_bytes("mask.npy", npy())
NEW: dict[str, Any] = {"calibration": CAL, "data": {}}


class Client:
    """A REQ socket; where a request is lost, so is the client."""

    def __init__(self, address: str, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> None:
        self._own = context is None
        self.context = context or zmq.Context()
        self.socket = self.context.socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.rcvtimeo = self.socket.sndtimeo = int(PATIENCE * 1000)
        self.address = address

    def connect(self) -> Client:
        self.socket.connect(self.address)
        return self

    def exchange(self, parts: list[bytes]) -> list[bytes]:
        self.socket.send_multipart(parts)
        return self.socket.recv_multipart()

    def raw(self, command: Command, argument: Any = None, *files: Attachment, **options: Any) -> dict[str, Any]:
        """The answer as it travels in protocol 1."""
        (body,) = self.exchange(compose(command, argument or {}, files, secret=SECRET, **options))
        answer: dict[str, Any] = json.loads(body)
        return answer

    def ask(self, command: Command, argument: Any = None, *files: Attachment, **options: Any) -> Response:
        parts = compose(command, argument or {}, files, secret=SECRET, **options)
        return read_reply(self.exchange(parts), parts, SECRET)

    def stat(self) -> Any:
        return self.ask(Command.STAT).data["stat"]

    def close(self) -> None:
        self.socket.close(linger=0)
        if self._own:
            self.context.destroy(linger=0)


@contextmanager
def connected(address: str) -> Iterator[Client]:
    client = Client(address)
    try:
        yield client.connect()
    finally:
        client.close()


@dataclass
class Server:
    """The command at work; started again with the same options after it was killed."""

    folder: Path
    options: tuple[str, ...] = ("-w",)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = self.port or free_port()
        self.base.mkdir(exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self.network.write_text(json.dumps([{"Server": self.address, "Feeder": "", "Secret": SECRET, "Name": "t"}]))
        self.network.chmod(0o600)

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def data(self) -> Path:
        """The folder of the queue."""
        return self.base.joinpath(*CAL["Directory"])

    @property
    def network(self) -> Path:
        return self.folder / "network.json"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog"

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def arguments(self) -> list[str]:
        places = ["--network", str(self.network), "--state", str(self.state)]
        return [*places, "-t", "1", *self.options, str(self.base)]

    @property
    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> Server:
        """Start, and wait until it serves: what was signed before the first start is refused."""
        times = self.log.count("serving") + 1
        code = "import sys; from saxs_bluesky.cli.saxsdogserver import main; sys.exit(main())"
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *self.arguments], stdout=log, stderr=subprocess.STDOUT
            )
        self.until(lambda: self.log.count("serving") >= times)
        return self

    def client(self) -> AbstractContextManager[Client]:
        return connected(self.address)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def until(self, condition: Callable[[], Any]) -> None:
        def alive_and_met() -> bool:
            met = bool(condition())
            assert met or self.process is None or self.process.poll() is None, self.log[-3000:]
            return met

        until(alive_and_met, lambda: self.log[-3000:])

    # Images and curves

    def add(self, name: str, seed: int = 0) -> Path:
        """Write an image as a detector does that renames it when it is whole."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        write_frame(part, np.random.default_rng(seed).poisson(20, (60, 80)), HEADER)
        part.rename(path)
        return path

    def chi(self, image: Path, curve: str = "") -> Path:
        return Path(os.path.normpath(image.parent / ".." / "work" / f"{image.stem}{curve}.chi"))

    def listed(self) -> list[str]:
        """Curves in the list of the queue, without their numbers."""
        path = self.data.parent / "results" / f"filelist_{self.data.name}.log"
        return (
            [line.split(", ")[0].removeprefix("/") for line in path.read_text().splitlines()] if path.exists() else []
        )
