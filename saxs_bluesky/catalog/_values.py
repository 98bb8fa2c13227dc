"""Values of events, made to fit the columns and arrays that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from saxs_bluesky.errors import printable

#: Kinds of columns; what an array is that cannot be stored as one stands as JSON in a column of text.
NUMBER, INTEGER, BOOLEAN, STRING, JSON, ARRAY = "number", "integer", "boolean", "string", "json", "array"

_EXACT = 2**53  # up to here floating point tells all whole numbers apart
_LONGEST_SHOWN = 40


class MisfitError(ValueError):
    """A value that its column or array cannot hold."""


class NotWholeError(MisfitError):
    """A number with a fraction in a column of whole ones."""


def kind_of(entry: Mapping[str, Any], values: Sequence[Any]) -> str:
    """What kind of column a key gets, by its entry in the descriptor and by its first values."""
    dtype = entry.get("dtype")
    if dtype == "array":
        return ARRAY if None not in entry.get("shape", ()) and are_alike(values) else JSON
    if dtype in ("number", "integer"):
        kind = str(entry.get("dtype_numpy", ""))[1:2]
        whole = kind in ("i", "u") if kind else dtype == "integer"
        fractions = any(isinstance(value, float) and not _is_whole(value) for value in values)
        return INTEGER if whole and not fractions else NUMBER
    return {"boolean": BOOLEAN, "string": STRING}.get(str(dtype), JSON)


def are_alike(values: Iterable[Any]) -> bool:
    """True if arrays are there, none is empty, and all have one shape."""
    try:
        shapes = {as_array(value).shape for value in values if isinstance(value, list | tuple | np.ndarray)}
    except MisfitError:
        return False
    return len(shapes) == 1 and math.prod(next(iter(shapes))) > 0


def as_array(value: Any) -> np.ndarray:
    """Take what an event brought for an array.

    Raises
    ------
    MisfitError
        It is none, or its rows differ in length.
    """
    if not isinstance(value, list | tuple | np.ndarray):
        raise MisfitError(f"wanted an array, found {shown(value)}")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise MisfitError("wanted an array, found lists of different lengths") from error
    if array.dtype.kind not in "biufcUS":
        raise MisfitError(f"wanted an array of one type, found {shown(value)}")
    return array


def array_row(value: Any, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Make one row of a stored array.

    Raises
    ------
    MisfitError
        It has another shape, or numbers that the array's type does not have.
    """
    array = as_array(value)
    if array.shape != shape:
        raise MisfitError(f"wanted an array of shape {shape}, found {array.shape}")
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype, copy=False)
    if dtype.kind == "f" and array.dtype.kind in "iuf":
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        try:
            made = array.astype(dtype)
        except (ValueError, TypeError) as error:
            raise MisfitError(f"wanted an array of {dtype}, found {array.dtype}") from error
    if not np.array_equal(made, array):
        raise MisfitError(f"wanted an array of {dtype}, found {array.dtype} with values that it does not have")
    return made


def empty_row(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Stand in an array for a value that is not there: NaN, or the number farthest from what is measured."""
    if dtype.kind in "fc":
        return np.full(shape, np.nan, dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.full(shape, limits.min if dtype.kind == "i" else limits.max, dtype)
    return np.zeros(shape, dtype)


def fitted(kind: str, value: Any) -> Any:
    """Make a value that a column of this kind can hold.

    Raises
    ------
    NotWholeError
        A number with a fraction, for a column of whole numbers.
    MisfitError
        Any other value that the column cannot hold.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if kind == JSON:
        return None if value is None else _as_json(value)
    if value is None:
        raise MisfitError(f"wanted a {kind}, found None")
    made = _MAKERS[kind](value)
    if made is None:
        raise MisfitError(f"wanted a {kind}, found {shown(value)}")
    return made


def absent(kind: str) -> Any:
    """Stand in a column for a value that is not there."""
    return math.nan if kind == NUMBER else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, bool | int | float) else None
    except OverflowError:
        return None


def _integer(value: Any) -> int | None:
    if isinstance(value, float):
        if not _is_whole(value):
            raise NotWholeError(f"wanted a whole number, found {shown(value)}")
        value = int(value)
    return int(value) if isinstance(value, int) and -(2**63) <= value < 2**63 else None


def _boolean(value: Any) -> bool | None:
    return bool(value) if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)) else None


def _string(value: Any) -> str | None:
    if isinstance(value, bool | int | float):
        return str(value)
    # PostgreSQL stores no NUL, and nobody a half of a surrogate pair.
    return value if isinstance(value, str) and "\0" not in value and _is_utf8(value) else None


_MAKERS = {NUMBER: _number, INTEGER: _integer, BOOLEAN: _boolean, STRING: _string}


def _as_json(value: Any) -> str:
    try:
        text = json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, default=_plain)
    except (TypeError, ValueError) as error:
        raise MisfitError(f"wanted a value that JSON can tell, found {shown(value)}") from error
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) <= _EXACT


def is_exact(numbers: np.ndarray) -> bool:
    """True if floating point can tell these whole numbers apart."""
    return not len(numbers) or bool(np.abs(numbers.astype(float)).max() <= _EXACT)


def shown(value: Any) -> str:
    """Show a value in a message: its type, and its beginning."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value)
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return f"{type(value).__name__} {printable(short)}"
