"""Values of documents in JSON, which knows neither arrays nor NumPy's numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any

import numpy as np

_ARRAY = "__ndarray__"


def as_json(value: Any) -> Any:
    """What stands in JSON for a value that it does not know, for ``json.dumps(default=...)``: arrays become lists.

    NumPy's numbers become numbers, sets and tuples lists, dates ISO 8601, and all else its text.
    """
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "__array__"):
        return np.asarray(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet | tuple):
        return list(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def as_exact_json(value: Any) -> Any:
    """What stands in JSON for a value that it does not know; arrays of numbers keep their bits and their type."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {_ARRAY: [value.dtype.str, list(value.shape), data]}
    return as_json(value)


def from_exact_json(found: dict[str, Any]) -> Any:
    """Make an array again of what `as_exact_json` made of it, for ``json.loads(object_hook=...)``.

    The array is new and may be written to; any other object stays as it is.
    """
    if _ARRAY not in found:
        return found
    dtype, shape, data = found[_ARRAY]
    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape).copy()
