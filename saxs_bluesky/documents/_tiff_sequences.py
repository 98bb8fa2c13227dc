"""Sequences of TIFF files in a ``stream_resource``: which file, and which page of it, a frame is."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from saxs_bluesky.errors import FrameError


def pages_per_file(parameters: Mapping[str, Any], frames: int) -> int:
    """How many frames each file holds, as bluesky-tiled-plugins' consolidators have it.

    ``files_per_datum`` says it for the ``frames`` of an index. Otherwise a chunk is a file: ``chunk_shape`` is
    (pages, rows, columns), or with ``join_method`` "stack" (indices, frames, rows, columns). Where neither fits the
    other, each index has a file of its own. Without any of these a file holds one frame.

    Parameters
    ----------
    parameters
        Of the ``stream_resource``.
    frames
        How many frames an index has, as the descriptor says.

    Raises
    ------
    FrameError
        The parameters make no sense.
    """
    try:
        chunk = tuple(int(size) for size in parameters.get("chunk_shape") or ())
        files = int(parameters.get("files_per_datum") or 0)
    except (TypeError, ValueError) as error:
        raise FrameError(f"wanted sizes in chunk_shape and files_per_datum, found {error}") from error
    if any(size < 1 for size in chunk) or files < 0:
        raise FrameError(f"wanted sizes of 1 at least in chunk_shape, found {chunk}")
    stacked = parameters.get("join_method") == "stack"
    if files:
        return max(frames // files, 1)
    if len(chunk) > 2:
        pages = math.prod(chunk[:-2])
    elif len(chunk) == 1 and not stacked:
        pages = chunk[0]
    else:
        pages = frames if stacked and not parameters.get("multiplier") else 1
    return pages if frames % pages == 0 or pages % frames == 0 else frames


def file_of(folder: str, parameters: Mapping[str, Any], number: int) -> str:
    """Path of a file of a sequence by its number: of ``files``, or by the ``template``.

    Raises
    ------
    FrameError
        There is none of this number.
    """
    if "files" in parameters:
        files = parameters["files"]
        if number >= len(files):
            raise FrameError(f"wanted file {number} (from 0), found a list of {len(files)}")
        return str(files[number])
    return _in(folder, _name(str(parameters["template"]), str(parameters.get("filename") or ""), number))


def _name(template: str, filename: str, number: int) -> str:
    """Name by a template of today, ``x_{:06d}.tif``, or of areaDetector, ``%s%s_%06d.tif`` of folder, name, number."""
    if "%" not in template:
        return template.format(number, filename=filename)
    texts = template.count("%s")
    return template % (*("", filename)[2 - min(texts, 2) :], number)


def _in(folder: str, name: str) -> str:
    """Path of a file: URI and name may each have the slash between them, or the URI is the beginning of the name."""
    if not (folder.endswith("/") or name.startswith("/")) and not os.path.isdir(folder):  # noqa: PTH112
        above = folder.rpartition("/")[0]
        if os.path.isdir(above or "/"):  # noqa: PTH112
            return folder + name
    return f"{folder.rstrip('/')}/{name.lstrip('/')}"
