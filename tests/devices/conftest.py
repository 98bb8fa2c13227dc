"""A RunEngine, its documents, and a soft IOC of a Pilatus for whoever needs a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from area_detector_handlers.handlers import AreaDetectorHDF5Handler, AreaDetectorTiffHandler
from bluesky import RunEngine
from event_model import DocumentNames, Filler, schema_validators, unpack_event_page

from tests.helpers.pilatus_process import PilatusIOC, running_ioc

HANDLERS = {"AD_TIFF": AreaDetectorTiffHandler, "AD_HDF5": AreaDetectorHDF5Handler}


@dataclass(eq=False)
class Documents:
    """Documents of runs, each checked against its schema when it comes; pages are taken apart."""

    all: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        schema_validators[DocumentNames[name]].validate(document)
        if name == "event_page":
            self.all += [("event", event) for event in unpack_event_page(document)]
        else:
            self.all.append((name, document))

    def of(self, kind: str, stream: str | None = None) -> list[dict[str, Any]]:
        """Documents of a kind; of events, those of a stream."""
        found = [document for name, document in self.all if name == kind]
        if stream is not None:
            descriptors = {each["uid"] for each in self.of("descriptor") if each["name"] == stream}
            found = [document for document in found if document["descriptor"] in descriptors]
        return found

    def images(self, key: str = "pilatus_image") -> list[np.ndarray]:
        """Images of all events that have some, as the handlers of area-detector-handlers read them."""
        with Filler(HANDLERS, inplace=False) as filler:
            filled = [filler(name, document) for name, document in self.all]
            return [
                np.asarray(event["data"][key]) for name, event in filled if name == "event" and key in event["data"]
            ]


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def run_engine(documents: Documents) -> Iterator[RunEngine]:
    """A RunEngine whose thread ends with the test; its documents go to `documents`."""
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop, call_returns_result=False)
    engine.subscribe(documents)
    yield engine
    if engine.state not in ("idle", "panicked"):
        engine.halt()
    loop.call_soon_threadsafe(loop.stop)
    engine._th.join()
    loop.close()


@pytest.fixture(scope="session")
def pilatus_ioc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PilatusIOC]:
    with running_ioc(tmp_path_factory.mktemp("pilatus_ioc")) as ioc:
        yield ioc
