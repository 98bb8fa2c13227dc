"""Former names of what has another name now, in modules and of arguments; and names that load slowly."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


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


def former_argument(former: str, name: str) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Let a function take a keyword argument by its former name too.

    Parameters
    ----------
    former
        The name that the argument had.
    name
        The name that it has.

    Returns
    -------
    A decorator. The function that it makes warns with a `DeprecationWarning` where the former name is used.

    Raises
    ------
    TypeError
        By that function: both names are used at once.
    """

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(function)
        def call(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
            if former in keywords:
                if name in keywords:
                    raise TypeError(f"{function.__qualname__}: {former} is the former name of {name}; give one of them")
                warnings.warn(f"the argument {former} is now {name}", DeprecationWarning, stacklevel=2)
                keywords[name] = keywords.pop(former)
            return function(*arguments, **keywords)

        return call

    return decorate
