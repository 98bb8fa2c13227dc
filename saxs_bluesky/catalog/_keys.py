"""Keys of Tiled servers, which stand in no message, no log and no address that is asked for."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_KEY = "api_key"


def split_key(uri: str) -> tuple[str, str | None]:
    """Take the key out of the address of a Tiled server.

    Parameters
    ----------
    uri
        Address of the server, with or without ``api_key``.

    Returns
    -------
    The address without it, and the key; None where there is none in it.
    """
    parts = urlsplit(uri)
    query = parse_qsl(parts.query, keep_blank_values=True)
    keys = [value for name, value in query if name == _KEY]
    if not keys:
        return uri, None
    rest = [(name, value) for name, value in query if name != _KEY]
    return urlunsplit(parts._replace(query=urlencode(rest))), keys[-1]


def without_key(where: str) -> str:
    """Where a catalog is, a folder or an address, as it may be shown and kept."""
    return split_key(where)[0] if "://" in where else where
