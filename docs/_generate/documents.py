"""Keys of the documents, from a raw run of files, its reduced run and a merged run that the product itself composes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from saxs_bluesky.callbacks import LiveMerge, Reduction
from saxs_bluesky.documents import KEY_DESCRIPTIONS
from saxs_bluesky.frame_job import CurveFiles
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.simulation import SilverBehenate, SimulatedPilatus, simulated_calibration, write_simulated_frame
from saxs_bluesky.sources import DirectorySource, describe_session

Documents = Mapping[str, Mapping[str, Any]]

RUNS = ("raw run", "reduced run", "merged run")

_THERMOMETER = "thermometer_temperature"


@dataclass(frozen=True)
class DocumentKey:
    """One key of a document, or one data key of a stream.

    Parameters
    ----------
    name
        The key; ``<curve>`` stands for the name of a curve, ``<axis>`` for that of its axis, ``<quantity>`` for that of
        a logged quantity.
    type
        What a value looks like: of a data key its dtype.
    unit
        Unit of a number; empty where there is none.
    dims
        Names of the dimensions of an array; empty of other values.
    source
        Of a data key, where the value comes from.
    description
        What it means; empty where nobody wrote it down.
    """

    name: str
    type: str
    unit: str
    dims: str
    source: str
    description: str


@cache
def composed() -> Mapping[str, Documents]:
    """Documents by run and kind: those of an image file, of its reduction, and of both with a monitored thermometer."""
    raw: dict[str, Mapping[str, Any]] = {}
    reduced: dict[str, Mapping[str, Any]] = {}
    merged: dict[str, Mapping[str, Any]] = {}
    with TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        calibration = Calibration.from_dict(simulated_calibration("100K"))
        pilatus = SimulatedPilatus(calibration.geometry)
        rate = pilatus.rate(SilverBehenate())
        write_simulated_frame(images / "behenate_00000.tif", pilatus, rate, 1.0, np.random.default_rng(1))
        live = LiveMerge(sinks=[merged.__setitem__])
        reduction = Reduction(calibration, sinks=[reduced.__setitem__, live], files=CurveFiles(), deviation=True)
        source = DirectorySource(
            images, metadata=describe_session("folder", images, str(calibration.document["Title"]))
        )
        for name, doc in source.documents():
            raw[name] = doc
            scanned = dict(doc, scan_id=1) if name == "start" else doc
            live(name, scanned)
            reduction(name, scanned)
            if name == "start":
                live("descriptor", _monitored(scanned["uid"], scanned["time"]))
        reduction.close()
        live.close()
    return {"raw run": raw, "reduced run": reduced, "merged run": merged}


def _monitored(run: str, since: float) -> dict[str, Any]:
    """Descriptor of a thermometer that the RunEngine monitors, and that has not changed since."""
    keys = {_THERMOMETER: {"dtype": "number", "shape": [], "source": "SIM:thermometer_temperature", "units": "degC"}}
    told = {"data": {_THERMOMETER: 25.0}, "timestamps": {_THERMOMETER: 0.0}, "data_keys": keys}
    return {
        "uid": "thermometer",
        "run_start": run,
        "time": since,
        "name": f"{_THERMOMETER}_monitor",
        "data_keys": keys,
        "object_keys": {_THERMOMETER: [_THERMOMETER]},
        "configuration": {_THERMOMETER: told},
    }


def document_keys(run: str, part: str) -> tuple[DocumentKey, ...]:
    """Keys of a part of the run's documents.

    Parameters
    ----------
    run
        One of `RUNS`.
    part
        ``start``, ``provenance`` (a key of start), ``event`` (the data keys), ``configuration`` (constant data keys),
        or ``stop``.
    """
    described = KEY_DESCRIPTIONS[run].get(part, {})
    documents = composed()[run]
    if part == "event":
        found = _data_keys(documents["descriptor"]["data_keys"], described)
    elif part == "configuration":
        found = (
            key
            for entry in documents["descriptor"]["configuration"].values()
            for key in _data_keys(entry["data_keys"], described)
        )
    else:
        document = documents["start"]["provenance"] if part == "provenance" else documents[part]
        found = (DocumentKey(key, _type(value), "", "", "", described.get(key, "")) for key, value in document.items())
    once: dict[str, DocumentKey] = {}
    for key in found:
        before = once.get(key.name)
        units = before.unit.split(", ") if before else []
        if key.unit not in units:
            units.append(key.unit)
        once[key.name] = replace(key, unit=", ".join(filter(None, units)))
    return tuple(once.values())


def parts(run: str) -> tuple[str, ...]:
    """Parts of the documents of a run that there is something to tell of."""
    documents = composed()[run]
    provenance = ("provenance",) if "provenance" in documents["start"] else ()
    configuration = ("configuration",) if documents["descriptor"].get("configuration") else ()
    filled = tuple(entry for entry in configuration if document_keys(run, entry))
    return ("start", *provenance, *filled, "event", "stop")


def _data_keys(keys: Documents, described: Mapping[str, str]) -> Iterator[DocumentKey]:
    for key, entry in keys.items():
        name = _general(key, entry)
        dims = ", ".join(_general(dim, {"dtype": "array", "dims": [dim]}) for dim in entry.get("dims", ()))
        yield DocumentKey(
            name,
            str(entry["dtype"]),
            str(entry.get("units", "")),
            dims,
            str(entry["source"]),
            described.get(name, ""),
        )


def _general(key: str, entry: Mapping[str, Any]) -> str:
    """The key without the name of this curve or quantity, and an axis without its own name."""
    if key == next(iter(entry.get("dims", ())), ""):
        return "<curve>_<axis>"
    if key == _THERMOMETER:
        return "<quantity>"
    curve, _, rest = key.partition("_")
    return f"<curve>_{rest}" if curve[1:].isdigit() else key


def _type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", tuple: "array"}
    return next((word for kind, word in kinds.items() if isinstance(value, kind)), "object")
