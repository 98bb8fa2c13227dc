"""Names of columns made fit to be data keys: for documents, databases, xarray and Python."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_OTHER = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 56  # characters: PostgreSQL takes 63, and Tiled puts "ts_" before the names of timestamps
_COLUMNS_OF_EVENTS = {"seq_num", "time"}


def clean_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Make names that can be data keys, no two of which differ by capital letters alone.

    ``Ioni         (Dlogger)`` becomes ``Ioni_Dlogger``; letters lose their accents, and what is no letter, digit or
    hyphen becomes an underscore. A name that is taken gets a number: ``Ioni_Dlogger_2``.

    Parameters
    ----------
    names
        What the columns are called.
    taken
        Names that are given already.

    Returns
    -------
    A name for each, in their order.
    """
    given = {name.lower() for name in taken} | _COLUMNS_OF_EVENTS
    made = []
    for name in names:
        clean = free = _clean(name)
        number = 1
        while free.lower() in given:
            number += 1
            free = f"{clean}_{number}"
        given.add(free.lower())
        made.append(free)
    return made


def _clean(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    clean = _OTHER.sub("_", plain).strip("_-")[:_LONGEST]
    # Databases want a letter first, and ts_... is the timestamp of another key.
    return clean if clean[:1].isalpha() and not clean.lower().startswith("ts_") else f"column_{clean}".rstrip("_")
