"""Names that users import and that have moved: they go on working, with a warning that names the new place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def former_names(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Give the ``__getattr__`` of a module some of whose names have moved.

    Parameters
    ----------
    module
        The module's ``__name__``.
    places
        For each former name, where it is now: ``{"FilePipeline": "saxs_bluesky.file_pipeline.FilePipeline"}``.

    Returns
    -------
    A function that takes a name and returns what it stands for, after a `DeprecationWarning`.

    Raises
    ------
    AttributeError
        By that function: the module never had such a name.
    """

    def get(name: str) -> Any:
        place = places.get(name)
        if place is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {place}", DeprecationWarning, stacklevel=2)
        owner, _, new = place.rpartition(".")
        return getattr(import_module(owner), new)

    return get
