"""From documents of external assets to the places of frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath, PureWindowsPath
from types import MappingProxyType
from urllib.parse import unquote

from saxs_bluesky.documents._handlers import Handler, HandlerFrame, check_spec
from saxs_bluesky.documents._references import FrameReference, Hdf5Frame, TiffFrame
from saxs_bluesky.documents._streamed_values import StreamedValue
from saxs_bluesky.documents._tiff_sequences import file_of, pages_per_file
from saxs_bluesky.documents._types import Document
from saxs_bluesky.errors import FrameError

_DATASET = "/entry/data/data"  # areaDetector's
# Specs of one HDF5 file with all frames, and where in it they are: area-detector-handlers, bluesky-tiled-plugins.
_HDF5_FILES = {
    "AD_HDF5": _DATASET,
    "AD_HDF5_SWMR": _DATASET,
    "AD_HDF5_SWMR_STREAM": _DATASET,
    "AD_HDF5_SWMR_SLICE": _DATASET,
    "PIL100k_HDF5": _DATASET,
    "PILATUS_HDF5": _DATASET,
    "TPX_HDF5": "/entry/instrument/detector/data",
}
_MIMETYPES = {
    "HDF5": "application/x-hdf5",
    **dict.fromkeys(_HDF5_FILES, "application/x-hdf5"),
    "AD_TIFF": "multipart/related;type=image/tiff",
}


def path_of_resource(resource: Document) -> str:
    """Path that ``root`` and ``resource_path`` make; a slash at its end stays.

    Raises
    ------
    FrameError
        It is not absolute, or one of another operating system.
    """
    root, path = str(resource.get("root") or ""), str(resource["resource_path"])
    if resource.get("path_semantics") == "windows":
        parts = PureWindowsPath(path)
        if PureWindowsPath(root).drive or parts.drive:
            raise FrameError(f"wanted a path of this system, found {PureWindowsPath(root, path)} of Windows")
        root, path = root.replace("\\", "/"), path.replace("\\", "/")
    found = PurePath(root, path)
    if not found.is_absolute():
        raise FrameError(f"wanted an absolute path in root and resource_path, found {str(found)!r}")
    return str(found) + ("/" if path.endswith("/") else "")


def from_datum(
    resource: Document, datum: Document, frames: int, handlers: Mapping[str, Handler] = MappingProxyType({})
) -> list[FrameReference]:
    """References to the frames of a classic ``resource`` and ``datum``: as many as the resource says.

    Parameters
    ----------
    resource, datum
        The documents.
    frames
        How many the descriptor says, where the resource does not.
    handlers
        By spec: what reads its files, before all that is known here.

    Raises
    ------
    FrameError
        The documents lead to no file, or to one that nobody reads.
    """
    spec, kwargs, at = resource["spec"], resource.get("resource_kwargs") or {}, datum.get("datum_kwargs") or {}
    per_point = _frames_per_point(kwargs, at)
    if spec in handlers:
        # What a handler of one's own makes of a path is its own affair.
        path = os.path.join(resource.get("root") or "", resource["resource_path"])  # noqa: PTH118
        return _handled(spec, path, kwargs, at, per_point or frames, handlers[spec])
    path = path_of_resource(resource)
    if spec in (*_HDF5_FILES, "AD_TIFF", "AD_HDF5_SINGLE"):
        point = _point(at, path)
        numbers = range(point * (per_point or 1), (point + 1) * (per_point or 1))
        if spec in _HDF5_FILES:
            dataset = _dataset(kwargs, _HDF5_FILES[spec])
            return [Hdf5Frame(path.rstrip("/"), dataset, number) for number in numbers]
        # The template's folder is a text in front of the name, so it must end in a slash.
        names = [kwargs["template"] % (path.rstrip("/") + "/", kwargs["filename"], number) for number in numbers]
        if spec == "AD_TIFF":
            return [TiffFrame(name) for name in names]
        return [Hdf5Frame(name, _dataset(kwargs, _DATASET), 0) for name in names]
    check_spec(spec)
    return _handled(spec, path, kwargs, at, per_point or frames, None)


def _handled(
    spec: str, path: str, kwargs: Document, at: Document, count: int, handler: Handler | None
) -> list[FrameReference]:
    arguments, place = tuple(kwargs.items()), tuple(at.items())
    return [HandlerFrame(spec, path, arguments, place, index, count, handler) for index in range(count)]


def _frames_per_point(kwargs: Document, at: Document) -> int:
    """How many frames a point has, as the resource says; 0 where it does not."""
    told = kwargs.get("frame_per_point", kwargs.get("frames_per_point", at.get("frame_per_point")))
    if told is None:
        return 0
    if isinstance(told, bool) or int(told) != told or not 0 < told <= MOST_FRAMES:
        raise FrameError(f"wanted a number of frames in frame_per_point, found {told!r}")
    return int(told)


def _point(at: Document, path: str) -> int:
    if "point_number" not in at:
        raise FrameError(f"{path}: wanted a point_number in datum_kwargs, found {dict(at)!r}")
    point = at["point_number"]
    if isinstance(point, bool | str) or int(point) != point or point < 0:
        raise FrameError(f"{path}: wanted a number from 0 on as point_number, found {point!r}")
    return int(point)


def _dataset(parameters: Document, default: str) -> str:
    for name in ("dataset", "path", "key"):
        if parameters.get(name):
            return str(parameters[name])
    return default


MOST_FRAMES = 1_000_000
"""In one document; a number beyond is no number of frames."""


def frames_per_index(resource: Document, frames: int) -> int:
    """How many frames an index of a ``stream_resource`` has; ``frames`` where it does not say.

    Raises
    ------
    FrameError
        What it says is no number of frames.
    """
    parameters = _parameters(resource)
    told = parameters.get("multiplier") or parameters.get("frame_per_point") or frames
    if isinstance(told, bool | str) or int(told) != told or not 0 < told <= MOST_FRAMES:
        raise FrameError(f"wanted a number of frames in multiplier, found {told!r}")
    return int(told)


def from_stream_datum(resource: Document, start: int, stop: int, frames: int) -> list[FrameReference | str]:
    """References to the frames of ``stream_resource`` for the indices of a ``stream_datum``; or why there is none.

    Of a sequence of files either a ``template`` is known for their names, or the list ``files``.

    Parameters
    ----------
    resource
        The document, of today or as it was before event-model 1.20.
    start, stop
        The indices.
    frames
        How many frames each has.

    Raises
    ------
    FrameError
        The kind of file is not known, or its parameters make no sense.
    """
    parameters, kind, path = _parameters(resource), _kind(resource), _path(resource)
    numbers = range(start * frames, stop * frames)
    if kind == "application/x-hdf5":
        if parameters.get("slice"):
            raise FrameError(f"{path}: wanted all of a dataset, found the slice {parameters['slice']!r} of it")
        dataset = _dataset(parameters, _DATASET)
        if "template" not in parameters:
            return [Hdf5Frame(path, dataset, number) for number in numbers]
        pages = pages_per_file(parameters, frames)
        return [_in_sequence(path, parameters, number, pages, dataset) for number in numbers]
    if kind == "multipart/related;type=image/tiff":
        pages = pages_per_file(parameters, frames)
        return [_in_sequence(path, parameters, number, pages) for number in numbers]
    if kind == "image/tiff":
        # More may follow in the same file.
        return [TiffFrame(path, page=number, pages=None if max(stop * frames, number) > 1 else 1) for number in numbers]
    raise FrameError(f"{path}: wanted HDF5 or TIFF files, found {kind}")


def streamed_value(resource: Document, index: int) -> StreamedValue:
    """Where the value of a scanned axis is that is streamed.

    Raises
    ------
    FrameError
        The kind of file is not known.
    """
    kind, path, parameters = _kind(resource), _path(resource), _parameters(resource)
    dataset = _dataset(parameters, "")
    if kind != "application/x-hdf5" or not dataset or "template" in parameters or parameters.get("slice"):
        raise FrameError(f"{path}: wanted values in a dataset of an HDF5 file, found {kind} with {dict(parameters)!r}")
    return StreamedValue(path, dataset, index)


def _in_sequence(folder: str, parameters: Document, number: int, pages: int, dataset: str = "") -> FrameReference | str:
    try:
        file = file_of(folder, parameters, number // pages)
    except FrameError as error:
        return f"{folder}: {error}"
    page = number % pages
    return Hdf5Frame(file, dataset, page) if dataset else TiffFrame(file, page=page, pages=pages)


def _parameters(resource: Document) -> Document:
    found = resource.get("parameters", resource.get("resource_kwargs"))
    return found if isinstance(found, Mapping) else {}


def _kind(resource: Document) -> str:
    if "mimetype" in resource:
        return str(resource["mimetype"]).replace(" ", "")
    spec = str(resource["spec"])
    if spec not in _MIMETYPES:
        raise FrameError(f"wanted HDF5 or TIFF files, found the spec {spec}")
    return _MIMETYPES[spec]


def _path(resource: Document) -> str:
    """Path of the file or folder; a host is not looked at, as shared filesystems have one path for all."""
    if "uri" not in resource:
        return path_of_resource(resource)
    uri = str(resource["uri"])
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", uri.removeprefix("file:")
    elif not rest.startswith("/"):
        rest = "/" + rest.partition("/")[2]
    # No query and no fragment: who writes "run#1" into a file's URI means its name.
    if scheme.lower() != "file" or not rest.startswith("/") or rest == "/":
        raise FrameError(f"wanted the URI of a file with an absolute path, found {uri!r}")
    return unquote(rest)
