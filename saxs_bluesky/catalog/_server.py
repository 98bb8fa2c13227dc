"""The catalog behind a Tiled server."""

from __future__ import annotations

import os
from typing import Any

from saxs_bluesky.catalog._clients import SPEC, clients, with_own_v1
from saxs_bluesky.catalog._errors import without_secrets, words
from saxs_bluesky.catalog._keys import split_key
from saxs_bluesky.errors import CatalogError

_ANSWER_TIMEOUT = 10.0  # seconds until a server that says nothing counts as away
_VARIABLE = "TILED_API_KEY"
_UNAUTHORIZED = (401, 403)


def from_server(uri: str) -> Any:
    """Open the catalog of a server; the key goes into the header of requests, never into an address."""
    import httpx

    address, key = split_key(uri)
    key = key or os.environ.get(_VARIABLE) or None
    shown = without_secrets(address)
    try:
        # Tiled's client would go on trying for most of a minute.
        httpx.get(address, timeout=_ANSWER_TIMEOUT, follow_redirects=True)
        return _connected(address, key, shown)
    except httpx.HTTPStatusError as error:
        if error.response.status_code in _UNAUTHORIZED:
            raise CatalogError(f"{shown}: the server does not accept the key: {_remedy(key)}") from None
        raise CatalogError(f"{shown}: wanted a Tiled server that answers, found {words(error)}") from error
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, ValueError) as error:
        if key is None and "API key" in str(error):
            raise CatalogError(f"{shown}: the server wants a key: {_remedy(key)}") from None
        raise CatalogError(f"{shown}: wanted a Tiled server that answers, found {words(error)}") from error


def _connected(address: str, key: str | None, shown: str) -> Any:
    from tiled.client import from_context
    from tiled.client.context import Context

    context, path = Context.from_any_uri(address, api_key=key)
    try:
        catalog = from_context(context, clients(), node_path_parts=path)
        found = [spec.name for spec in getattr(catalog, "specs", None) or []]
        if SPEC["name"] not in found:
            raise CatalogError(f"{shown}: wanted a {SPEC['name']}, found specs {', '.join(found) or 'none'}")
        return with_own_v1(catalog)
    except BaseException:
        context.close()
        raise


def _remedy(key: str | None) -> str:
    return f"set {_VARIABLE} in the environment to {'a key' if key is None else 'another key'} of the server"
