"""Runs for the tests of catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from bluesky_tiled_plugins import TiledWriter
from event_model import compose_run

from saxs_bluesky.documents import FrameTask, ReducedRunComposer
from saxs_bluesky.reduction import Reducer

STAGE = {"stage_x": {"dtype": "number", "shape": [], "source": "SIM:x", "units": "mm"}}


def reduced(reducer: Reducer, frames: list[Any], raw_uid: str, **metadata: Any) -> list[Any]:
    """Documents of a reduced run without its stop; a frame that is None failed."""
    run = ReducedRunComposer(
        {"uid": raw_uid, "time": 1.7e9, "scan_id": 7, "sample": "water"} | metadata, "pilatus", reducer
    )
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


def raw_documents(folder: Path, frames: list[Any], **metadata: Any) -> list[tuple[str, Any]]:
    """A raw run of TIFF images, with a motor that counts."""
    folder.mkdir(parents=True, exist_ok=True)
    run = compose_run(metadata=metadata)
    image = {"dtype": "array", "shape": [1, 60, 80], "dtype_numpy": "<i4", "source": "SIM", "external": "FILESTORE:"}
    keys = {"pilatus_image": image, "motor": {"dtype": "integer", "shape": [], "source": "SIM"}}
    bundle = run.compose_descriptor(name="primary", data_keys=keys, object_keys={"pilatus": ["pilatus_image"]})
    resource = run.compose_resource(
        spec="AD_TIFF",
        root="/",
        resource_path=str(folder).lstrip("/") + "/",
        resource_kwargs={"template": "%s%s_%05d.tif", "filename": "frame", "frame_per_point": 1},
    )
    documents: list[tuple[str, Any]] = [("start", run.start_doc), ("descriptor", bundle.descriptor_doc)]
    documents.append(("resource", resource.resource_doc))
    for index, frame in enumerate(frames):
        tifffile.imwrite(folder / f"frame_{index:05d}.tif", frame.astype(np.int32))
        datum = resource.compose_datum(datum_kwargs={"point_number": index})
        stamps = {"pilatus_image": 1.0, "motor": 1.0}
        event = bundle.compose_event(data={"pilatus_image": datum["datum_id"], "motor": index}, timestamps=stamps)
        event["filled"] = {"pilatus_image": False}
        documents += [("datum", datum), ("event", event)]
    return [*documents, ("stop", run.compose_stop())]
