"""Arrays of a stream in Tiled, made also where an attempt before has left its folder."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from saxs_bluesky.catalog._values import MisfitError, array_row
from saxs_bluesky.catalog.tables import child_of, put_source, source_of

_BESIDE = "saxs-bluesky-array-"  # child of a run, for moments: where an array is made


def make_array(
    run: Any, stream: Any, key: str, block: np.ndarray, metadata: Mapping[str, Any], dims: Sequence[str], tags: Any
) -> Any:
    """Make an array with its first rows.

    Tiled makes the array's folder before it commits the array to its database. Where the second failed (no space, a
    lock, a program that was killed), the folder is there, belongs to nothing, and lets every further attempt fail.
    Then the array is made elsewhere, and the stream refers to it there.

    Parameters
    ----------
    run, stream
        The containers.
    key, block, metadata, dims, tags
        The array's name, its first rows, and what Tiled keeps beside it.
    """
    import httpx
    from zarr.errors import ContainsArrayError, ContainsGroupError

    try:
        return stream.write_array(block, key=key, metadata=dict(metadata), dims=tuple(dims), access_tags=tags)
    except (ContainsArrayError, ContainsGroupError):
        pass
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
            raise
    return _made_beside(run, stream, key, block, metadata, dims, tags)


def _made_beside(
    run: Any, stream: Any, key: str, block: np.ndarray, metadata: Mapping[str, Any], dims: Sequence[str], tags: Any
) -> Any:
    from tiled.structures.core import StructureFamily
    from tiled.structures.data_source import Management

    name = f"{_BESIDE}{uuid.uuid4().hex[:12]}"
    beside = run.create_container(key=name, access_tags=tags)
    made = beside.write_array(block, key=key, dims=tuple(dims), access_tags=tags)
    source = source_of(made)
    assets = [dataclasses.replace(asset, id=None) for asset in source.assets]
    external = dataclasses.replace(source, management=Management.external, assets=assets, id=None)
    node = stream.new(StructureFamily.array, [external], key=key, metadata=dict(metadata), specs=[], access_tags=tags)
    make_writable(node, source)
    _drop(run, name)
    return child_of(stream, key)


def make_writable(node: Any, source: Any | None = None) -> None:
    """Let Tiled write to an array that it has been told of, unless it does."""
    from tiled.structures.data_source import Management

    own = source_of(node)
    if own.management == Management.external:
        put_source(node, dataclasses.replace(source or own, management=Management.writable, id=own.id))


def drop_beside(run: Any) -> None:
    """Remove what a program left that ended while it made an array; its data stay, since a stream may refer to them."""
    for name in [name for name in run if name.startswith(_BESIDE)]:
        _drop(run, name)


def _drop(run: Any, name: str) -> None:
    from tiled.structures.data_source import Management

    beside = child_of(run, name)
    for key in list(beside):
        node = child_of(beside, key)
        put_source(node, dataclasses.replace(source_of(node), management=Management.external))
    run.delete_contents([name], recursive=True)


def refused_key(key: str) -> str:
    """Why no array can have this name."""
    bad = not key or "/" in key or key.startswith(".")
    return "wanted a name that can stand in an address, found another" if bad else ""


def fits(value: Any, there: Any) -> bool:
    """True if a value can be a row of an array that is there."""
    try:
        array_row(value, there.dtype, there.shape[1:])
    except MisfitError:
        return False
    return True
