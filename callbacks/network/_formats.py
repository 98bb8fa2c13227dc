"""Documents as bytes, in MessagePack or JSON; never pickle, which runs what a stranger sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import msgpack
import numpy as np

from saxs_bluesky.documents import Document, as_json
from saxs_bluesky.errors import SaxsError

Format = Literal["msgpack", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""MessagePack keeps arrays as they are; in JSON they are lists, and an image takes a hundred times longer."""


def serializer(name: str) -> Callable[[Document], bytes]:
    """Function from a document to bytes.

    NaN and infinity arrive as what they are (in JSON as ``NaN`` and ``Infinity``, like Python's own). NumPy scalars
    become numbers, tuples and sets lists, dates ISO 8601, and what neither format knows its text.

    Raises
    ------
    SaxsError
        There is no such format.
    """
    known: dict[str, Callable[[Document], bytes]] = {
        "msgpack": partial(msgpack.packb, default=_packed),
        "json": _to_json,
    }
    return known[_checked_format(name)]


def deserializer(name: str) -> Callable[[bytes], Any]:
    """Function from the bytes of a document to the document; it raises whatever the format's parser does.

    Raises
    ------
    SaxsError
        There is no such format.
    """
    known: dict[str, Callable[[bytes], Any]] = {
        "msgpack": partial(msgpack.unpackb, object_hook=_unpacked, strict_map_key=False),
        "json": json.loads,
    }
    return known[_checked_format(name)]


def _checked_format(name: str) -> str:
    if name not in FORMATS:
        raise SaxsError(f"serializer: wanted one of {', '.join(FORMATS)}, found {name!r}")
    return name


def _to_json(doc: Document) -> bytes:
    return json.dumps(doc, default=as_json).encode()


# Arrays look as msgpack-numpy writes them, so that a session with ``msgpack_numpy.dumps`` as its serializer is
# understood too. Not msgpack-numpy itself: it unpickles arrays of objects, and an array of type "O" crashes it.


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray) and not (value.dtype.hasobject or value.dtype.kind == "V"):
        kind = {b"nd": True, b"type": value.dtype.str, b"kind": b""}
        return kind | {b"shape": value.shape, b"data": value.tobytes()}
    return as_json(value)


def _unpacked(found: dict[Any, Any]) -> Any:
    if b"nd" not in found:
        return found
    dtype = np.dtype(found[b"type"]) if isinstance(found[b"type"], str) else None
    if dtype is None or dtype.hasobject:
        raise ValueError(f"wanted an array of numbers or text, found type {found[b'type']!r}")
    if found[b"nd"] is True:
        if min(found[b"shape"], default=0) < 0:
            raise ValueError(f"wanted an array's shape, found {found[b'shape']!r}")
        return np.ndarray(buffer=found[b"data"], dtype=dtype, shape=found[b"shape"])
    return np.frombuffer(found[b"data"], dtype=dtype)[0].item()
