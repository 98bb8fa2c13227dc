"""Raw runs of a catalog reduced again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlparse

from saxs_bluesky.catalog._runs import reduced_runs
from saxs_bluesky.documents import difference, reduced_documents
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.reduction import Calibration, Integrator, Reducer

_log = logging.getLogger(__name__)


def reduce_run(
    catalog: Any,
    uid: str,
    calibration: Calibration | Mapping[str, Calibration],
    *,
    recipes: Sequence[Integrator] = (),
    deviation: bool = False,
) -> list[Any]:
    """Reduce a raw run of the catalog again, into new reduced runs: one for each detector.

    Parameters
    ----------
    catalog
        Where the raw run is, and where the reduced ones go.
    uid
        Of the raw run.
    calibration
        For the images of any detector, or for each by name.
    recipes
        Further integrators.
    deviation
        Whether curves carry the standard deviation of the pixels too.

    Returns
    -------
    The new runs. Where the detector's images were reduced before, ``provenance["differs_from"]`` tells
    the ``uid`` of the last reduced run, and ``differences``: a list of what has changed since, each
    with its ``path`` in the provenance and the values ``before`` and ``now``.

    Raises
    ------
    CatalogError
        There is no such run, or it is a reduced run itself.
    """
    from bluesky_tiled_plugins import TiledWriter

    try:
        raw = catalog[uid]
    except KeyError as error:
        raise CatalogError(f"wanted run {uid}, found none of that uid in the catalog") from error
    if "original_run_uid" in raw.start:
        raise CatalogError(f"run {uid}: wanted a raw run, found one reduced from {raw.start['original_run_uid']}")
    by_name = calibration if isinstance(calibration, Mapping) else {"": calibration}
    reducers = {name: Reducer(one, recipes=recipes, deviation=deviation) for name, one in by_name.items()}
    for reducer in reducers.values():
        for remark in reducer.remarks:
            _log.warning("%s", remark)
    before = {run.start["detector"]: run.start for run in reduced_runs(catalog, raw.start["uid"])}
    writer = TiledWriter(catalog)
    uids = []
    whole = reducers if isinstance(calibration, Mapping) else reducers[""]
    for name, doc in reduced_documents(_with_files(raw), whole):
        if name == "start":
            uids.append(doc["uid"])
            if doc["detector"] in before:
                doc["provenance"]["differs_from"] = difference(before[doc["detector"]], doc)
        writer(name, doc)
    return [catalog[new] for new in uids]


def _with_files(raw: Any) -> Iterator[tuple[str, Any]]:
    """Documents of a run, with the names of its TIFF files: the exporter gives the first one only."""
    for name, doc in raw.documents():
        if name == "stream_resource" and "type=image/tiff" in doc["mimetype"] and "template" not in doc["parameters"]:
            nodes = [stream.base for stream in raw.base.values()]
            sources = [
                source for node in nodes if doc["data_key"] in node for source in _sources(node, doc["data_key"])
            ]
            assets = [asset for source in sources for asset in source.assets if _holds(source, doc["uri"])]
            files = [unquote(urlparse(asset.data_uri).path) for asset in sorted(assets, key=lambda asset: asset.num)]
            doc = doc | {"parameters": doc["parameters"] | {"files": files}}  # noqa: PLW2901
        yield name, doc


def _sources(node: Any, key: str) -> list[Any]:
    return list(node[key].include_data_sources().data_sources() or [])


def _holds(source: Any, uri: str) -> bool:
    return any(asset.data_uri == uri for asset in source.assets)
