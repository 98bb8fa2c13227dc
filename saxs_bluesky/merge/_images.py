"""The images of a merge: times and headers of all images below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from saxs_bluesky.errors import MergeError, printable
from saxs_bluesky.merge._clocks import UTC, from_wall
from saxs_bluesky.merge._curve_files import file_id
from saxs_bluesky.merge._detector_log import DetectorLog, read_detector_logs
from saxs_bluesky.merge._folder import OTHER_DETECTOR, FolderFiles, find_files
from saxs_bluesky.merge._image_header import ImageHeader, read_image_header
from saxs_bluesky.merge._settings import MergeSettings
from saxs_bluesky.merge._tables import NS, Images, Times
from saxs_bluesky.merge._time_texts import read_dates

_EXPOSURE = "Exposure_time [s]"
_MICROSECOND = 1000  # ns by which images with the same end are set apart
_FAR_APART = 60 * NS  # ns between log and header from which on a clock is suspected
_BATCH, _READERS = 250, 4  # images in a row, threads
_SAID_BATCHES = 20  # between two messages
_SHOWN = 3


@dataclass
class _Found:
    """Headers of the images that can be read, in the order of paths, and why others cannot."""

    paths: list[str] = field(default_factory=list)
    headers: list[ImageHeader] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def read_images(
    folder: Path,
    settings: MergeSettings | None = None,
    progress: Callable[[str], None] | None = None,
    files: FolderFiles | None = None,
    on_image: Callable[[], object] = lambda: None,
) -> Images:
    """Read times and headers of all images below a folder, without their pixels.

    An image ends when the detector's log says so, else at the time in its header; its exposure is the measured one of
    the log, else that of the header. Images with the same end are ordered by their paths and set apart by 1 us.

    Parameters
    ----------
    folder
        Where the queue looks for images.
    settings
        For the time zone of the detector; None: the defaults.
    progress
        Called with sentences on what is done; it may raise an error to end the reading.
    files
        What `find_files` found in the folder; None: it is asked.
    on_image
        Called for each file.

    Returns
    -------
    The images, which may be none. The columns are, in this order, ``Time Measured (ImgLog)``; the entries of the
    headers with ``filename``, ``filepath`` and ``id``, sorted, each with `` (Img)``; ``date (Img)``,
    ``File Name (Img)`` and ``Detector type``. What a header does not state is missing.

    Raises
    ------
    MergeError
        The folder cannot be read.
    """
    settings = settings or MergeSettings()
    say = progress or (lambda _: None)
    files = find_files(folder, progress) if files is None else files
    log = read_detector_logs(files.detector_logs, settings.image_zone)
    found = _read_headers(files.images, say, on_image)
    # Of all images: the name that the detector gave, its line in the log, when it was taken.
    names = [_detector_name(path, header) for path, header in zip(found.paths, found.headers, strict=True)]
    lines = _lines(names, log)
    taken = read_dates(pa.array([header.date for header in found.headers], pa.string()), UTC)
    other = np.array([OTHER_DETECTOR in name for name in names], bool)
    kept = np.flatnonzero(taken.valid & ~other)
    found.errors += [
        f"{found.paths[i]}: wanted a date in the header, found {found.headers[i].date!r}"
        for i in np.flatnonzero(~taken.valid).tolist()
    ]
    say(f"Done going through all subfolders... A total of {len(kept)} images were found.")
    left_out = [*files.remarks, *log.remarks, *_left_out(found.errors)]
    remarks = [*left_out, *_of_other_detector(int(other.sum()))]
    images = _images(
        [found.paths[i] for i in kept.tolist()],
        [found.headers[i] for i in kept.tolist()],
        [names[i] for i in kept.tolist()],
        taken.times[kept],
        lines[kept],
        log,
        settings,
        remarks,
    )
    used = set(lines[kept].tolist())
    missing = [file for number, file in enumerate(log.files) if number not in used and OTHER_DETECTOR not in file]
    if missing:
        remarks.append(f"{_count(len(missing), 'line')} of the detector's logs without image: {_some(missing)}.")
    return replace(images, missing=missing, remarks=tuple(remarks), left_out=tuple(left_out))


def _read_headers(paths: Sequence[str], say: Callable[[str], None], on_image: Callable[[], object]) -> _Found:
    """Headers of all images; several are read at once, since a file server takes its time for each."""
    found = _Found()
    batches = [paths[begin : begin + _BATCH] for begin in range(0, len(paths), _BATCH)]
    pool = ThreadPoolExecutor(_READERS, "merge-headers")
    try:
        for number, results in enumerate(pool.map(_headers_or_errors, batches)):
            if number and number % _SAID_BATCHES == 0:
                say(f"{number * _BATCH} of {len(paths)} images read")
            for path, result in zip(batches[number], results, strict=True):
                on_image()
                if isinstance(result, MergeError):
                    found.errors.append(printable(str(result)))
                else:
                    found.paths.append(path)
                    found.headers.append(result)
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _headers_or_errors(paths: Sequence[str]) -> list[ImageHeader | MergeError]:
    results: list[ImageHeader | MergeError] = []
    for path in paths:
        try:
            results.append(read_image_header(path))
        except MergeError as error:
            results.append(error)
    return results


def _detector_name(path: str, header: ImageHeader) -> str:
    """Path of an image as the detector's computer calls it; its name alone, where the header has no path."""
    folder, name = str(header.entries.get("Image_path", "")), path.rpartition(os.sep)[2]
    return f"{folder}{name}" if not folder or folder.endswith("/") else f"{folder}/{name}"


def _lines(names: Sequence[str], log: DetectorLog) -> NDArray[np.int64]:
    """The line of each image in the detector's log, -1 where it has none."""
    line_of = {file: number for number, file in enumerate(log.files)}
    return np.array([line_of.get(name, -1) for name in names], np.int64)


def _images(
    paths: Sequence[str],
    headers: Sequence[ImageHeader],
    names: Sequence[str],
    taken: Times,
    lines: NDArray[np.int64],
    log: DetectorLog,
    settings: MergeSettings,
    remarks: list[str],
) -> Images:
    logged = lines >= 0
    by_header = from_wall(taken, settings.image_zone, in_order=False)
    end = by_header.times.copy()
    end[logged] = log.end[lines[logged]]
    stated = np.array([_number(header.entries.get(_EXPOSURE)) for header in headers], np.float64)
    seconds = stated.copy()
    seconds[logged] = np.where(np.isnan(log.measured[lines[logged]]), stated[logged], log.measured[lines[logged]])
    usable = (seconds >= 0) & (seconds < 1e9)  # not NaN either
    remarks += _time_remarks(end, by_header.times, logged, usable)
    exposure = np.rint(np.where(usable, seconds, 0) * NS).astype(np.int64)
    # Paths are sorted, and the sorting is stable.
    order = np.argsort(end, kind="stable")
    columns = _columns(paths, headers, names, taken, np.where(usable, seconds, np.nan))
    return Images(_set_apart(end[order]), exposure[order], columns.take(order).reset_index(drop=True), logged[order])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _set_apart(end: Times) -> Times:
    """Each of several equal times 1 us after the one before."""
    shift = np.arange(len(end)) * _MICROSECOND
    apart: Times = np.maximum.accumulate(end - shift) + shift
    return apart


def _columns(
    paths: Sequence[str],
    headers: Sequence[ImageHeader],
    names: Sequence[str],
    taken: Times,
    seconds: NDArray[np.float64],
) -> pd.DataFrame:
    keys = dict.fromkeys(key for entries in {id(h.entries): h.entries for h in headers}.values() for key in entries)
    own: dict[str, Sequence[Any]] = {key: [header.entries.get(key) for header in headers] for key in keys}
    own["filename"] = [printable(path.rpartition(os.sep)[2]) for path in paths]
    own["filepath"] = [printable(path) for path in paths]
    own["id"] = [file_id(path) for path in paths]
    columns: dict[str, pd.Series[Any]] = {"Time Measured (ImgLog)": pd.Series(seconds)}
    columns |= {f"{key} (Img)": _typed(own[key]) for key in sorted(own)}
    columns["date (Img)"] = pd.Series(taken.view("M8[ns]"))
    columns["File Name (Img)"] = _typed([printable(name) for name in names])
    columns["Detector type"] = _typed(
        ["Pil1M" if "Pil1M" in name else "Pil100K" if "Pil100K" in name else "" for name in names]
    )
    return pd.DataFrame(columns, copy=False)


def _typed(values: Sequence[Any]) -> pd.Series[Any]:
    """Integers, if all are; else floats with NaN, if all that are there are numbers; else texts with None."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return pd.Series(np.array(values, np.int64))
    if kinds <= {int, float, type(None)}:
        return pd.Series(np.array(values, np.float64))
    return pd.Series([None if value is None else str(value) for value in values], dtype=object)


def _left_out(errors: Sequence[str]) -> Iterable[str]:
    if errors:
        more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        yield f"{_count(len(errors), 'image')} left out: {'; '.join(errors[:_SHOWN])}{more}."


def _of_other_detector(count: int) -> Iterable[str]:
    if count:
        yield f"{_count(count, 'image')} of {OTHER_DETECTOR} left out."


def _time_remarks(end: Times, by_header: Times, logged: NDArray[np.bool_], usable: NDArray[np.bool_]) -> Iterable[str]:
    if not logged.all():
        yield f"{_count(int((~logged).sum()), 'image')} without line in the detector's logs: the header's time is used."
    if not usable.all():
        yield f"{_count(int((~usable).sum()), 'image')} without exposure time: counted as 0 s."
    apart = (end - by_header)[logged]
    if (far := np.abs(apart) > _FAR_APART).any():
        yield (
            f"{_count(int(far.sum()), 'image')} with times in header and detector's log that are far apart, the median "
            f"by {np.median(apart[far]) / NS:.0f} s: the log's is used."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
