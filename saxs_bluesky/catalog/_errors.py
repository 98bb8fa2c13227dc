"""Errors of catalogs, in words, and which of them pass."""

from __future__ import annotations

import re
from collections.abc import Iterator

from saxs_bluesky.errors import one_line, printable

_KEY = re.compile(r"(?i)(api_?key(?:=|%3D|['\"]?\s*[:=]\s*['\"]?|\s+))[^\s&#'\",)\]}>]+")
_PASSWORD = re.compile(r"(\w://[^\s/:@]+):[^\s/@]+@")
_BUSY = re.compile(r"(?i)database (table )?is locked|database is busy|SQLITE_(BUSY|LOCKED)|cannot commit transaction")
_SERVER_ERROR, _TOO_MANY = 500, 429


def words(error: BaseException) -> str:
    """Tell an error in one line, without keys and passwords that addresses in it carry."""
    return without_secrets(printable(one_line(error)))


def without_secrets(text: str) -> str:
    """Text without the keys of Tiled servers and the passwords of databases."""
    return _PASSWORD.sub(r"\1:***@", _KEY.sub(r"\1***", text))


def may_pass(error: BaseException) -> bool:
    """Whether trying again later may help: a locked database, a server that is away or overloaded."""
    import httpx

    for each in _chain(error):
        if isinstance(each, httpx.HTTPStatusError):
            status = each.response.status_code
            return status == _TOO_MANY or status >= _SERVER_ERROR
        if isinstance(each, httpx.TransportError) or _BUSY.search(str(each)):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
