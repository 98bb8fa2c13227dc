"""Curves of reduced runs, read back from a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from saxs_bluesky.catalog._errors import words
from saxs_bluesky.catalog._order import in_order
from saxs_bluesky.catalog._trouble import may_pass, patiently
from saxs_bluesky.documents import is_merged
from saxs_bluesky.errors import CatalogError

if TYPE_CHECKING:
    import xarray as xr


_PRIMARY = "primary"
_PATIENCE = 20.0  # seconds for which a catalog may be locked or away
_PAUSE = 0.1  # seconds


class _BetweenError(Exception):
    """The run was being written just then; what was found does not belong together."""


def read_curves(run: Any, stream: str | None = None) -> xr.Dataset:
    """Read the curves of a reduced run, also while it is being written.

    Parameters
    ----------
    run
        A reduced run of a catalog.
    stream
        The stream whose frames are wanted; None: "primary", or the only one where there is no such stream.

    Returns
    -------
    Curves ``R0_intensity``, ``R0_sigma`` of shape (frame, R0_q), with the axis ``R0_q`` as coordinate; integral
    parameters, ``image_path``, ``frame_index``, ``image_time`` and ``failure`` of each frame; scanned motors as
    coordinates of ``frame``. Units are in ``attrs["units"]`` of each variable. A run that has just begun has no frames
    yet, and may have no axes.

    Raises
    ------
    CatalogError
        The run is no reduced run, or has no such stream; or the catalog was locked or away for longer than 20 s.
    """
    start = run.metadata["start"]
    if "original_run_uid" not in start:
        raise CatalogError(f"run {start['uid']}: wanted a reduced run, found one without original_run_uid")
    if is_merged(start):
        raise CatalogError(f"run {start['uid']}: wanted a reduced run, found a merged one, which has no curves")
    try:
        return patiently(lambda: _read(run, stream), _PATIENCE, _PAUSE, _passes)
    except CatalogError:
        raise
    # Of the databases' drivers, the client, and xarray: of whatever kind, users get one that says which run.
    except Exception as error:
        raise CatalogError(f"run {start['uid']}: its curves cannot be read: {words(error)}") from error


def _passes(error: BaseException) -> bool:
    return isinstance(error, _BetweenError) or (not isinstance(error, CatalogError) and may_pass(error))


def _read(run: Any, wanted: str | None) -> xr.Dataset:
    import xarray as xr

    start = run.metadata["start"]
    streams = list(run.base)
    if not streams and "stop" not in run.metadata:
        return xr.Dataset(coords={"frame": np.arange(0)}, attrs=_attributes(start, wanted or _PRIMARY))
    stream = wanted or (streams[0] if len(streams) == 1 else _PRIMARY)
    if stream not in streams:
        raise CatalogError(f"run {start['uid']}: wanted stream {stream}, found {', '.join(streams) or 'none'}")
    node = getattr(run.base[stream], "base", run.base[stream])
    keys = node.metadata.get("data_keys")
    if keys is None:
        raise CatalogError(f"run {start['uid']}: wanted a stream of events, found {stream}, which is none")
    coordinates = [key for key, entry in keys.items() if entry.get("object_name") == "coordinates"]
    variables = _variables(node, keys, whole="stop" in run.metadata)
    dataset = xr.Dataset(variables, coords=_axes(node.metadata), attrs=_attributes(start, stream))
    coordinates = [key for key in coordinates if key in variables]
    return dataset.assign_coords(frame=np.arange(dataset.sizes["frame"])).set_coords(coordinates)


def _axes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    axes = {}
    for curve in metadata.get("configuration", {}).values():
        for key, entry in curve.get("data_keys", {}).items():
            axes[key] = (key, np.asarray(curve["data"][key], dtype=float), _units(entry))
    return axes


def _variables(node: Any, keys: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    nodes = list(node)
    # Rows come last in a batch: where they are, the arrays are already, and often more.
    tables = [in_order(node[name].read(), name) for name in sorted(nodes) if name.startswith("internal")]
    frames = min((len(table) for table in tables), default=0)
    columns = {name: column[:frames] for table in tables for name, column in table.items()}
    variables = {}
    for key, entry in keys.items():
        dims = ("frame", *entry.get("dims", ())) if entry["dtype"] == "array" else ("frame",)
        if frames == 0:
            data = np.empty((0, *entry["shape"]), dtype=_empty_dtype(entry))
        elif key in columns:
            data = _column(columns[key], entry)
        else:
            data = _array(node[key], key, frames, whole=whole)
        variables[key] = (dims, data, _units(entry))
    return variables


def _array(node: Any, key: str, frames: int, *, whole: bool) -> Any:
    """Items of an array, of which the n-th belongs to the n-th event."""
    length = node.shape[0]
    if length < frames or (whole and length != frames):
        raise _BetweenError(f"wanted {frames} items of {key}, one for each event, found {length}")
    return node[:frames]


def _column(column: Any, entry: Mapping[str, Any]) -> Any:
    if entry["dtype"] == "array":
        return np.array(column.tolist(), dtype=float)  # small ones, by writers that keep those in the table
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
