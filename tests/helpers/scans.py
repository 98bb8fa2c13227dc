"""A raw run, and what the catalog must hold of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from event_model import compose_run

from saxs_bluesky.callbacks import CatalogWriter

POINTS = 400
COUNT = 60

NamedDocument = tuple[str, dict[str, Any]]


class Scan:
    """A raw run with a number, a whole number, a text and a curve in each event."""

    def __init__(self, count: int = COUNT) -> None:
        self.run = compose_run(metadata={"scan_id": 7})
        self.uid = self.run.start_doc["uid"]
        keys = {
            "x": {"dtype": "number", "shape": [], "source": "SIM"},
            "n": {"dtype": "integer", "shape": [], "source": "SIM"},
            "text": {"dtype": "string", "shape": [], "source": "SIM"},
            "curve": {"dtype": "array", "shape": [POINTS], "source": "SIM", "dtype_numpy": "<f8"},
        }
        self._bundle = self.run.compose_descriptor(name="primary", data_keys=keys)
        self.made: list[NamedDocument] = []
        self.curves = np.random.default_rng(count).random((count, POINTS))

    def begin(self) -> list[NamedDocument]:
        return [("start", self.run.start_doc), ("descriptor", self._bundle.descriptor_doc)]

    def event(self, index: int, **data: Any) -> NamedDocument:
        values = {"x": index / 8, "n": index, "text": f"point {index}", "curve": self.curves[index]} | data
        self.made.append(("event", self._bundle.compose_event(data=values, timestamps=dict.fromkeys(values, 1.5))))
        return self.made[-1]

    def events(self, *numbers: int) -> list[NamedDocument]:
        return [self.event(index) for index in range(*numbers)]

    def stop(self) -> NamedDocument:
        return "stop", self.run.compose_stop()

    def assert_whole(self, catalog: Any, count: int = COUNT) -> None:
        stream = catalog[self.uid].base["primary"].base
        table = stream["internal"].read()
        assert table["seq_num"].tolist() == list(range(1, count + 1))
        assert table["x"].tolist() == [index / 8 for index in range(count)]
        assert table["n"].tolist() == list(range(count))
        assert table["text"].tolist() == [f"point {index}" for index in range(count)]
        np.testing.assert_array_equal(stream["curve"].read(), self.curves[:count])
        assert catalog[self.uid].metadata["stop"]["num_events"] == {"primary": count}


def feed(writer: CatalogWriter, *documents: NamedDocument) -> None:
    for name, doc in documents:
        writer(name, doc)
