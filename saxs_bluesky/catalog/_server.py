"""The catalog behind a Tiled server."""

from __future__ import annotations

from typing import Any

from saxs_bluesky.catalog._clients import SPEC, clients, with_own_v1
from saxs_bluesky.errors import CatalogError

_ANSWER_TIMEOUT = 10.0  # seconds until a server that says nothing counts as away


def from_server(uri: str) -> Any:
    import httpx
    from tiled.client import from_uri

    try:
        # Tiled's client would go on trying for most of a minute.
        httpx.get(uri, timeout=_ANSWER_TIMEOUT, follow_redirects=True)
        catalog = from_uri(uri, clients())
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, ValueError) as error:
        raise CatalogError(f"{uri}: wanted a Tiled server that answers, found {error}") from error
    found = [spec.name for spec in getattr(catalog, "specs", None) or []]
    if SPEC["name"] not in found:
        raise CatalogError(f"{uri}: wanted a {SPEC['name']}, found specs {', '.join(found) or 'none'}")
    return with_own_v1(catalog)
