"""Raw runs of a catalog reduced again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlparse

from saxs_bluesky.catalog._reduced_writing import ReducedWriting
from saxs_bluesky.catalog._root_map import RootMap, root_map_of
from saxs_bluesky.catalog._runs import is_ours, raw_run, reduced_runs
from saxs_bluesky.documents import FILE_SOURCE, difference
from saxs_bluesky.frame_job import reduced_documents, warn
from saxs_bluesky.reduction import Calibration, Integrator, Reducer
from saxs_bluesky.support.former_names import former_argument

_log = logging.getLogger(__name__)


@former_argument("recipes", "extra_integrators")
def reduce_run(
    catalog: Any,
    uid: str,
    calibration: Calibration | Mapping[str, Calibration],
    *,
    extra_integrators: Sequence[Integrator] = (),
    deviation: bool = False,
) -> list[Any]:
    """Reduce a raw run of the catalog again, into new reduced runs: one for each detector.

    A raw run that has not stopped, since it goes on or its session died, is reduced as far as it is there, and the
    reduced run says so (``exit_status`` "abort").

    Parameters
    ----------
    catalog
        Where the raw run is, and where the reduced ones go.
    uid
        Of the raw run.
    calibration
        For the images of any detector, or for each by name.
    extra_integrators
        Further integrators.
    deviation
        Whether curves carry the standard deviation of the pixels too.

    Returns
    -------
    The new runs; none, and a warning, where the run has no images. Where the detector's images were reduced before,
    ``provenance["differs_from"]`` tells the ``uid`` of the last reduced run, and ``differences``: a list of what has
    changed since, each with its ``path`` in the provenance and the values ``before`` and ``now``. A run in which every
    frame failed has ``exit_status`` "fail".

    Raises
    ------
    CatalogError
        There is no such run, or it is a reduced run itself.
    """
    raw = raw_run(catalog, uid)
    by_name = calibration if isinstance(calibration, Mapping) else {"": calibration}
    reducers = {
        name: Reducer(one, extra_integrators=extra_integrators, deviation=deviation) for name, one in by_name.items()
    }
    for reducer in reducers.values():
        warn(reducer.remarks)
    starts = [run.start for run in reduced_runs(catalog, raw.start["uid"])]
    before = {start["detector"]: start for start in starts if is_ours(start)}
    whole = reducers if isinstance(calibration, Mapping) else reducers[""]
    with ReducedWriting(catalog) as writing:
        for name, doc in reduced_documents(_documents(raw, root_map_of(catalog)), whole):
            if name == "start" and doc["detector"] in before:
                doc["provenance"]["differs_from"] = difference(before[doc["detector"]], doc)
            writing(name, doc)
    if not writing.uids:
        wanted = f"of {', '.join(by_name)}" if isinstance(calibration, Mapping) else "of any detector"
        _log.warning("run %s: no images %s in it, so no run was made", raw.start["uid"], wanted)
    return [catalog[new] for new in writing.uids]


def _documents(raw: Any, root_map: RootMap) -> Iterator[tuple[str, Any]]:
    """Documents of a run, with the names of its TIFF files: the exporter gives the first one only."""
    paths: dict[str, list[str]] = {}  # data keys whose values are paths, by descriptor
    for name, doc in raw.documents():
        if name == "stop" and not doc:
            continue  # what the exporter gives for a run that has none
        if name == "descriptor":
            paths[doc["uid"]] = [key for key, entry in doc["data_keys"].items() if entry["source"] == FILE_SOURCE]
        if name == "event" and root_map.folders and (keys := paths.get(doc["descriptor"])):
            moved = {key: root_map.path(doc["data"][key]) for key in keys if key in doc["data"]}
            doc = doc | {"data": doc["data"] | moved}  # noqa: PLW2901
        if name == "stream_resource":
            doc = _with_files(raw, doc if root_map.is_served else root_map.document(name, doc), root_map)  # noqa: PLW2901
        yield name, doc


def _with_files(raw: Any, doc: dict[str, Any], root_map: RootMap) -> dict[str, Any]:
    if "type=image/tiff" not in doc["mimetype"] or "template" in doc["parameters"]:
        return doc
    nodes = [getattr(stream, "base", stream) for stream in raw.base.values()]
    sources = [source for node in nodes if doc["data_key"] in node for source in _sources(node, doc["data_key"])]
    files: list[str] = []
    for source in map(root_map.source, sources):
        if any(asset.data_uri == doc["uri"] for asset in source.assets):
            assets = sorted(source.assets, key=lambda asset: asset.num or 0)
            files += [unquote(urlparse(asset.data_uri).path) for asset in assets]
    return doc | {"parameters": doc["parameters"] | {"files": files}}


def _sources(node: Any, key: str) -> list[Any]:
    return list(node[key].include_data_sources().data_sources() or [])
