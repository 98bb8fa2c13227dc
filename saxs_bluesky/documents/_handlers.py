"""Frames that handlers of databroker's kind read: those of installed packages, and those that a session gives."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from saxs_bluesky.documents._references import LoadedFrame, check_that_it_opens, frame_of
from saxs_bluesky.errors import FrameError, HandlerError, PluginError

Handler = Callable[..., Any]
"""Called with a path and the ``resource_kwargs`` it gives what is called with the ``datum_kwargs`` and gives images."""

_GROUP = "databroker.handlers"


@dataclass(frozen=True)
class HandlerFrame:
    """A frame that a handler reads.

    Parameters
    ----------
    spec
        What the handler is registered for.
    path
        Where the file is, or what else the handler makes of it.
    resource_kwargs, datum_kwargs
        Of the documents.
    index
        Which image of the stack that the handler gives.
    frames
        How many it should hold; 0: any number.
    handler
        What reads; None: the one of an installed package (entry point group ``databroker.handlers``).
    """

    spec: str
    path: str
    resource_kwargs: tuple[tuple[str, Any], ...]
    datum_kwargs: tuple[tuple[str, Any], ...]
    index: int
    frames: int = 0
    handler: Handler | None = None

    def read(self) -> LoadedFrame:
        """Let the handler read the event's stack, and take the frame out of it.

        Raises
        ------
        HandlerError
            There is no handler, or it cannot be called in this way.
        """
        check_that_it_opens(self.path)
        make = self.handler or _installed(self.spec)
        self._check_call(make, self.path, **dict(self.resource_kwargs))
        handler = make(self.path, **dict(self.resource_kwargs))
        try:
            self._check_call(handler, **dict(self.datum_kwargs))
            stack = np.asarray(handler(**dict(self.datum_kwargs)))
        finally:
            close = getattr(handler, "close", None)
            if close is not None:
                close()
        found = 1 if stack.ndim == 2 else math.prod(stack.shape[:-2])
        # Those behind would be lost without a word.
        if self.frames and stack.ndim > 1 and found > self.frames:
            raise FrameError(f"{self.path}: wanted {self.frames} images as its documents say, found {found}")
        return LoadedFrame(frame_of(stack, self.index, self.path))

    def _check_call(self, what: Any, *arguments: Any, **keywords: Any) -> None:
        """Raise HandlerError for arguments that a handler does not take: to try again would be of no use."""
        try:
            inspect.signature(what).bind(*arguments, **keywords)
        except TypeError as error:
            raise HandlerError(f"{self.path}: the handler of spec {self.spec} cannot be called: {error}") from error
        except ValueError:  # it has no signature to look at
            return


def travels(handler: Handler) -> bool:
    """True if other processes can have a handler: not so where it was defined in a session itself."""
    try:
        return b"__main__" not in pickle.dumps(handler)
    # Whatever an object's own pickling raises.
    except Exception:  # noqa: BLE001
        return False


def check_handlers(handlers: Mapping[Any, Any]) -> dict[str, Handler]:
    """Handlers by spec, as a session gives them.

    Raises
    ------
    PluginError
        One is none.
    """
    for spec, handler in handlers.items():
        if not isinstance(spec, str) or not callable(handler):
            raise PluginError(f"wanted a handler's class for each spec, found {handler!r} for {spec!r}")
    return dict(handlers)


def check_spec(spec: str) -> None:
    """Raise HandlerError where no installed package reads files of a spec."""
    if spec not in _installed_specs():
        raise HandlerError(
            f"no handler reads files of spec {spec}: give Reduction(handlers={{{spec!r}: ...}}) one, or install a "
            f"package that has it (entry point group {_GROUP})"
        )


@lru_cache
def _installed_specs() -> frozenset[str]:
    return frozenset(entry_points(group=_GROUP).names)


@lru_cache
def _installed(spec: str) -> Any:
    check_spec(spec)
    (entry, *_) = entry_points(group=_GROUP, name=spec)
    try:
        return entry.load()
    # Whatever importing another package raises.
    except Exception as error:
        raise HandlerError(f"the handler {entry.value} of spec {spec} cannot be imported: {error}") from error
