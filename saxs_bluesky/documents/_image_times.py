"""When the images of a run were exposed, as far as its documents tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from saxs_bluesky.documents._data_keys import ImageKey
from saxs_bluesky.documents._types import Document

Seconds: TypeAlias = NDArray[np.float64]
"""Times in seconds since 1970, or durations in seconds."""

# The names that bluesky's, ophyd's and areaDetector's devices and ours give it, the most telling first.
_EXPOSURE = ("exposure_time", "acquire_time", "livetime", "exposure", "count_time", "acquisition_time")
_PERIOD = ("acquire_period", "exposure_period", "period")
_STAMP = re.compile(r"(?i)time_?stamp")


@dataclass(frozen=True)
class ExposureKeys:
    """Where a descriptor, or the events of its stream, tell the exposure of a detector.

    Parameters
    ----------
    exposure, period
        Data keys of events; empty where they have none.
    configured_exposure, configured_period
        Values of the detector's configuration, seconds; NaN where it does not tell.
    """

    exposure: str = ""
    period: str = ""
    configured_exposure: float = np.nan
    configured_period: float = np.nan

    @property
    def is_known(self) -> bool:
        """True if the exposure is told at all."""
        return bool(self.exposure) or bool(self.configured_exposure > 0)


def exposure_keys(descriptor: Document, detector: str) -> ExposureKeys:
    """Find where the exposure of a detector's images is told.

    Parameters
    ----------
    descriptor
        Of the stream of the images.
    detector
        Name of the detector.
    """
    own = _own_keys(descriptor, detector)
    configured = (descriptor.get("configuration") or {}).get(detector) or {}
    data = configured.get("data") or {}
    return ExposureKeys(
        exposure=_named(own, _EXPOSURE),
        period=_named(own, _PERIOD),
        configured_exposure=_number(data.get(_named(data, _EXPOSURE))),
        configured_period=_number(data.get(_named(data, _PERIOD))),
    )


def companions(descriptor: Document, image: ImageKey) -> list[str]:
    """Data keys that a detector reads together with its image: their timestamps tell when it was ready.

    That of the image itself may be the time of the trigger, as ophyd's area detectors have it.

    Parameters
    ----------
    descriptor
        Of the stream of the images.
    image
        The detector's image.
    """
    return [key for key in _own_keys(descriptor, image.detector) if key != image.key]


def stamp_key(descriptor: Document, detector: str) -> str:
    """Data key of the times that a detector writes for each image into its file; empty where there is none."""
    keys = descriptor["data_keys"]
    stamps = [key for key in keys if _STAMP.search(key) and keys[key].get("dtype") in ("number", "array")]
    own = [key for key in stamps if keys[key].get("object_name") == detector or key.startswith(detector)]
    return next(iter(own or stamps), "")


def frame_ends(
    times: Seconds, stamps: Seconds, exposure: Seconds, period: Seconds, frames: int, *, begin: float
) -> Seconds:
    """Ends of the exposures of the frames of events.

    An event comes when all that is in it has been read, slower detectors too. The timestamp of what a detector makes of
    its images, such as their total, is closer to the end of the last exposure. Where the timestamp belongs to an event
    before, or to another clock, the event's time is taken.

    Parameters
    ----------
    times
        Of the events, seconds since 1970, shape (events,).
    stamps
        The latest timestamp of the detector in each event; NaN where it has none.
    exposure
        Of each frame, seconds; NaN or 0 where it is not known.
    period
        From one exposure of an event to the next, seconds; NaN where it is not known.
    frames
        How many frames an event has.
    begin
        Time of the event before the first one, or of the beginning of the run.

    Returns
    -------
    Seconds since 1970, shape (events * frames,).
    """
    period = np.fmax(np.nan_to_num(period), np.nan_to_num(exposure))
    before = np.concatenate([[begin], times[:-1]])
    last = np.where((stamps <= times) & (stamps > before), stamps, times)  # NaN does not fit
    earlier = np.arange(frames - 1, -1, -1)
    spread: Seconds = (last[:, None] - earlier * period[:, None]).ravel()
    return spread


def spread_evenly(arrivals: Seconds, begin: float) -> Seconds:
    """Ends of exposures of which only times are known by which they had ended, several by the same time.

    Parameters
    ----------
    arrivals
        For each image a time at which it was there, ascending, seconds since 1970, shape (images,).
    begin
        When the first exposure can have begun.

    Returns
    -------
    Seconds since 1970, shape (images,): those that arrived together lie evenly between the arrival before and theirs.
    """
    arrived, batch, size = np.unique(arrivals, return_inverse=True, return_counts=True)
    since = np.concatenate([[min(begin, arrived[0])] if len(arrived) else [], arrived[:-1]])
    first = np.cumsum(size) - size
    place = np.arange(len(arrivals)) - first[batch] + 1
    ends: Seconds = since[batch] + (arrived - since)[batch] * place / size[batch]
    return ends


def _own_keys(descriptor: Document, detector: str) -> list[str]:
    """Data keys of the same object as the detector's image, or that begin with its name."""
    owned = (descriptor.get("object_keys") or {}).get(detector)
    keys = descriptor["data_keys"]
    if owned:
        return [key for key in owned if key in keys]
    return [key for key in keys if key.startswith((f"{detector}_", f"{detector}-"))]


def _named(keys: Iterable[str] | Mapping[str, Any], endings: Sequence[str]) -> str:
    """The key with the first of these endings."""
    for ending in endings:
        for key in keys:
            head = key.lower().removesuffix(ending)
            if len(head) < len(key) and not head[-1:].isalnum():
                return key
    return ""


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return np.nan
    return number if 0 < number < np.inf else np.nan
