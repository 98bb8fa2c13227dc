"""Cells of tables as texts, a whole column at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from saxs_bluesky.errors import printable
from saxs_bluesky.reduction.formats.short_decimals import short_decimals

Texts: TypeAlias = Any  # a pyarrow array of strings, null where a cell is empty

# Between these, Arrow writes numbers with many digits as Python does; beyond, it has other exponents.
_SMALLEST, _LARGEST = 1e-4, 1e10


def cell_texts(column: pd.Series[Any]) -> Texts:
    """Cells of a column as Python writes them; null where they are empty.

    Numbers of type ``float64`` have as many digits as tell them apart from all others: ``137.0``, ``1e-05``.
    """
    if pd.api.types.is_float_dtype(column.dtype):
        return float_texts(column.to_numpy(dtype=np.float64))
    if pd.api.types.is_bool_dtype(column.dtype):
        return pc.if_else(pa.array(column.to_numpy(dtype=bool)), "True", "False")
    if pd.api.types.is_integer_dtype(column.dtype):
        return pc.cast(pa.array(column.to_numpy(dtype=np.int64)), pa.string())
    if column.dtype.kind == "M":
        return _date_texts(column)
    return pa.array(plain_texts(column), pa.string())


def float_texts(values: NDArray[np.float64]) -> Texts:
    """Numbers as Python writes them; null for NaN, shape ``(n,)``."""
    short = short_decimals(values)
    texts = pa.StringArray.from_buffers(len(values), pa.py_buffer(short.offsets), pa.py_buffer(short.data))
    if not short.others.any():
        return texts
    return pc.replace_with_mask(texts, pa.array(short.others), _long_texts(values[short.others]))


def _long_texts(values: NDArray[np.float64]) -> Texts:
    texts = pc.cast(pa.array(values, from_pandas=True), pa.string())
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        odd = ((size < _SMALLEST) | (size >= _LARGEST)) & np.isfinite(values)
    if not odd.any():
        return texts
    return pc.replace_with_mask(texts, pa.array(odd), pa.array(map(repr, values[odd].tolist()), pa.string()))


def plain_texts(column: pd.Series[Any]) -> list[str | None]:
    r"""Cells of a column of texts, or of texts and others; None where they are empty.

    Texts that cannot be written in UTF-8 (names of files that are none) have ``\udc80`` and so on instead.
    """
    missing = column.isna().tolist()
    texts = [None if empty else str(value) for value, empty in zip(column.tolist(), missing, strict=True)]
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        return [text if text is None else _encodable(text) for text in texts]
    return texts


def with_plain_texts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with nothing but numbers, times and texts."""
    columns = {
        number: column
        if column.dtype.kind in "fiubM"
        else pd.Series(plain_texts(column), index=table.index, dtype=object)
        for number, (_, column) in enumerate(table.items())
    }
    plain = pd.DataFrame(columns, index=table.index)
    plain.columns = table.columns
    return plain


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return printable(text)
    return text


def _date_texts(column: pd.Series[Any]) -> Texts:
    """Times of a column, without decimals where all are whole seconds."""
    dates = column.to_numpy(dtype="datetime64[ns]")
    missing = np.isnat(dates)
    seconds = dates.astype("datetime64[s]")
    unit = "s" if (missing | (seconds == dates)).all() else "us"
    return pc.cast(pa.array(dates.astype(f"datetime64[{unit}]"), mask=missing), pa.string())


def time_texts(index: pd.DatetimeIndex) -> Texts:
    """Times to the microsecond, always with six digits: ``2014-07-21 10:00:05.728500``."""
    microseconds = (index.as_unit("ns").asi8 + 500) // 1000
    return pc.cast(pa.array(microseconds.astype("datetime64[us]")), pa.string())


def joined(texts: list[Texts], between: str = "", *, missing: str = "") -> Texts:
    """Texts of columns put together, row by row."""
    return pc.binary_join_element_wise(*texts, between, null_handling="replace", null_replacement=missing)


def content(texts: Texts) -> memoryview:
    """All texts of an array, one directly after the other, in UTF-8; it must have no nulls and be no slice."""
    if not len(texts):
        return memoryview(b"")
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1)
    return memoryview(data)[: int(ends[-1])]
