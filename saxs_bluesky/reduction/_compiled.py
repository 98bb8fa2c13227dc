"""Functions that numba compiles when they are first called, and keeps on the disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from pickle import UnpicklingError
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
T = TypeVar("T")

_COMPILING = Lock()


class Compiled(Generic[P, T]):
    """A function of arrays and numbers, compiled for the types that it is called with.

    Nothing is compiled on import, nor is numba imported, which takes longer than all the rest: a process hardly needs
    more than one signature of a function. While it runs, other threads do.

    Parameters
    ----------
    function
        In the part of Python that numba knows.
    parts
        Functions that it calls, from the same file: by its time numba tells whether what it has kept is right.
    """

    def __init__(self, function: Callable[P, T], *parts: Callable[..., object]) -> None:
        self._function = function
        self._parts = parts
        self._seen: set[tuple[object, ...]] = set()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it."""
        types = tuple(value.dtype if isinstance(value, np.ndarray) else type(value) for value in args)
        # numba 0.68 fails in the first calls of a process if they come from several threads at once.
        with nullcontext() if types in self._seen else _COMPILING:
            try:
                result: T = self.kept(*args, **kwargs)
            except (OSError, EOFError, UnpicklingError):  # the disk is full, or a file on it damaged or another user's
                result = self.unkept(*args, **kwargs)
        self._seen.add(types)
        return result

    @cached_property
    def kept(self) -> Any:
        """The compiled function, kept on disk by numba."""
        try:
            return self._compiler(cache=True)(self._function)
        except RuntimeError:  # neither beside the source nor in the user's folders is a place to keep it
            return self.unkept

    @cached_property
    def unkept(self) -> Any:
        """The compiled function, for this process alone."""
        return self._compiler()(self._function)

    @cached_property
    def _compiler(self) -> Any:
        from numba import njit
        from numba.extending import register_jitable

        for part in self._parts:
            register_jitable(part)
        return partial(njit, nogil=True)


def read_only(array: NDArray[Any] | None) -> Any:
    """A view of an array that may not be written to: so that a function is not compiled for either kind."""
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view
