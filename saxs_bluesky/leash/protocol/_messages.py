"""Bytes to checked JSON values and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NoReturn

import numpy as np

from saxs_bluesky.leash.protocol._errors import Kind, LeashError

_LONGEST_NUMBER = 300  # digits of an integer: all that a float can hold, and short work to convert


def parse(text: bytes, where: str, *, depth: int, values: int, surrogates: bool = False) -> Any:
    """Parse a JSON document that may be hostile.

    Parameters
    ----------
    text
        UTF-8, without a byte order mark.
    where
        What errors call it.
    depth
        Most brackets within brackets.
    values
        Most entries of all lists and objects together.
    surrogates
        Whether texts may hold what is no character: file names with bytes outside of UTF-8 do.

    Raises
    ------
    LeashError
        It is not JSON, names a key twice in one object, or is beyond a bound.
    """

    def refuse(found: str) -> NoReturn:
        raise LeashError(Kind.VALUE, f"{where}: {found}")

    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=_unique_keys, parse_int=_integer)
    except UnicodeDecodeError:
        refuse("wanted JSON text in UTF-8, found other bytes")
    except json.JSONDecodeError as error:
        refuse(f"wanted JSON, found {error.msg.lower()} at line {error.lineno} column {error.colno}")
    except RecursionError:
        refuse("wanted JSON, found brackets nested too deeply to be read")
    except ValueError as error:
        refuse(str(error))
    _check_structure(document, depth, values, surrogates, refuse)
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("wanted each key once, found one twice in one object")
    return document


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"wanted whole numbers of at most {_LONGEST_NUMBER} digits, found {len(digits)}")
    return int(digits)


def _check_structure(document: Any, depth: int, values: int, surrogates: bool, refuse: Any) -> None:
    level = [document]
    count = 0
    for _ in range(depth + 1):
        following: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                following += value.values()
                texts = [*value]
            elif isinstance(value, list):
                following += value
                continue
            else:
                texts = [value] if isinstance(value, str) else []
            if not surrogates and not all(map(_is_text, texts)):
                refuse("wanted characters, found half of a surrogate pair in a text")
        count += len(following)
        if count > values:
            refuse(f"wanted at most {values} values, found more")
        if not following:
            return
        level = following
    refuse(f"wanted brackets nested at most {depth} deep, found more")


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def encode(document: Any) -> bytes:
    """JSON as deployed programs read it: ASCII, and the bare token ``NaN`` for what is not finite.

    Numbers and arrays of NumPy become numbers and lists, paths become texts. Infinities become
    NaN too: not every client reads ``Infinity``.

    Raises
    ------
    LeashError
        It holds what JSON cannot.
    """
    try:
        return json.dumps(plain(document)).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise LeashError(Kind.SERVER, f"wanted values that JSON can hold, found others ({error})") from error


def plain(value: Any) -> Any:
    """Value in JSON's own types; TypeError where there is none for it."""
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (bool, int, str, type(None)) else _base(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else math.nan
    if isinstance(value, Mapping):
        return {_key(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return np.where(np.isfinite(value), value, np.nan).astype(float).tolist()
        return plain(value.tolist())
    if isinstance(value, np.bool | np.integer | np.floating | np.str_):
        return plain(value.item())
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__}")


def _base(value: Any) -> Any:
    # An enumeration, or NumPy's text.
    return str(value) if isinstance(value, str) else int(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return str(int(key))
    raise TypeError(f"a key that is a {type(key).__name__}")


@dataclass(frozen=True)
class Attachment:
    """A file that travels with a request.

    Parameters
    ----------
    filename
        What it is called where it comes from; never a path to write to.
    data
        Its text; bytes that are no text, each as the character of that number (Latin-1).
    """

    filename: str
    data: str

    @classmethod
    def from_bytes(cls, filename: str, content: bytes) -> Attachment:
        """Make an attachment of a file that is no text."""
        return cls(filename, content.decode("latin-1"))

    def content(self) -> bytes:
        """Content of a file that is no text.

        Raises
        ------
        LeashError
            It is one, with characters beyond Latin-1.
        """
        try:
            return self.data.encode("latin-1")
        except UnicodeEncodeError as error:
            found = f"U+{ord(self.data[error.start]):04X}"
            raise LeashError(
                Kind.VALUE, f"{self.filename}: wanted bytes as characters up to U+00FF, found {found}"
            ) from None

    def part(self) -> bytes:
        """The part of a message that it is."""
        return json.dumps({"filename": self.filename, "data": self.data}).encode("ascii")
