"""What a source says, heard in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from event_model import DocumentNames, schema_validators

from saxs_bluesky.sources import FileSource
from tests.helpers.waiting import PATIENCE


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
