"""When the images of a raw run in a catalog were exposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saxs_bluesky.catalog._errors import words
from saxs_bluesky.catalog._streams import Stream
from saxs_bluesky.documents import (
    ImageKey,
    Seconds,
    companions,
    exposure_keys,
    frame_ends,
    image_keys,
    spread_evenly,
    stamp_key,
)

_NO_NUMBERS = "the exposure of {} is not in the documents, so values are those at the ends of its exposures"
_EPICS_EPOCH = 631_152_000.0  # 1990-01-01, seconds since 1970: areaDetector counts from there
_DAY = 86_400.0
_LATE = 60.0  # seconds that the last images of a run may be reduced after its end


@dataclass(frozen=True, eq=False)
class Exposures:
    """The images of one detector in one stream, in the order of their frame index.

    Parameters
    ----------
    image
        Data key of the images.
    frame_index
        Numbers of the frames, ascending, shape (images,).
    end
        Ends of the exposures, seconds since 1970, shape (images,).
    exposure
        Seconds, shape (images,); 0 where it is not known.
    row
        Which row of the stream's events each belongs to, shape (images,); -1 without events.
    remarks
        What had to be assumed.
    """

    image: ImageKey
    frame_index: np.ndarray
    end: Seconds
    exposure: Seconds
    row: np.ndarray
    remarks: Sequence[str] = ()


def images_in(stream: Stream) -> dict[str, ImageKey]:
    """Images of a stream by the names of their detectors."""
    return {image.detector: image for image in image_keys(stream.descriptor, None)}


def exposures_of(
    stream: Stream, detector: str, *, begin: float, end: float, arrivals: Seconds | None = None
) -> Exposures:
    """Find when the images of a detector were exposed.

    Parameters
    ----------
    stream
        That they are in.
    detector
        Its name.
    begin, end
        Of the run, seconds since 1970; the latter NaN where it goes on.
    arrivals
        When the images of a stream without events were reduced, as far as that was while they were taken.
    """
    image = images_in(stream)[detector]
    if len(stream.rows):
        return _with_events(stream, image, begin)
    return _without_events(stream, image, begin, end, arrivals)


def _with_events(stream: Stream, image: ImageKey, begin: float) -> Exposures:
    rows, frames = stream.rows, image.frames
    times = rows["time"].to_numpy(dtype=np.float64)
    exposure, period = _told(stream, image.detector, times)
    if image.kind == "file":
        # Whoever made the event read in the file when the image was taken.
        stamps = _stamps(stream, [image.key])
        ends = np.repeat(np.where(np.isfinite(stamps), stamps, times), frames)
    else:
        ends = frame_ends(
            times, _stamps(stream, companions(stream.descriptor, image)), exposure, period, frames, begin=begin
        )
    remarks = [] if (exposure > 0).any() or not len(times) else [_NO_NUMBERS.format(image.detector)]
    first = (rows["seq_num"].to_numpy(dtype=np.int64) - 1) * frames
    index = (first[:, None] + np.arange(frames)).ravel()
    return Exposures(
        image, index, ends, np.repeat(exposure, frames), np.repeat(np.arange(len(rows)), frames), tuple(remarks)
    )


def _without_events(stream: Stream, image: ImageKey, begin: float, end: float, arrivals: Seconds | None) -> Exposures:
    came = np.empty(0) if arrivals is None else arrivals
    count = max(len(came), stream.length(image.key))
    since = float(stream.descriptor["time"])
    since = since if np.isfinite(since) else begin
    ends, remark = _written(stream, image, count, begin, end)
    if ends is None:
        last = end if np.isfinite(end) else max([since, *came.tolist()])
        # Those of a later reduction tell nothing of when the images were taken.
        in_run = len(came) == count and bool(((came >= begin) & (came <= last + _LATE)).all())
        ends = spread_evenly(np.maximum.accumulate(came) if in_run else np.full(count, last), since)
        how = "when each was there to be reduced" if in_run else "begin and end of the run"
        remark += (
            f"stream {stream.name} has no events: the times of its {count} images follow from {how}, and lie evenly "
            "between"
        )
    exposure, _ = _told(stream, image.detector, ends)
    remarks = [remark]
    if not (exposure > 0).any() and count:
        remarks.append(_NO_NUMBERS.format(image.detector))
    return Exposures(image, np.arange(count), ends, exposure, np.full(count, -1), tuple(filter(None, remarks)))


def _written(stream: Stream, image: ImageKey, count: int, begin: float, end: float) -> tuple[Seconds | None, str]:
    """Times that the detector has written beside its images; or what is wrong with them."""
    key = stamp_key(stream.descriptor, image.detector)
    if not key or not count:
        return None, ""
    try:
        values = stream.external(key).astype(np.float64).reshape(-1)
    # Of readers of files of any kind: it costs the times, not the merge.
    except Exception as error:  # noqa: BLE001
        return None, f"{key}, the times of images in stream {stream.name}, cannot be read ({words(error)}); "
    last = end if np.isfinite(end) else begin + _DAY
    for epoch in (0.0, _EPICS_EPOCH):
        times = values + epoch
        if len(times) == count and bool(((times >= begin - _DAY) & (times <= last + _DAY)).all()):
            return times, ""
    return None, f"{key}, the times of images in stream {stream.name}, has no times of this run; "


def _told(stream: Stream, detector: str, times: Seconds) -> tuple[Seconds, Seconds]:
    """Exposure and period of each event, seconds; 0 and NaN where they are not told."""
    keys = exposure_keys(stream.descriptor, detector)
    exposure = np.full(len(times), np.nan_to_num(keys.configured_exposure))
    period = np.full(len(times), keys.configured_period)
    for update in stream.updates:
        later = exposure_keys({**stream.descriptor, "configuration": update.get("configuration") or {}}, detector)
        since = times >= float(update["time"])
        exposure[since] = np.nan_to_num(later.configured_exposure)
        period[since] = later.configured_period
    for key, target in ((keys.exposure, exposure), (keys.period, period)):
        if key in stream.rows and len(stream.rows) == len(times):
            values = stream.rows[key].to_numpy(dtype=np.float64)
            target[np.isfinite(values)] = values[np.isfinite(values)]
    return exposure, period


def _stamps(stream: Stream, keys: Sequence[str]) -> Seconds:
    """The latest timestamp of some keys in each event, seconds; NaN where there is none."""
    columns: list[Any] = [
        stream.rows[f"ts_{key}"].to_numpy(dtype=np.float64) for key in keys if f"ts_{key}" in stream.rows
    ]
    latest: Seconds = np.fmax.reduce(columns) if columns else np.full(len(stream.rows), np.nan)
    return latest
