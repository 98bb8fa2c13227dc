"""The images of a raw run that goes on: when they were exposed, and what their own events say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from saxs_bluesky.callbacks.merge._logger_entries import LoggerEntries
from saxs_bluesky.documents import (
    Document,
    ExposureKeys,
    ImageKey,
    companions,
    exposure_keys,
    frame_ends,
    image_keys,
    loggable,
)

_KEPT = 50_000  # events whose images have not come from the reduction


@dataclass(frozen=True)
class ImageTimes:
    """When one image was exposed.

    Parameters
    ----------
    end
        Of the exposure, seconds since 1970.
    exposure
        Seconds; 0 where it is not known.
    scalars
        Numbers and texts of its event.
    """

    end: float
    exposure: float
    scalars: Mapping[str, Any]

    @property
    def start(self) -> float:
        """Beginning of the exposure, seconds since 1970."""
        return self.end - self.exposure


@dataclass(eq=False)
class ImageStream:
    """A stream with images.

    Parameters
    ----------
    descriptor
        Its latest descriptor.
    images
        By the names of detectors.
    before
        Time of the latest event, or of the start of the run; seconds since 1970.
    rows
        Images that have not been taken, by the detector and the number of the event from 0.
    """

    descriptor: Document
    images: Mapping[str, ImageKey]
    before: float  # time of the latest event, or of the start
    rows: OrderedDict[tuple[str, int], list[ImageTimes]] = field(default_factory=OrderedDict)

    @property
    def scalars(self) -> dict[str, Document]:
        """Data keys of the numbers and texts in its events."""
        own = {image.key for image in self.images.values()}
        return {key: entry for key, entry in loggable(self.descriptor).items() if key not in own}

    def add(self, event: Document) -> list[tuple[str, int, ImageTimes]]:
        """Take an event in; return its images: detector, number of the frame, and when it was exposed."""
        found = []
        scalars = {key: event["data"][key] for key in self.scalars if key in event["data"]}
        for detector, image in self.images.items():
            told = exposure_keys(self.descriptor, detector)
            exposure = _number(event["data"].get(told.exposure), told.configured_exposure)
            ends = self._ends(event, image, told, exposure)
            times = [ImageTimes(end, exposure, scalars) for end in ends]
            row = int(event["seq_num"]) - 1
            self.rows[detector, row] = times
            found += [(detector, row * image.frames + index, one) for index, one in enumerate(times)]
        while len(self.rows) > _KEPT:
            self.rows.popitem(last=False)
        self.before = float(event["time"])
        return found

    def _ends(self, event: Document, image: ImageKey, told: ExposureKeys, exposure: float) -> list[float]:
        stamps = event.get("timestamps") or {}
        time = float(event["time"])
        if image.kind == "file":
            return [float(stamps.get(image.key, time))] * image.frames
        known = [float(stamps[key]) for key in companions(self.descriptor, image) if key in stamps]
        period = _number(event["data"].get(told.period), told.configured_period)
        ends = frame_ends(
            np.array([time]),
            np.array([max(known, default=np.nan)]),
            np.array([exposure]),
            np.array([period]),
            image.frames,
            begin=self.before,
        )
        found: list[float] = ends.tolist()
        return found

    def take(self, detector: str, frame_index: int) -> ImageTimes | None:
        """When an image was exposed; None where its event has not come, or was given up."""
        image = self.images.get(detector)
        if image is None:
            return None
        row, index = divmod(frame_index, image.frames)
        times = self.rows.get((detector, row))
        if times is None or index >= len(times):
            return None
        if index == len(times) - 1:
            del self.rows[detector, row]
        return times[index]


class RawImages:
    """Follows the documents of one raw run: its images and its loggers.

    Parameters
    ----------
    start
        Its start document.
    wanted
        Whether a stream without images is wanted as a logger, by its name.
    entries
        Makes the memory of a logger, of its descriptor and the run's ``uid``.
    """

    def __init__(
        self, start: Document, wanted: Callable[[str], bool], entries: Callable[[Document, str], LoggerEntries]
    ) -> None:
        self.start = start
        self._wanted = wanted
        self._entries = entries
        self._by_descriptor: dict[str, ImageStream | LoggerEntries] = {}
        #: Streams with images, by name.
        self.streams: dict[str, ImageStream] = {}
        #: Loggers by the names of their streams.
        self.loggers: dict[str, LoggerEntries] = {}
        self.has_stopped = False

    def describe(self, descriptor: Document) -> None:
        """Take a descriptor in."""
        name = descriptor["name"]
        images = {image.detector: image for image in image_keys(descriptor, None)}
        if images:
            stream = self.streams.get(name)
            if stream is None:
                stream = self.streams[name] = ImageStream(descriptor, images, float(self.start["time"]))
            stream.descriptor = descriptor
            self._by_descriptor[descriptor["uid"]] = stream
        elif self._wanted(name):
            if name not in self.loggers:
                self.loggers[name] = self._entries(descriptor, self.start["uid"])
            self._by_descriptor[descriptor["uid"]] = self.loggers[name]

    def event(self, event: Document) -> list[tuple[str, str, int, ImageTimes]]:
        """Take an event in; return its images: stream, detector, number of the frame, and when it was exposed."""
        place = self._by_descriptor.get(event["descriptor"])
        if isinstance(place, LoggerEntries):
            place.add(event)
            return []
        if place is None:
            return []
        name = place.descriptor["name"]
        return [(name, *found) for found in place.add(event)]


def _number(*told: Any) -> float:
    """The first that is a number above 0; 0 where none is."""
    for value in told:
        if isinstance(value, int | float) and 0 < value < np.inf:
            return float(value)
    return 0.0
