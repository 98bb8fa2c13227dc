"""The catalog: Bluesky runs in a folder of one's own or behind a Tiled server, and curves read back from them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from saxs_bluesky.documents import difference, reduced_documents
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.reduction import Calibration, Integrator, Reducer

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)

_SPEC = {"name": "CatalogOfBlueskyRuns", "version": "3.0"}
_ANSWER_TIMEOUT = 10.0  # seconds until a server that says nothing counts as away

_embedded: dict[Path, Any] = {}
_lock = threading.RLock()


def open_catalog(where: str | Path, *, readable: Sequence[str | Path] = ("/",)) -> Any:
    """Open a catalog of Bluesky runs; databroker's ways of asking it work: ``catalog[-1]``, ``catalog.v1[-1].table()``.

    A folder holds an embedded Tiled catalog (SQLite, and one folder of arrays), made on first use, which takes some
    seconds. Opened twice in one process, a folder has one server. Several processes may read and write one folder:
    SQLite makes them wait for each other. Where many write at once, or over NFS, use a Tiled server.

    Parameters
    ----------
    where
        A folder, or the URI of a Tiled catalog (``http://host:8000/api/v1``); the key for it is taken from
        ``TILED_API_KEY``.
    readable
        Folders from which an embedded catalog hands out the files that raw runs refer to. All by default: it serves
        the user who opened it, who could read them anyway.

    Returns
    -------
    A ``bluesky_tiled_plugins.CatalogOfBlueskyRuns``.

    Raises
    ------
    CatalogError
        The folder cannot be written, the server does not answer, or what it serves is no catalog of Bluesky runs.
    """
    if isinstance(where, str) and "://" in where:
        return _from_server(where)
    folder = Path(where).expanduser().resolve()
    with _lock:
        if folder not in _embedded:
            _embedded[folder] = _from_folder(folder, readable)
        return _embedded[folder]


def close_catalog(where: str | Path) -> None:
    """Close the embedded catalog of a folder, with its threads and database connections; a closed one stays closed."""
    with _lock:
        catalog = _embedded.pop(Path(where).expanduser().resolve(), None)
        if catalog is not None:
            catalog.context.close()


def reduced_runs(catalog: Any, raw_uid: str) -> list[Any]:
    """Find the runs that were reduced from a raw run, oldest first."""
    from tiled.queries import Key

    runs = catalog.search(Key("original_run_uid") == raw_uid).values()
    return sorted(runs, key=lambda run: float(run.start["time"]))


def read_curves(run: Any, stream: str = "primary") -> xr.Dataset:
    """Read the curves of a reduced run, also while it is being written.

    Parameters
    ----------
    run
        A reduced run of a catalog.
    stream
        The stream whose frames are wanted.

    Returns
    -------
    Curves ``R0_intensity``, ``R0_sigma`` of shape (frame, R0_q), with the axis ``R0_q`` as coordinate; integral
    parameters, ``image_path``, ``frame_index``, ``image_time`` and ``failure`` of each frame; scanned motors as
    coordinates of ``frame``. Units are in ``attrs["units"]`` of each variable.

    Raises
    ------
    CatalogError
        The run is no reduced run, or has no such stream.
    """
    import xarray as xr

    start = run.metadata["start"]
    if "original_run_uid" not in start:
        raise CatalogError(f"run {start['uid']}: wanted a reduced run, found one without original_run_uid")
    streams = list(run.base)
    if stream not in streams:
        raise CatalogError(f"run {start['uid']}: wanted stream {stream}, found {', '.join(streams) or 'none'}")
    node = run.base[stream].base
    keys = node.metadata["data_keys"]
    coordinates = [key for key, entry in keys.items() if entry.get("object_name") == "coordinates"]
    dataset = xr.Dataset(_variables(node, keys), coords=_axes(node.metadata), attrs=_attributes(start, stream))
    return dataset.assign_coords(frame=np.arange(dataset.sizes["frame"])).set_coords(coordinates)


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


def _from_folder(folder: Path, readable: Sequence[str | Path]) -> Any:
    try:
        (folder / "arrays").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"{folder}: wanted a folder for a catalog, found {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CatalogError(f"{folder}: wanted a folder that can be written, found one without the permission")
    with warnings.catch_warnings():
        # Tiled embeds its server through starlette's test client, which announces a successor of httpx.
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette")
        import starlette.testclient  # noqa: F401
    from tiled.catalog import from_uri
    from tiled.client import from_context
    from tiled.client.context import Context
    from tiled.server.app import build_app

    database = folder / "catalog.db"
    if not database.exists():
        _create_database(database)
    tree = from_uri(
        f"sqlite:///{database}",
        writable_storage=[str(folder / "arrays"), f"sqlite:///{folder / 'tables.db'}"],
        readable_storage=[str(path) for path in readable],
        specs=[_SPEC],
    )
    # An embedded server that starts is no news for the user.
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    app = build_app(tree, serialization_registry=_serializers())
    try:
        return _with_own_v1(from_context(Context.from_app(app), _clients()))
    except Exception as error:  # whatever SQLAlchemy, Alembic and the server raise at what lies in the folder
        raise CatalogError(f"{folder}: wanted a catalog that opens, found {error}") from error


def _create_database(database: Path) -> None:
    """Let Tiled make the tables under another name, so that no process ever sees half of them."""
    draft = database.with_name(f".{database.name}.{os.getpid()}")
    command = [sys.executable, "-m", "tiled", "catalog", "init", f"sqlite:///{draft}"]
    # In a folder that is there, as the current one may not be.
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=database.parent)  # noqa: S603 - no user's words in it
    try:
        if made.returncode:
            raise CatalogError(f"{database}: wanted a new database, found {made.stderr.strip()[-500:]}")
        database.hardlink_to(draft)
    except FileExistsError:
        pass  # another process made it meanwhile
    finally:
        draft.unlink(missing_ok=True)


def _serializers() -> Any:
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from tiled.media_type_registration import default_serialization_registry

    # Without it run.documents() finds no exporter; Tiled's own servers get it from their configuration.
    default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
    return default_serialization_registry


def _from_server(uri: str) -> Any:
    import httpx
    from tiled.client import from_uri

    try:
        # Tiled's client would go on trying for most of a minute.
        httpx.get(uri, timeout=_ANSWER_TIMEOUT, follow_redirects=True)
        catalog = from_uri(uri, _clients())
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, ValueError) as error:
        raise CatalogError(f"{uri}: wanted a Tiled server that answers, found {error}") from error
    found = [spec.name for spec in getattr(catalog, "specs", None) or []]
    if _SPEC["name"] not in found:
        raise CatalogError(f"{uri}: wanted a {_SPEC['name']}, found specs {', '.join(found) or 'none'}")
    return _with_own_v1(catalog)


def _clients() -> Any:
    """A table of client classes of its own."""
    from tiled.client.container import DEFAULT_STRUCTURE_CLIENT_DISPATCH, Container
    from tiled.utils import OneShotCachedMap

    if Container.STRUCTURE_CLIENTS_FROM_ENTRYPOINTS is None:
        Container.discover_clients_from_entrypoints()
    shared = DEFAULT_STRUCTURE_CLIENT_DISPATCH["numpy"]
    return OneShotCachedMap({key: partial(shared.__getitem__, key) for key in shared})


def _with_own_v1(catalog: Any) -> Any:
    """The catalog, which stays as it is when ``catalog.v1`` is used.

    In bluesky-tiled-plugins 2.0 ``v1`` changes the table of client classes that it shares with the catalog, so that
    from then on all runs come in their old form.
    """
    other = type(catalog)(catalog.context, item=catalog.item, structure_clients=_clients())
    catalog._v1 = other.v1  # noqa: SLF001 - there is no other way in
    return catalog


def _axes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    axes = {}
    for curve in metadata.get("configuration", {}).values():
        for key, entry in curve.get("data_keys", {}).items():
            axes[key] = (key, np.asarray(curve["data"][key], dtype=float), _units(entry))
    return axes


def _variables(node: Any, keys: Mapping[str, Any]) -> dict[str, Any]:
    nodes = list(node)
    # Rows come last in a batch: where they are, the arrays are already, and often more.
    columns: dict[str, Any] = {}
    for name in sorted(name for name in nodes if name.startswith("internal")):
        columns |= dict(node[name].read().items())
    frames = len(columns["seq_num"]) if columns else 0
    variables = {}
    for key, entry in keys.items():
        dims = ("frame", *entry.get("dims", ())) if entry["dtype"] == "array" else ("frame",)
        if frames == 0:
            data = np.empty((0, *entry["shape"]), dtype=_empty_dtype(entry))
        elif key in columns:
            data = _column(columns[key], entry)
        else:
            data = node[key][:frames]
        variables[key] = (dims, data, _units(entry))
    return variables


def _column(column: Any, entry: Mapping[str, Any]) -> Any:
    if entry["dtype"] == "string":
        return np.array(["" if value is None else str(value) for value in column.astype(object)], dtype=str)
    if entry["dtype"] == "number":
        return column.to_numpy(dtype=float, na_value=np.nan)
    return column.to_numpy()


def _empty_dtype(entry: Mapping[str, Any]) -> type:
    return {"string": str, "integer": int, "boolean": bool}.get(entry["dtype"], float)


def _units(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"units": entry["units"]} if entry.get("units") else {}


def _attributes(start: Mapping[str, Any], stream: str) -> dict[str, Any]:
    provenance = start.get("provenance", {})
    found = {
        "uid": start["uid"],
        "original_run_uid": start["original_run_uid"],
        "original_scan_id": start.get("original_scan_id"),
        "stream": stream,
        "detector": start.get("detector"),
        "sample": start.get("sample"),
        "calibration": provenance.get("calibration", {}).get("Title"),
        "calibration_sha256": provenance.get("calibration_sha256"),
        "software": " ".join(provenance[key] for key in ("software", "version") if key in provenance),
    }
    # What netCDF can keep.
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}
