"""Runs for the tests of catalogs."""

from __future__ import annotations

from typing import Any

from bluesky_tiled_plugins import TiledWriter

from saxs_bluesky.documents import FrameTask, ReducedRun
from saxs_bluesky.reduction import Reducer

STAGE = {"stage_x": {"dtype": "number", "shape": [], "source": "SIM:x", "units": "mm"}}


def reduced(reducer: Reducer, frames: list[Any], raw_uid: str, **metadata: Any) -> list[Any]:
    """Documents of a reduced run without its stop; a frame that is None failed."""
    run = ReducedRun({"uid": raw_uid, "time": 1.7e9, "scan_id": 7, "sample": "water"} | metadata, "pilatus", reducer)
    documents = [run.start, *run.describe("primary", STAGE)]
    for index, frame in enumerate(frames):
        task = FrameTask("pilatus", "primary", index, 1.7e9 + index, None, coordinates={"stage_x": 0.1 * index})
        curves = None if frame is None else reducer.reduce(frame)
        documents.append(run.event(task, curves, "" if curves else "no such file"))
    return [*documents, run.stop({"exit_status": "success"})]


def write(catalog: Any, documents: list[Any]) -> Any:
    writer = TiledWriter(catalog, batch_size=2)
    for name, doc in documents:
        writer(name, doc)
    return catalog[documents[0][1]["uid"]]
