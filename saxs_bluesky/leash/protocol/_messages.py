"""JSON of requests and answers: from bytes to checked values and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from saxs_bluesky.leash.protocol._errors import Kind, LeashError
from saxs_bluesky.schemas import decode_json

_LONGEST_NUMBER = 300  # digits of an integer: more than any float has, and quick to convert


def parse(text: bytes, where: str, *, depth: int, values: int, surrogates: bool = False) -> Any:
    """Parse a JSON document that may be hostile.

    Parameters
    ----------
    text
        UTF-8, without a byte order mark.
    where
        What errors call the document.
    depth
        Highest number of nested brackets.
    values
        Highest number of entries in all lists and objects together.
    surrogates
        Allow surrogates in texts: file names whose bytes are not UTF-8 have them.

    Raises
    ------
    LeashError
        It is not JSON, names a key twice in one object, or exceeds a limit.
    """
    try:
        document = decode_json(text, parse_int=_integer)
        _check_structure(document, depth, values, surrogates)
    except ValueError as error:
        raise LeashError(Kind.VALUE, f"{where}: {error}") from None
    return document


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"wanted whole numbers of at most {_LONGEST_NUMBER} digits, found {len(digits)}")
    return int(digits)


def _check_structure(document: Any, depth: int, values: int, surrogates: bool) -> None:
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
            if not surrogates and not all(map(is_text, texts)):
                raise ValueError("wanted characters, found half of a surrogate pair in a text")
        count += len(following)
        if count > values:
            raise ValueError(f"wanted at most {values} values, found more")
        if not following:
            return
        level = following
    raise ValueError(f"wanted brackets nested at most {depth} deep, found more")


def is_text(text: str) -> bool:
    """True if a text can be written in UTF-8: it holds no surrogates."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def encode(document: Any) -> bytes:
    """Encode a document as JSON that deployed programs read: ASCII, with the bare token ``NaN``.

    NumPy's numbers and arrays become numbers and lists, paths become texts, and infinities become NaN: not every client
    reads ``Infinity``.

    Raises
    ------
    LeashError
        A value has no form in JSON.
    """
    try:
        return json.dumps(json_values(document)).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise LeashError(Kind.SERVER, f"wanted values that JSON can hold, found others ({error})") from error


def json_values(value: Any) -> Any:
    """Convert a value to the types that JSON has.

    Raises
    ------
    TypeError
        There is none for it.
    """
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (bool, int, str, type(None)) else _base(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else math.nan
    if isinstance(value, Mapping):
        return {_key(key): json_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(entry) for entry in value]
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return np.where(np.isfinite(value), value, np.nan).astype(float).tolist()
        return json_values(value.tolist())
    if isinstance(value, np.bool | np.integer | np.floating | np.str_):
        return json_values(value.item())
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__}")


def _base(value: Any) -> Any:
    # An enumeration, or a text of NumPy.
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
        Its name on the sender's computer; never a path to write to.
    data
        Its text; of a binary file each byte as the character of that number (Latin-1).
    """

    filename: str
    data: str

    @classmethod
    def from_bytes(cls, filename: str, content: bytes) -> Attachment:
        """Make an attachment of a binary file."""
        return cls(filename, content.decode("latin-1"))

    def content(self) -> bytes:
        """Bytes of a binary file.

        Raises
        ------
        LeashError
            The text has characters beyond Latin-1, and so is that of no binary file.
        """
        try:
            return self.data.encode("latin-1")
        except UnicodeEncodeError as error:
            found = f"U+{ord(self.data[error.start]):04X}"
            raise LeashError(
                Kind.VALUE, f"{self.filename}: wanted bytes as characters up to U+00FF, found {found}"
            ) from None

    def part(self) -> bytes:
        """Encode it as a part of a message."""
        return json.dumps({"filename": self.filename, "data": self.data}).encode("ascii")
