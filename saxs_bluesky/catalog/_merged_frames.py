"""Images of one detector and what the loggers say at them, as a dataset and as the documents of a merged run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saxs_bluesky.catalog._curves import read_curves
from saxs_bluesky.catalog._errors import words
from saxs_bluesky.catalog._exposures import Exposures, exposures_of
from saxs_bluesky.catalog._streams import Stream
from saxs_bluesky.documents import (
    Listed,
    LoggerTable,
    MergeCounts,
    MergedColumn,
    MergedLogger,
    MergedRunComposer,
    NamedDocument,
    clean_names,
    logged_columns,
)
from saxs_bluesky.merge import Images, Lack, Merged, join

if TYPE_CHECKING:
    import xarray as xr

_NS = 1e9
_APART = 1000  # ns between images that have the same time
_HINTS = ("I0", "I1", "I2", "correlation_length")
_IMAGES = "images"  # the object of what is known of an image itself


@dataclass(frozen=True, eq=False)
class Frames:
    """The images of a detector before the merge.

    Parameters
    ----------
    detector
        Its name.
    raw_start
        Start document of the raw run.
    reduced
        ``uid`` of the reduced run; empty where the images were not reduced.
    dataset
        The curves, or of images that were not reduced their numbers alone.
    end, exposure
        Of each image in the dataset, seconds, shape (frames,).
    remarks
        What had to be assumed.
    """

    detector: str
    raw_start: Any
    reduced: str
    dataset: xr.Dataset
    end: np.ndarray
    exposure: np.ndarray
    remarks: Sequence[str]


@dataclass(frozen=True, eq=False)
class MergedFrames:
    """The images of a detector with the logged quantities.

    Parameters
    ----------
    frames
        As they were before.
    dataset
        The curves with the logged quantities.
    columns
        The logged quantities as columns of a merged run.
    loggers
        What was joined.
    counts
        What was not found.
    """

    frames: Frames
    dataset: xr.Dataset
    columns: Sequence[MergedColumn]
    loggers: Sequence[MergedLogger]
    counts: MergeCounts

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.frames.detector

    @property
    def remarks(self) -> Sequence[str]:
        """What had to be assumed, each one sentence."""
        return self.counts.remarks

    def documents(self) -> Iterator[NamedDocument]:
        """Documents of a merged run."""
        own = _own_columns(self.dataset, {column.key for column in self.columns})
        columns = [*own, *self.columns]
        run = MergedRunComposer(
            self.frames.raw_start,
            columns,
            self.loggers,
            reduced=[self.frames.reduced] if self.frames.reduced else [],
            detector=self.detector,
            metadata={"original_stream": str(self.dataset.attrs.get("stream", ""))},
        )
        yield run.start
        yield run.describe()
        middle = self.frames.end - self.frames.exposure / 2
        order = np.argsort(middle, kind="stable")
        values = {column.key: _plain(self.dataset[column.key].to_numpy()[order]) for column in columns}
        yield from run.events(middle[order], values)
        yield run.stop(self.counts)


def frames_of(raw: Any, stream: Stream, detector: str, reduced: Any) -> Frames:
    """Gather the images of a detector.

    Parameters
    ----------
    raw
        The raw run.
    stream
        Its stream with the images.
    detector
        Name of the detector.
    reduced
        The latest reduced run of the detector; None where there is none.
    """
    import xarray as xr

    stop = raw.metadata.get("stop") or {}
    begin, end = float(raw.start["time"]), float(stop.get("time", np.nan))
    dataset = None
    if reduced is not None and stream.name in list(reduced.base):
        dataset = read_curves(reduced, stream.name)
    arrivals = None
    if dataset is not None and not len(stream.rows):
        arrivals = dataset["image_time"].to_numpy()[np.argsort(dataset["frame_index"].to_numpy(), kind="stable")]
    found = exposures_of(stream, detector, begin=begin, end=end, arrivals=arrivals)
    remarks = list(found.remarks)
    if dataset is None:
        remarks.append(f"the images of {detector} in stream {stream.name} were not reduced: there are no curves")
        dataset = xr.Dataset(
            {"frame_index": ("frame", found.frame_index)},
            coords={"frame": np.arange(len(found.frame_index))},
            attrs={"original_run_uid": raw.start["uid"], "stream": stream.name, "detector": detector},
        )
    place = np.searchsorted(found.frame_index, dataset["frame_index"].to_numpy())
    place = np.minimum(place, len(found.frame_index) - 1) if len(found.frame_index) else place
    known = _known(found, dataset, place)
    if not known.all():
        remarks.append(f"{(~known).sum()} images of {detector} have no event in the catalog: their own times are used")
    times = dataset["image_time"].to_numpy() if "image_time" in dataset else np.full(len(place), np.nan)
    ends = np.where(known, found.end[place] if len(found.end) else np.nan, times)
    exposure = np.where(known, found.exposure[place] if len(found.end) else 0.0, 0.0)
    dataset = _with_scalars(dataset, stream, found, place, known, remarks)
    uid = "" if "image_time" not in dataset else str(reduced.start["uid"])
    return Frames(detector, raw.start, uid, dataset, ends, exposure, tuple(remarks))


def _known(found: Exposures, dataset: xr.Dataset, place: np.ndarray) -> np.ndarray:
    if not len(found.frame_index):
        return np.zeros(len(place), dtype=bool)
    return np.asarray(found.frame_index[place] == dataset["frame_index"].to_numpy())


def _with_scalars(
    dataset: xr.Dataset, stream: Stream, found: Exposures, place: np.ndarray, known: np.ndarray, remarks: list[str]
) -> xr.Dataset:
    """The dataset with the numbers and texts of the images' own events."""
    made = {}
    for key, entry in stream.descriptor["data_keys"].items():
        if key == found.image.key or key in dataset.variables:
            continue
        if key in stream.rows and entry.get("dtype") != "array":
            values = stream.rows[key]
            rows = found.row[place]
        elif str(entry.get("external", "")).startswith("STREAM") and not entry.get("shape", [0])[1:]:
            try:
                values = pd.Series(stream.external(key).reshape(-1))
            # Of readers of files of any kind: it costs the values, not the merge.
            except Exception as error:  # noqa: BLE001
                remarks.append(f"{key} of stream {stream.name} cannot be read, and is left out: {words(error)}")
                continue
            rows = found.frame_index[place] // found.image.frames
            if len(rows) and rows.max() >= len(values):
                remarks.append(f"{key} of stream {stream.name} has {len(values)} values only, and is left out")
                continue
        else:
            continue
        text = entry.get("dtype") == "string"
        taken = _texts(values) if text else pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
        picked = np.where(known, taken[rows] if len(taken) else ("" if text else np.nan), "" if text else np.nan)
        units = {"units": entry["units"]} if entry.get("units") else {}
        made[key] = ("frame", picked, units | {"logger": stream.name, "source": str(entry.get("source", ""))})
    names = clean_names(made, taken=map(str, [*dataset.variables, *dataset.dims]))
    return dataset.assign_coords(dict(zip(names, made.values(), strict=True)))


def joined(frames: Frames, tables: Sequence[LoggerTable]) -> MergedFrames:
    """Join the logged quantities to the images of a detector.

    Parameters
    ----------
    frames
        The images.
    tables
        The loggers.
    """
    order, images = _images(frames)
    merged = join(images, [one.table for one in tables])
    back = np.empty(len(order), dtype=np.intp)
    back[order[merged.order]] = np.arange(len(order))  # rows of the merged table by frames
    dataset = _with_times(frames)
    columns = logged_columns(tables, [str(name) for name in [*dataset.variables, *dataset.dims]])
    values = [merged.table.iloc[back, position] for position in range(len(columns))]
    coordinates = {}
    for column, found in zip(columns, values, strict=True):
        told = {"units": column.units} if column.units else {}
        told |= {"logger": column.object_name, "source": column.source}
        told |= {"long_name": column.name} if column.name != column.key else {}
        coordinates[column.key] = ("frame", _texts(found) if column.dtype == "string" else found.to_numpy(), told)
    counts = _counts(frames, tables, merged, order)
    dataset = dataset.assign_coords(coordinates).assign_attrs(_remarks(counts.remarks))
    loggers = [one.logger for one in tables]
    methods = {one.name: one.method for one in loggers}
    for column in columns:
        dataset[column.key].attrs["method"] = methods[column.object_name]
    return MergedFrames(frames, dataset, columns, loggers, counts)


def _images(frames: Frames) -> tuple[np.ndarray, Images]:
    """The images by the ends of their exposures, no two of which are equal; and their order."""
    end = np.round(frames.end * _NS).astype(np.int64)
    order = np.argsort(end, kind="stable")
    end = end[order]
    first = np.searchsorted(end, end, side="left")
    end = end + _APART * (np.arange(len(end)) - first)
    exposure = np.round(frames.exposure[order] * _NS).astype(np.int64)
    # Closer images than that in a row of equal ones: their order counts more than microseconds.
    end = np.maximum.accumulate(end - np.arange(len(end))) + np.arange(len(end))
    nothing = pd.DataFrame(index=pd.RangeIndex(len(end)))
    return order, Images(end, exposure, nothing, np.ones(len(end), dtype=bool))


def _with_times(frames: Frames) -> xr.Dataset:
    middle = np.round((frames.end - frames.exposure / 2) * _NS).astype(np.int64).astype("datetime64[ns]")
    exposure = np.where(frames.exposure > 0, frames.exposure, np.nan)
    dataset = frames.dataset.assign_coords(time=("frame", middle))
    if "exposure_time" in dataset.variables:
        return dataset
    return dataset.assign_coords(exposure_time=("frame", exposure, {"units": "s"}))


def _counts(frames: Frames, tables: Sequence[LoggerTable], merged: Merged, order: np.ndarray) -> MergeCounts:
    numbers = frames.dataset["frame_index"].to_numpy()[order[merged.order]]

    def listed(rows_of: Any) -> Listed:
        found = [(report.name, rows_of(report)) for report in merged.reports]
        names = [f"{name}: frame {number}" for name, rows in found for number in numbers[rows[:100]]]
        return Listed(sum(len(rows) for _, rows in found), names)

    nothing = np.empty(0, dtype=np.intp)
    remarks = [*frames.remarks, *(remark for one in tables for remark in one.table.remarks)]
    return MergeCounts(
        images_without_log=listed(lambda report: report.without),
        beyond_tolerance=listed(lambda report: report.lacking.get(Lack.BEYOND_TOLERANCE, nothing)),
        remarks=tuple(remarks),
    )


def _remarks(remarks: Sequence[str]) -> dict[str, str]:
    return {"remarks": "; ".join(remarks)} if remarks else {}


def _own_columns(dataset: xr.Dataset, logged: set[str]) -> list[MergedColumn]:
    """What is known of the images themselves: all of the dataset that is one number or text for each."""
    columns = []
    for name, values in dataset.variables.items():
        key = str(name)
        if values.dims != ("frame",) or key in logged or key in ("frame", "time"):
            continue
        number = values.dtype.kind in "biuf"
        columns.append(
            MergedColumn(
                key=key,
                dtype="number" if number else "string",
                object_name=_IMAGES,
                source=str(values.attrs.get("source") or "reduced run"),
                units=str(values.attrs.get("units", "")),
                is_hinted=number and key.endswith(_HINTS),
            )
        )
    return columns


def _texts(values: Any) -> np.ndarray:
    return np.array(["" if missing else str(value) for value, missing in zip(values, pd.isna(values), strict=True)])


def _plain(values: np.ndarray) -> list[Any]:
    """Values as Python's own numbers, floating ones, and texts."""
    return values.astype(np.float64).tolist() if values.dtype.kind in "biuf" else [str(value) for value in values]
