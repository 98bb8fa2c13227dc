"""The frames of a raw run, whichever way its documents describe images."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import Any

import numpy as np
from event_model import EventPage, unpack_event_page

from saxs_bluesky.documents._assets import ASSETS, Assets
from saxs_bluesky.documents._data_keys import ImageKey, coordinate_keys, image_keys, is_streamed
from saxs_bluesky.documents._dimensions import dimensions_of
from saxs_bluesky.documents._frame_task import FrameTask
from saxs_bluesky.documents._handlers import Handler
from saxs_bluesky.documents._references import FileContent, FrameReference, InlineFrame, TiffFrame
from saxs_bluesky.documents._resources import (
    MOST_FRAMES,
    frames_per_index,
    from_datum,
    from_stream_datum,
    streamed_value,
)
from saxs_bluesky.documents._rows import Numbers, Rows
from saxs_bluesky.documents._streamed_values import StreamedValue
from saxs_bluesky.documents._types import Document
from saxs_bluesky.errors import FrameError, reason_of

_log = logging.getLogger(__name__)

_MOST_TOLD = 100  # of a run

FILE_FAILURE = "image_failure"
"""Data key that says why the file of an event is no image; empty where it is one."""


@dataclass
class _Stream:
    name: str
    images: tuple[ImageKey, ...]
    coordinate_keys: Mapping[str, Document]
    axes: tuple[str, ...]  # of those, the streamed ones
    rows: Rows
    numbers: defaultdict[str, Numbers] = field(default_factory=lambda: defaultdict(Numbers))  # by the keys of images

    def frames(self, image: ImageKey) -> int:
        """How many frames a row has of which nothing else is known."""
        numbers = self.numbers.get(image.key)
        return image.frames if numbers is None else numbers.latest


class RawRun:
    """Follows the documents of one run and yields its frames.

    Images come inline in events, by ``resource`` and ``datum``, by ``stream_resource`` and ``stream_datum``, with
    events or without, or as paths in events (data keys of source `FILE_SOURCE`). A frame of a ``stream_datum`` whose
    event will bring coordinates waits for that event, and one whose coordinates are streamed for their
    ``stream_datum``; each detector's come in an order of their own.

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
    handlers
        What reads files by the ``spec`` of their resource, before all that is known here.
    """

    def __init__(
        self,
        start: Document,
        detectors: frozenset[str] | None = None,
        *,
        live: bool = False,
        assets: Assets | None = None,
        handlers: Mapping[str, Handler] = MappingProxyType({}),
    ) -> None:
        self.start_document = start
        self._detectors = detectors
        self._live = live
        self._handlers = handlers
        self._dimensions = tuple(one for fields, _ in dimensions_of(start) for one in fields if one != "time")
        self._streams: dict[str, _Stream] = {}
        self._assets = Assets() if assets is None else assets
        self._early: list[Document] = []  # stream_datum without their stream_resource
        self._warned: set[str] = set()
        self._found: list[FrameTask] = []
        self._followers: dict[str, Callable[[Any], None]] = {
            "descriptor": self._descriptor,
            **{name: partial(self._assets.note, name) for name in ASSETS},
            "event": self._event,
            "event_page": self._event_page,
            "stream_datum": self._stream_datum,
            "stop": self._stop,
        }

    def frames(self, name: str, doc: Document) -> list[FrameTask]:
        """Take a document in; return the frames that it makes known, in their order."""
        take = self._followers.get(name)
        if take is not None:
            take(doc)
        if self._early:
            self._follow_early()
        found, self._found = self._found, []
        return found

    def _descriptor(self, doc: Document) -> None:
        """Find the images and the scanned axes among the data keys."""
        images = tuple(image_keys(doc, self._detectors))
        coordinates = coordinate_keys(doc, self._dimensions)
        axes = tuple(key for key in coordinates if is_streamed(doc["data_keys"][key]))
        external = [image.key for image in images if image.kind == "external"]
        rows = Rows(external, axes, by_event=len(coordinates) > len(axes))
        self._streams[doc["uid"]] = _Stream(doc["name"], images, coordinates, axes, rows)

    def _event_page(self, doc: EventPage) -> None:
        """Take events one by one."""
        for event in unpack_event_page(doc):
            self._follow_one_of_several(self._event, event)

    def _follow_one_of_several(self, take: Callable[[Any], None], doc: Any) -> None:
        """Take one document of several, and what is wrong with it costs no other."""
        try:
            take(doc)
        except Exception as error:  # noqa: BLE001
            self._warn_once(f"a document could not be followed: {reason_of(error)}")

    def _event(self, doc: Document) -> None:
        """Find the frames of an event, and those that waited for it."""
        stream = self._streams.get(doc["descriptor"])
        if stream is None:
            return
        data, row = doc["data"], doc["seq_num"]
        coordinates = {key: data[key] for key in stream.coordinate_keys if key in data}
        # Catalogs tell of an external image in a stream_datum, whatever it was when it was taken.
        told = [image for image in stream.images if image.key in data or image.kind != "external"]
        is_joined = len(told) < len(stream.images) or bool(stream.axes)
        tasks: list[FrameTask] = []
        for image in told:
            # The event of a file comes when the file did; when the image was taken, its timestamp says.
            at = doc.get("timestamps", {}).get(image.key) if image.kind == "file" else None
            taken = doc["time"] if at is None else at
            failure = data.get(FILE_FAILURE, "") if image.kind == "file" else ""
            references = self._references_in(image, data)
            if isinstance(references, str):
                references = [references] * stream.frames(image)
            first = self._first(stream, image, row, len(references))
            for index, reference in enumerate(references, first):
                tasks.append(self._task(stream, image, index, taken, reference, coordinates, failure))
        if is_joined:
            tasks = stream.rows.event(row, doc["time"], coordinates, [image.key for image in told], tasks)
        self._found += tasks

    def _first(self, stream: _Stream, image: ImageKey, row: int, frames: int) -> int:
        """Number of the first frame of a row."""
        if frames != image.frames:
            self._warn_once(
                f"{image.key}: its descriptor says {image.frames} images in an event, what it refers to {frames}; they "
                "are numbered by the latter"
            )
        return stream.numbers[image.key].first(row, frames)

    def _warn_once(self, text: str) -> None:
        """Put into the log what is odd about the run, once."""
        if text not in self._warned and len(self._warned) < _MOST_TOLD:
            self._warned.add(text)
            _log.warning("run %s: %s", self.start_document["uid"], text)

    def _references_in(self, image: ImageKey, data: Document) -> list[FrameReference | str] | str:
        """References to the frames that an event announces; or why there are none."""
        if image.key not in data:
            return f"{image.key}: wanted an image in the event, found none"
        try:
            return [*self._references(image, data)]
        # Whatever stands in a document; the frames of an event have events, whatever was wrong with it.
        except Exception as error:  # noqa: BLE001
            return f"{image.key}: {reason_of(error)}"

    def _references(self, image: ImageKey, data: Document) -> Sequence[FrameReference]:
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
        datum = self._assets.datums.pop(value, None)
        if datum is None:
            raise FrameError(f"wanted a datum {value}, found none before its event")
        resource = self._assets.resources.get(datum["resource"])
        if resource is None:
            raise FrameError(f"wanted a resource {datum['resource']}, found none")
        try:
            return from_datum(resource, datum, image.frames, self._handlers)
        except FrameError:
            raise
        # What is missing or of another type in documents that others wrote.
        except Exception as error:
            raise FrameError(f"wanted a resource of spec {resource.get('spec')}, found {error!r} in it") from error

    def _content(self, data: Document) -> FileContent | None:
        """Which content of its file an event describes, where that matters and is told."""
        stamp = data.get("file_stamp")
        if not self._live or not isinstance(stamp, int):
            return None
        return FileContent(stamp, data.get("file_size", 0), data.get("file_time", math.nan))

    def _stream_datum(self, doc: Document) -> None:
        """Find the frames of a range of indices, or the values of a streamed axis."""
        if doc["descriptor"] not in self._streams:
            return
        if doc["stream_resource"] not in self._assets.resources:
            self._early.append(doc)  # it may follow
        else:
            self._follow_stream_datum(doc)

    def _follow_early(self, *, all_of_them: bool = False) -> None:
        """Take those whose stream_resource came."""
        early, self._early = self._early, []
        for doc in early:
            if all_of_them or doc["stream_resource"] in self._assets.resources:
                self._follow_one_of_several(self._follow_stream_datum, doc)
            else:
                self._early.append(doc)

    def _follow_stream_datum(self, doc: Document) -> None:
        stream = self._streams[doc["descriptor"]]
        resource = self._assets.resources.get(doc["stream_resource"])
        key = self._without_resource(stream) if resource is None else resource.get("data_key")
        image = next((image for image in stream.images if image.key == key), None)
        if image is None and key not in stream.axes:
            return
        now = time.time()
        for row, index in _places(doc):
            if not stream.rows.is_new(str(key), row):
                self._warn_once(f"{key}: row {row} of its stream_datum came twice; the first one counts")
            elif image is None:
                self._found += stream.rows.value(row, str(key), self._value(resource, index))
            else:
                references = self._streamed(resource, image, index, doc["stream_resource"])
                if isinstance(references, str):
                    references = [f"{image.key}: {references}"] * stream.frames(image)
                first = self._first(stream, image, row, len(references))
                tasks = [
                    self._task(stream, image, number, now, reference)
                    for number, reference in enumerate(references, first)
                ]
                self._found += stream.rows.frames(row, tasks)

    def _streamed(
        self, resource: Document | None, image: ImageKey, index: int | None, uid: str
    ) -> list[FrameReference | str] | str:
        """References to the frames of one index, or why there is none."""
        if resource is None:
            return f"wanted a stream_resource {uid}, found none"
        if index is None:
            return f"wanted an index in its stream_datum of {uid}, found none"
        try:
            frames = frames_per_index(resource, image.frames)
            return from_stream_datum(resource, index, index + 1, frames)
        # What is missing or of another type in documents that others wrote.
        except Exception as error:  # noqa: BLE001
            return str(error) if isinstance(error, FrameError) else f"found {error!r} in its stream_resource"

    def _value(self, resource: Document | None, index: int | None) -> StreamedValue | str:
        try:
            if resource is None or index is None:
                raise FrameError("wanted its stream_resource and an index, found none")
            return streamed_value(resource, index)
        except Exception as error:  # noqa: BLE001
            return reason_of(error)

    def _without_resource(self, stream: _Stream) -> str | None:
        """Data key of the only images that wait for a stream_resource, if there is one such key."""
        described = {resource.get("data_key") for resource in self._assets.resources_of(self.start_document["uid"])}
        missing = [image.key for image in stream.images if image.is_streamed and image.key not in described]
        return missing[0] if len(missing) == 1 else None

    def _task(
        self,
        stream: _Stream,
        image: ImageKey,
        index: int,
        taken: float,
        reference: FrameReference | str,
        coordinates: Document = MappingProxyType({}),
        failure: str = "",
    ) -> FrameTask:
        found, failure = (None, reference) if isinstance(reference, str) else (reference, failure)
        return FrameTask(image.detector, stream.name, index, taken, found, failure, coordinates, stream.coordinate_keys)

    def rest(self) -> list[FrameTask]:
        """Frames that wait for an event, and images of events that wait for their file: no more comes of this run."""
        self._stop({})
        found, self._found = self._found, []
        return found

    def _stop(self, _: Document) -> None:
        """Let go of frames whose events never came, and tell of images that events announced."""
        self._follow_early(all_of_them=True)
        for stream in self._streams.values():
            lacking = [
                (image, one)
                for image in stream.images
                if image.kind == "external"
                for one in stream.rows.lacking(image.key)
            ]
            self._found += stream.rows.rest()
            for image, (row, taken, coordinates) in lacking:
                frames = stream.frames(image)
                first = self._first(stream, image, row, frames)
                if image.is_streamed:
                    text = f"{image.key}: wanted a stream_datum for event {row}, found none"
                else:
                    text = f"{image.key}: wanted an image in the event, found none"
                for index in range(first, first + frames):
                    self._found.append(self._task(stream, image, index, taken, text, coordinates))


def _places(doc: Document) -> Iterable[tuple[int, int | None]]:
    """Rows and indices of a stream_datum, which belong together one by one, as Tiled has it.

    Indices beyond the rows were taken and count for nothing; a row beyond the indices has None.

    Raises
    ------
    FrameError
        They make no sense.
    """
    uid = doc["stream_resource"]
    rows, indices = (_range(doc[name], f"{name} in a stream_datum of {uid}") for name in ("seq_nums", "indices"))
    if rows.stop == 0:  # that a RunEngine did not number
        rows = range(indices.start + 1, indices.stop + 1)
    return islice(zip_longest(rows, indices), len(rows))


def _range(doc: Document, what: str) -> range:
    start, stop = int(doc["start"]), int(doc["stop"])
    if not 0 <= start <= stop or stop - start > MOST_FRAMES:
        raise FrameError(f"wanted a range of {what}, found {start} to {stop}")
    return range(start, stop)


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


def _check_stack(shape: tuple[int, ...], image: ImageKey) -> None:
    """True if an array holds as many images as its data key says; that they fit the calibration is seen later."""
    if len(shape) < 2 or math.prod(shape[:-2]) != image.frames:
        wanted = "(" + ", ".join(map(str, image.shape)) + ")"
        raise FrameError(f"wanted an array of shape {wanted} as its descriptor says, found shape {shape}")
