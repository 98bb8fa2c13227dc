"""Tables that keep what was put into them last."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def keep_latest(table: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Put a value into a table, and let go of its oldest entry where there are more than ``most``."""
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]
