"""Logged quantities at the images of a run, from the catalog alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saxs_bluesky.catalog._exposures import images_in
from saxs_bluesky.catalog._logger_streams import logger_table
from saxs_bluesky.catalog._merged_frames import MergedFrames, frames_of, joined
from saxs_bluesky.catalog._reduced_writing import ReducedWriting
from saxs_bluesky.catalog._runs import is_ours, raw_run, reduced_runs
from saxs_bluesky.catalog._streams import Stream, streams_of
from saxs_bluesky.documents import LoggerTable
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.merge import LogTable, Method

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)

_PRIMARY = "primary"


def merge(
    catalog: Any,
    uid: str,
    loggers: Sequence[str | LogTable] | None = None,
    *,
    method: str | Mapping[str, str] | None = None,
    tolerance: float | Mapping[str, float] | None = None,
    offsets: Mapping[str, float] | None = None,
    detector: str | None = None,
    stream: str | None = None,
    write: bool = False,
) -> xr.Dataset:
    """Read the curves of a run, with what was logged while each of its images was exposed.

    The images' times are those of the raw run's events, which are taken as the ends of the exposures, or the timestamps
    that their detector gives in them. Monitored signals hold their value until the next one is sent; at an image they
    have the mean over its exposure. Other streams have their closest earlier value, and the mean over exposures of at
    least 5 s. What had to be assumed is told in a warning and in ``attrs["remarks"]``.

    Parameters
    ----------
    catalog
        As `open_catalog` returns it.
    uid
        Of the raw run; it may be going on.
    loggers
        Names of streams of the run, ``uid`` of other runs whose streams are logs, and tables. None: all streams of the
        run without images: monitored signals, the baseline, and others.
    method
        How values at images are found, for all loggers or by their names: one of `Method`.
    tolerance
        Seconds beyond which an entry does not count, for all loggers or by their names. None: without limit.
    offsets
        Clock of a logger minus that of the images, seconds, by the logger's name; subtracted from its times.
    detector
        Whose images; None: those of all detectors.
    stream
        The stream whose images are wanted; None: "primary", or the only one with images.
    write
        Whether to write a merged run into the catalog too, one for each detector; see `merged_runs`.

    Returns
    -------
    What `read_curves` returns of the latest reduced run, with coordinates of ``frame``: ``time``, the middle of the
    exposure (UTC); ``exposure_time`` in s, NaN where it is not known; scalars of the image's own event; and the logged
    quantities, with ``units``, ``logger`` and ``method`` in ``attrs``. Numbers that are not there are NaN, texts "".
    Images that were not reduced have no curves. Of several detectors, each one's variables and dimensions begin with
    its name: ``waxs_R0_intensity`` of shape (``waxs_frame``, ``waxs_R0_q``). ``attrs["merged_run"]`` is the ``uid`` of
    the run that was written.

    Raises
    ------
    CatalogError
        There is no such run, detector, stream or logger, or the run has no images.
    """
    raw = raw_run(catalog, uid)
    streams = streams_of(raw)
    name = _stream_with_images(raw, streams, stream)
    tables = _tables(catalog, raw, streams, loggers)
    tables = _adjusted(tables, method, tolerance, offsets)
    latest = {run.start["detector"]: run for run in reduced_runs(catalog, raw.start["uid"]) if is_ours(run.start)}
    wanted = _detectors(raw, streams[name], detector)
    merged = []
    for one in wanted:
        frames = frames_of(raw, streams[name], one, latest.get(one))
        merged.append(joined(frames, tables))
    if write:
        merged = [_written(catalog, one) for one in merged]
    for remark in dict.fromkeys(remark for one in merged for remark in one.remarks):
        _log.warning("run %s: %s", raw.start["uid"], remark)
    return merged[0].dataset if len(merged) == 1 else _side_by_side(merged)


def _stream_with_images(raw: Any, streams: Mapping[str, Stream], wanted: str | None) -> str:
    found = [name for name, one in streams.items() if images_in(one)]
    name = wanted or (_PRIMARY if _PRIMARY in found or not found else found[0] if len(found) == 1 else _PRIMARY)
    if name not in found:
        there = ", ".join(found) or "none"
        raise CatalogError(
            f"run {raw.start['uid']}: wanted images in stream {name}, found streams with images: {there}"
        )
    return name


def _detectors(raw: Any, stream: Stream, wanted: str | None) -> list[str]:
    found = list(images_in(stream))
    if wanted is not None and wanted not in found:
        raise CatalogError(
            f"run {raw.start['uid']}: wanted images of {wanted} in stream {stream.name}, found those of "
            f"{', '.join(found)}"
        )
    return found if wanted is None else [wanted]


def _tables(
    catalog: Any, raw: Any, streams: Mapping[str, Stream], wanted: Sequence[str | LogTable] | None
) -> list[LoggerTable]:
    """Tables of the loggers that are wanted, monitored signals first: of two of one name those keep it."""
    if wanted is None:
        logs = [one for one in streams.values() if not images_in(one)]
        found = [logger_table(one, raw.start["uid"]) for one in logs]
        return sorted(found, key=lambda one: not one.table.steps)
    found = []
    for one in wanted:
        if isinstance(one, LogTable):
            found.append(LoggerTable(one, {"table": one.name}, {}))
        elif one in streams:
            found.append(logger_table(streams[one], raw.start["uid"]))
        else:
            found += _tables_of_run(catalog, raw, streams, one)
    return found


def _tables_of_run(catalog: Any, raw: Any, streams: Mapping[str, Stream], uid: str) -> list[LoggerTable]:
    try:
        run = catalog[uid]
    except KeyError as error:
        raise CatalogError(
            f"run {raw.start['uid']}: wanted a logger {uid}, found neither a run of that uid in the catalog nor a "
            f"stream among {', '.join(streams)}"
        ) from error
    return [logger_table(one, run.start["uid"]) for one in streams_of(run).values() if not images_in(one)]


def _adjusted(
    tables: Sequence[LoggerTable],
    method: str | Mapping[str, str] | None,
    tolerance: float | Mapping[str, float] | None,
    offsets: Mapping[str, float] | None,
) -> list[LoggerTable]:
    """Tables with the methods, tolerances and offsets that were asked for."""
    names = {one.table.name for one in tables}
    for what, told in (("method", method), ("tolerance", tolerance), ("offsets", offsets)):
        unknown = sorted(set(told) - names) if isinstance(told, Mapping) else []
        if unknown:
            raise CatalogError(f"{what}: wanted names of loggers, {', '.join(sorted(names))}, found {unknown[0]}")
    made = []
    for one in tables:
        changes: dict[str, Any] = {}
        own_method = method.get(one.table.name) if isinstance(method, Mapping) else method
        if own_method is not None:
            changes["method"] = _method(own_method)
        own_tolerance = tolerance.get(one.table.name) if isinstance(tolerance, Mapping) else tolerance
        if own_tolerance is not None:
            changes["tolerance"] = float(own_tolerance)
        if offsets and one.table.name in offsets:
            changes["offset"] = float(offsets[one.table.name])
        made.append(replace(one, table=replace(one.table, **changes)))
    return made


def _method(name: str) -> Method:
    try:
        return Method(name)
    except ValueError as error:
        raise CatalogError(f"method: wanted one of {', '.join(Method)}, found {name!r}") from error


def _written(catalog: Any, merged: MergedFrames) -> MergedFrames:
    with ReducedWriting(catalog, of_scalars=True) as writing:
        for name, doc in merged.documents():
            writing(name, doc)
    (uid,) = writing.uids
    return replace(merged, dataset=merged.dataset.assign_attrs(merged_run=uid))


def _side_by_side(merged: Sequence[MergedFrames]) -> xr.Dataset:
    """Datasets of several detectors in one, each with its name before all that it has."""
    import xarray as xr

    made = []
    for one in merged:
        dataset = one.dataset
        names = {name: f"{one.detector}_{name}" for name in [*dataset.variables, *dataset.dims]}
        made.append(dataset.rename(names).assign_attrs({}))
    together = xr.merge(made, combine_attrs="drop", join="outer", compat="no_conflicts")
    return together.assign_attrs(
        {f"{one.detector}_{key}": value for one in merged for key, value in one.dataset.attrs.items()}
    )
