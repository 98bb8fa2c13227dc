"""The frames of a raw run, whichever way its documents describe images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from event_model import EventPage, unpack_event_page

from saxs_bluesky.documents._assets import ASSETS, Assets
from saxs_bluesky.documents._dimensions import dimensions_of
from saxs_bluesky.documents._references import (
    FileContent,
    FrameReference,
    InlineFrame,
    TiffFrame,
    from_datum,
    from_stream_datum,
)
from saxs_bluesky.errors import FrameError, reason_of

Document = Mapping[str, Any]

RUN_REFERENCES = {
    "descriptor": "run_start",
    "resource": "run_start",
    "stream_resource": "run_start",
    "stop": "run_start",
    "event": "descriptor",
    "event_page": "descriptor",
    "stream_datum": "descriptor",
    "datum": "resource",
    "datum_page": "resource",
}
"""Which key of a document names the document that it follows, and so leads to its run."""

FILE_SOURCE = "file:image/tiff"
"""Source of a data key whose values are paths of image files: one frame in each event."""

FILE_FAILURE = "image_failure"
"""Data key that says why the file of an event is no image; empty where it is one."""


@dataclass(frozen=True, eq=False)
class FrameTask:
    """One frame to reduce.

    Parameters
    ----------
    detector
        Name of the detector.
    stream
        Name of the raw stream that it belongs to.
    index
        Number of the frame in the stream, from 0; it follows from the event's ``seq_num``, so that a lost
        document does not shift the others.
    time
        When it was taken, as far as the documents tell, in seconds since 1970.
    reference
        Where it is; None where the documents do not lead to it.
    failure
        Why there is no reference, or why nobody need try to read what it refers to.
    coordinates
        Values of the scanned motors and other independent variables, by data key.
    coordinate_keys
        What the raw descriptor says of them, by data key; also of those without a value.
    """

    detector: str
    stream: str
    index: int
    time: float
    reference: FrameReference | None
    failure: str = ""
    coordinates: Mapping[str, Any] = field(default_factory=dict)
    coordinate_keys: Mapping[str, Document] = field(default_factory=dict)


@dataclass(frozen=True)
class _ImageKey:
    key: str
    detector: str
    frames: int  # in each event
    kind: Literal["inline", "external", "file"]
    shape: tuple[Any, ...] = ()  # that the descriptor announces
    is_streamed: bool = False  # its frames are never in events
    dtype: str = ""  # that the descriptor announces, as numpy spells it


@dataclass
class _Stream:
    name: str
    images: tuple[_ImageKey, ...]
    coordinate_keys: Mapping[str, Document]
    # Of events that came before the stream_datum of their images, as catalogs give them: time, coordinates.
    early: dict[int, tuple[float, Document]] = field(default_factory=dict)
    streamed: int = 0  # up to which seq_num a stream_datum came
    # Events without an image that they announce, and that a stream_datum may still bring: time, coordinates.
    missing: dict[tuple[_ImageKey, int], tuple[float, Document]] = field(default_factory=dict)


class RawRun:
    """Follows the documents of one run and yields its frames.

    Images come inline in events, by ``resource`` and ``datum``, by ``stream_resource`` and ``stream_datum``, with
    events or without, or as paths in events (data keys of source `FILE_SOURCE`). A frame of a ``stream_datum`` whose
    event will bring coordinates waits for that event.

    Parameters
    ----------
    start
        The run's start document.
    detectors
        Names of the detectors whose images count, or of their data keys; None: all images do.
    live
        Whether files must still have the content that their events describe (data key ``file_stamp``); not so where
        a run is read long after, from files that were copied or moved.
    assets
        What is known of resources and datums, where others take their documents in; None: this object does.
    """

    def __init__(
        self,
        start: Document,
        detectors: frozenset[str] | None = None,
        *,
        live: bool = False,
        assets: Assets | None = None,
    ) -> None:
        self.start_document = start
        self._detectors = detectors
        self._live = live
        self._dimensions = tuple(one for fields, _ in dimensions_of(start) for one in fields if one != "time")
        self._streams: dict[str, _Stream] = {}
        self._assets = Assets() if assets is None else assets
        self._waiting: dict[tuple[str, int], list[FrameTask]] = {}
        self._found: list[FrameTask] = []
        self._takers: dict[str, Callable[[Any], None]] = {
            "descriptor": self._descriptor,
            **{name: partial(self._assets.take, name) for name in ASSETS},
            "event": self._event,
            "event_page": self._event_page,
            "stream_datum": self._stream_datum,
            "stop": self._stop,
        }

    def frames(self, name: str, doc: Document) -> list[FrameTask]:
        """Take a document in; return the frames that it makes known, in their order."""
        take = self._takers.get(name)
        if take is not None:
            take(doc)
        found, self._found = self._found, []
        return found

    def _descriptor(self, doc: Document) -> None:
        """Find the images among the data keys."""
        keys = doc["data_keys"]
        images = tuple(_image_keys(doc, self._detectors))
        coordinates = {key: keys[key] for key in self._dimensions if key in keys and not keys[key].get("shape")}
        self._streams[doc["uid"]] = _Stream(doc["name"], images, coordinates)

    def _event_page(self, doc: EventPage) -> None:
        """Take events one by one."""
        for event in unpack_event_page(doc):
            self._event(event)

    def _event(self, doc: Document) -> None:
        """Find the frames of an event, and those that waited for it."""
        stream = self._streams.get(doc["descriptor"])
        if stream is None:
            return
        coordinates = {key: doc["data"][key] for key in stream.coordinate_keys if key in doc["data"]}
        for task in self._waiting.pop((doc["descriptor"], doc["seq_num"]), []):
            self._found.append(replace(task, time=doc["time"], coordinates=coordinates))
        if doc["seq_num"] > stream.streamed and any(image.key not in doc["data"] for image in stream.images):
            stream.early[doc["seq_num"]] = (doc["time"], coordinates)
        for image in stream.images:
            if image.key not in doc["data"] and image.kind == "external":
                # Catalogs tell of it in a stream_datum, whatever it was when it was taken.
                if not image.is_streamed and doc["seq_num"] > stream.streamed:
                    stream.missing[image, doc["seq_num"]] = (doc["time"], coordinates)
            else:
                first = (doc["seq_num"] - 1) * image.frames
                # The event of a file comes when the file did; when the image was taken, its timestamp says.
                at = doc.get("timestamps", {}).get(image.key) if image.kind == "file" else None
                taken = doc["time"] if at is None else at
                failure = doc["data"].get(FILE_FAILURE, "") if image.kind == "file" else ""
                for index, reference in enumerate(self._told(image, doc["data"]), first):
                    self._add(stream, image, index, taken, reference, coordinates, failure=failure)

    def _told(self, image: _ImageKey, data: Document) -> list[FrameReference | str]:
        """References to the frames that an event announces: to each, or why there is none."""
        if image.key not in data:
            return [f"{image.key}: wanted an image in the event, found none"] * image.frames
        try:
            return self._references(image, data)
        # Whatever stands in a document; the frames of an event have events, whatever was wrong with it.
        except Exception as error:  # noqa: BLE001
            return [f"{image.key}: {reason_of(error)}"] * image.frames

    def _references(self, image: _ImageKey, data: Document) -> list[FrameReference | str]:
        value = data[image.key]
        if image.kind == "file":
            if not isinstance(value, str):
                raise FrameError(f"wanted the path of an image file, found {type(value).__name__}")
            page, pages = int(data.get("image_page", 0)), int(data.get("image_pages", 1))
            return [TiffFrame(value, self._content(data), page, pages)]
        if image.kind == "inline":
            stack = _array(value, image.dtype)
            _check_stack(stack.shape, image)
            return [InlineFrame(stack, index) for index in range(image.frames)]
        datum = self._assets.take_datum(value)
        if datum is None:
            return [f"{image.key}: wanted a datum {value}, found none before its event"] * image.frames
        resource = self._assets.resource(datum["resource"])
        if resource is None:
            return [f"{image.key}: wanted a resource {datum['resource']}, found none"] * image.frames
        try:
            references = from_datum(resource, datum, image.frames)
        # What is missing or of another type in documents that others wrote.
        except Exception as error:
            raise FrameError(f"wanted a resource of spec {resource.get('spec')}, found {error!r} in it") from error
        fewer = f"{image.key}: wanted {image.frames} frames in a datum, found {len(references)}"
        return [*references, *[fewer] * (image.frames - len(references))]

    def _content(self, data: Document) -> FileContent | None:
        """Which content of its file an event describes, where that matters and is told."""
        stamp = data.get("file_stamp")
        if not self._live or not isinstance(stamp, int):
            return None
        return FileContent(stamp, data.get("file_size", 0), data.get("file_time", math.nan))

    def _stream_datum(self, doc: Document) -> None:
        """Find the frames of a range of indices."""
        stream = self._streams.get(doc["descriptor"])
        resource = self._assets.resource(doc["stream_resource"])
        if stream is None:
            return
        key = self._without_resource(stream) if resource is None else resource["data_key"]
        image = next((image for image in stream.images if image.key == key), None)
        if image is None:
            return
        first, last = doc["indices"]["start"], doc["indices"]["stop"]
        references: list[FrameReference | str]
        try:
            if resource is None:
                raise FrameError(f"wanted a stream_resource {doc['stream_resource']}, found none")
            references = [*from_stream_datum(resource, first, last, image.frames)]
        # What is missing or of another type in documents that others wrote.
        except Exception as error:  # noqa: BLE001
            text = str(error) if isinstance(error, FrameError) else f"found {error!r} in its stream_resource"
            references = [f"{image.key}: {text}"] * ((last - first) * image.frames)
        now = time.time()
        first_frame = (doc["seq_nums"]["start"] - 1) * image.frames
        for index, reference in enumerate(references, first_frame):
            event = index // image.frames + 1
            stream.missing.pop((image, event), None)
            if event in stream.early:
                self._add(stream, image, index, stream.early[event][0], reference, stream.early[event][1])
            else:
                self._add(stream, image, index, now, reference, {}, wait_for=(doc["descriptor"], event))
        stream.streamed = max(stream.streamed, doc["seq_nums"]["stop"] - 1)

    def _without_resource(self, stream: _Stream) -> str | None:
        """Data key of the only images that wait for a stream_resource, if there is one such key."""
        described = {resource.get("data_key") for resource in self._assets.resources_of(self.start_document["uid"])}
        missing = [image.key for image in stream.images if image.is_streamed and image.key not in described]
        return missing[0] if len(missing) == 1 else None

    def _add(
        self,
        stream: _Stream,
        image: _ImageKey,
        index: int,
        taken: float,
        reference: FrameReference | str,
        coordinates: Document,
        wait_for: tuple[str, int] | None = None,
        failure: str = "",
    ) -> None:
        found, failure = (None, reference) if isinstance(reference, str) else (reference, failure)
        keys = stream.coordinate_keys
        task = FrameTask(image.detector, stream.name, index, taken, found, failure, coordinates, keys)
        if wait_for is not None and keys:
            self._waiting.setdefault(wait_for, []).append(task)
        else:
            self._found.append(task)

    def rest(self) -> list[FrameTask]:
        """Frames that wait for an event, and images of events that wait for their file: no more comes of this run."""
        self._stop({})
        found, self._found = self._found, []
        return found

    def _stop(self, _: Document) -> None:
        """Let go of frames whose events never came."""
        for tasks in self._waiting.values():
            self._found += tasks
        self._waiting.clear()
        for stream in self._streams.values():
            for (image, number), (taken, coordinates) in stream.missing.items():
                for index, reference in enumerate(self._told(image, {}), (number - 1) * image.frames):
                    self._add(stream, image, index, taken, reference, coordinates)
            stream.missing.clear()


def _image_keys(doc: Document, detectors: frozenset[str] | None) -> Iterator[_ImageKey]:
    """The images among the data keys of a descriptor."""
    owners = {key: name for name, keys in doc.get("object_keys", {}).items() for key in keys}
    for key, entry in doc["data_keys"].items():
        shape = entry.get("shape") or []
        is_file = entry.get("dtype") == "string" and entry.get("source") == FILE_SOURCE
        if not is_file and (entry.get("dtype") != "array" or len(shape) < 2):
            continue
        # A detector with several images has a calibration for each data key.
        by_key = detectors is not None and key in detectors
        detector = key if by_key else owners.get(key, key)
        if detectors is None or detector in detectors:
            frames = 1
            for size in shape[:-2]:
                frames *= int(size or 1)
            kind: Literal["inline", "external", "file"] = "external" if "external" in entry else "inline"
            is_streamed = str(entry.get("external", "")).startswith("STREAM")
            dtype = str(entry.get("dtype_numpy", ""))
            yield _ImageKey(key, detector, frames, "file" if is_file else kind, tuple(shape), is_streamed, dtype)


def inline_keys(descriptor: Document, detectors: frozenset[str] | None = None) -> tuple[str, ...]:
    """Data keys whose images come inline in events.

    Parameters
    ----------
    descriptor
        What describes the events.
    detectors
        As for `RawRun`.
    """
    return tuple(image.key for image in _image_keys(descriptor, detectors) if image.kind == "inline")


def _array(value: Any, dtype: str) -> np.ndarray[Any, Any]:
    """An event's array; a list, as JSON has it, becomes one of the type that the detector wrote.

    Of what type it is says which of its values are no counts.
    """
    array = np.asarray(value)
    if isinstance(value, np.ndarray) or array.dtype.kind not in "iu":
        return array
    try:
        wanted = np.dtype(dtype or array.dtype)
    except TypeError:  # the descriptor's text is none
        return array
    if wanted.kind not in "iu" or not array.size:
        return array
    ends = np.iinfo(wanted)
    return array.astype(wanted) if ends.min <= array.min() and array.max() <= ends.max else array


def _check_stack(shape: tuple[int, ...], image: _ImageKey) -> None:
    """Whether an array holds as many images as its data key says; that they fit the calibration is seen later."""
    if len(shape) < 2 or math.prod(shape[:-2]) != image.frames:
        wanted = "(" + ", ".join(map(str, image.shape)) + ")"
        raise FrameError(f"wanted an array of shape {wanted} as its descriptor says, found shape {shape}")
