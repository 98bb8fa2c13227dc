"""Real measurements into real catalogs, and what was logged during them, worked out the slow way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bluesky import RunEngine

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.reduction import Calibration
from tests.helpers.waiting import PATIENCE

NamedDocument = tuple[str, dict[str, Any]]


@dataclass(eq=False)
class Measurement:
    """A RunEngine whose runs go into a catalog, raw and reduced."""

    engine: RunEngine
    reduction: Reduction
    writer: CatalogWriter
    documents: list[NamedDocument] = field(default_factory=list)

    def __call__(self, plan: Any) -> str:
        """Run a plan; return the uid of its run when all of it is in the catalog."""
        (uid,) = self.engine(plan)
        assert self.reduction.wait(PATIENCE)
        assert self.writer.wait(PATIENCE)
        return str(uid)

    def entries(self, key: str) -> list[tuple[float, Any]]:
        """Timestamps and values of a monitored signal, beginning with what it was when the monitor began."""
        found = []
        streams = {doc["uid"]: doc for name, doc in self.documents if name == "descriptor"}
        for name, doc in self.documents:
            if name == "descriptor" and doc["name"] == f"{key}_monitor":
                told = doc["configuration"][key]
                found.append((told["timestamps"][key], told["data"][key]))
            if name == "event" and streams[doc["descriptor"]]["name"] == f"{key}_monitor":
                found.append((doc["timestamps"][key], doc["data"][key]))
        return found


@contextmanager
def measuring(catalog: Any, calibration: Calibration | dict[str, Calibration], **options: Any) -> Iterator[Measurement]:
    """A RunEngine, the reduction of its runs, and the writer to the catalog."""
    writer = CatalogWriter(catalog)
    reduction = Reduction(calibration, [writer], **options)
    found = Measurement(RunEngine({}, call_returns_result=False), reduction, writer)
    engine = found.engine
    engine.subscribe(writer)
    engine.subscribe(reduction)
    engine.subscribe(lambda name, doc: found.documents.append((name, doc)))
    try:
        yield found
    finally:
        reduction.close()
        writer.close()
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join()
        engine.loop.close()


def held_mean(entries: list[tuple[float, float]], start: float, end: float) -> float:
    """Mean from start to end of a value that holds until the next one is sent; NaN before the first."""
    if start < entries[0][0]:
        return math.nan
    area = 0.0
    for index, (time, value) in enumerate(entries):
        until = entries[index + 1][0] if index + 1 < len(entries) else math.inf
        area += value * max(0.0, min(end, until) - max(start, time))
    return area / (end - start)


def previous(entries: list[tuple[float, Any]], when: float) -> Any:
    """The value that held at a time."""
    return [value for time, value in entries if time <= when][-1]
