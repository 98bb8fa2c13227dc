"""Files of raw runs that were moved: from old folders to new ones, wherever a catalog tells of them."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from saxs_bluesky.errors import CatalogError

Folders = Mapping[str, str] | Mapping[Path, Path] | Mapping[str, Path] | Mapping[Path, str]

_maps: WeakKeyDictionary[Any, RootMap] = WeakKeyDictionary()


class RootMap:
    """Folders as they were, and where they are now.

    Parameters
    ----------
    folders
        New folders by old ones; the longest that fits counts.
    is_served
        Whether the server of the catalog tells the new ones itself.
    """

    def __init__(self, folders: Folders | None = None, *, is_served: bool = False) -> None:
        self.is_served = is_served
        self.folders: dict[str, str] = {}
        self.replace(folders or {})

    def replace(self, folders: Folders) -> None:
        """Take other folders."""
        made = {str(old).rstrip("/"): str(new).rstrip("/") for old, new in folders.items()}
        for old, new in made.items():
            if not (old.startswith("/") and new.startswith("/")):
                raise CatalogError(f"root_map: wanted absolute folders below /, found {old!r} and {new!r}")
        self.folders = dict(sorted(made.items(), key=lambda item: -len(item[0])))

    def path(self, path: str) -> str:
        """Where a file is now."""
        for old, new in self.folders.items():
            if path == old or path.startswith(f"{old}/"):
                return new + path[len(old) :]
        return path

    def uri(self, uri: str) -> str:
        """The address of a file now; others stay as they are."""
        parts = urlsplit(uri)
        if parts.scheme != "file" or not self.folders:
            return uri
        path = self.path(parts.path)
        return uri if path == parts.path else urlunsplit(parts._replace(path=path))

    def source(self, source: Any) -> Any:
        """A data source of Tiled, the server's or the client's, with its files where they are now."""
        if not self.folders:
            return source
        moved = copy.copy(source)
        moved.assets = [copy.copy(asset) for asset in source.assets]
        for asset in moved.assets:
            asset.data_uri = self.uri(asset.data_uri)
        return moved

    def document(self, name: str, doc: dict[str, Any]) -> dict[str, Any]:
        """A document, with its files where they are now."""
        if name == "stream_resource":
            return doc | {"uri": self.uri(doc["uri"])}
        return doc


def remember(catalog: Any, root_map: RootMap) -> None:
    """Keep the folders with a catalog and all clients that share its connection."""
    _maps[catalog.context] = root_map


def root_map_of(catalog: Any) -> RootMap:
    """The folders that a catalog was opened with."""
    return _maps.get(catalog.context) or RootMap()


class MappedAdapter:
    """One of Tiled's adapters for files, which looks for them where they are now.

    Parameters
    ----------
    mimetype
        Of the files.
    root_map
        The folders.
    """

    def __init__(self, mimetype: str, root_map: RootMap) -> None:
        self._mimetype = mimetype
        self._root_map = root_map

    @property
    def _adapter(self) -> Any:
        # Only now: each adapter imports a library of its own.
        from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE

        return DEFAULT_ADAPTERS_BY_MIMETYPE[self._mimetype]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def from_catalog(self, source: Any, node: Any, /, **parameters: Any) -> Any:
        """Make the adapter of a node."""
        if uris := parameters.get("data_uris"):  # of the files that one request needs, None for the others
            parameters["data_uris"] = [uri if uri is None else self._root_map.uri(uri) for uri in uris]
        return self._adapter.from_catalog(self._root_map.source(source), node, **parameters)


def mapped_exporter(exporter: Any, root_map: RootMap) -> Any:
    """An exporter of documents that tells where files are now."""

    async def export(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> AsyncIterator[str]:
        async for record in exporter(mimetype, adapter, metadata, filter_for_access):
            if not root_map.folders or '"stream_resource"' not in record:
                yield record
                continue
            found = json.loads(record.lstrip("\x1e"))
            found["doc"] = root_map.document(found["name"], found["doc"])
            yield f"\x1e{json.dumps(found)}\n"

    return export
