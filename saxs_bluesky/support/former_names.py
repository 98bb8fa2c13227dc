"""Names of a module that are looked up when they are used: those that have moved, and those that load slowly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any


def former_names(
    module: str, places: Mapping[str, str], loaded_late: Mapping[str, str] = MappingProxyType({})
) -> Callable[[str], Any]:
    """Give the ``__getattr__`` of a module some of whose names have moved.

    Parameters
    ----------
    module
        The module's ``__name__``.
    places
        For each former name, where it is now: ``{"FilePipeline": "saxs_bluesky.file_pipeline.FilePipeline"}``.
    loaded_late
        Names that have not moved, but whose module is loaded only when they are used; where each is.

    Returns
    -------
    A function that takes a name and returns what it stands for, after a `DeprecationWarning` if it has moved.

    Raises
    ------
    AttributeError
        By that function: the module never had such a name.
    """

    def get(name: str) -> Any:
        place = loaded_late.get(name) or places.get(name)
        if place is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if name not in loaded_late:
            warnings.warn(f"{module}.{name} is now {place}", DeprecationWarning, stacklevel=2)
        owner, _, new = place.rpartition(".")
        return getattr(import_module(owner), new)

    return get
