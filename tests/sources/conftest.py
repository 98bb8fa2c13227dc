"""Small frames, and what a source says of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from saxs_bluesky.reduction import PilatusHeader, write_frame
from saxs_bluesky.sources import FileSource
from tests.helpers.waiting import PATIENCE

HEADER = PilatusHeader(
    date_time="2014:01:31 12:26:52",
    model="PILATUS3 1M, S/N 10-0120",
    entries={"Exposure_time": "2.5 s", "Exposure_period": "3.0 s", "Wavelength": "1.54 A"},
)


class Listening(threading.Thread):
    """Takes the documents of a source in a thread of its own, and checks each against event-model's schemas."""

    def __init__(self, source: FileSource, has_room: Callable[[], bool] = lambda: True) -> None:
        super().__init__(daemon=True)
        self.source = source
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self.error: BaseException | None = None
        self._has_room = has_room
        self.start()

    def run(self) -> None:
        try:
            for name, doc in self.source.documents(self._has_room):
                schema_validators[DocumentNames[name]].validate(doc)
                self.documents.append((name, doc))
        except BaseException as error:  # noqa: BLE001 - the test thread raises it
            self.error = error

    @property
    def events(self) -> list[dict[str, Any]]:
        return [doc["data"] for name, doc in self.documents if name == "event"]

    @property
    def names(self) -> list[str]:
        return [Path(data["image_path"]).name for data in self.events]

    def until(self, condition: Callable[[Listening], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition(self) and self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.error is None
        assert condition(self), self.names

    def until_events(self, number: int) -> None:
        self.until(lambda self: len(self.events) >= number)

    def end(self, *, drain: bool = False) -> None:
        self.source.stop(drain=drain)
        self.wait()

    def wait(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive()
        assert self.error is None


Listen = Callable[..., Listening]


@pytest.fixture
def listen() -> Iterator[Listen]:
    listening: list[Listening] = []

    def begin(*arguments: Any) -> Listening:
        listening.append(Listening(*arguments))
        return listening[-1]

    yield begin
    for one in listening:
        one.source.stop()
        one.join(PATIENCE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write(path: Path, value: int = 1, shape: tuple[int, int] = (6, 8)) -> Path:
    """Write an image of one value, under its name at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, np.full(shape, value), HEADER)
    return path


def content(value: int = 1, shape: tuple[int, int] = (6, 8)) -> bytes:
    """The bytes of such a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        return write(Path(scratch, "a.tif"), value, shape).read_bytes()
