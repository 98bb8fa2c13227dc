"""Errors of catalogs in one line, without keys and passwords."""

from __future__ import annotations

import re

from saxs_bluesky.errors import one_line, printable

_KEY = re.compile(r"(?i)(api_?key(?:=|%3D|['\"]?\s*[:=]\s*['\"]?|\s+))[^\s&#'\",)\]}>]+")
_PASSWORD = re.compile(r"(\w://[^\s/:@]+):[^\s/@]+@")


def words(error: BaseException) -> str:
    """Tell an error in one line, without keys and passwords that addresses in it carry."""
    return without_secrets(printable(one_line(error)))


def without_secrets(text: str) -> str:
    """Text without the keys of Tiled servers and the passwords of databases."""
    return _PASSWORD.sub(r"\1:***@", _KEY.sub(r"\1***", text))
