"""A task, from its submission to its outcome."""

from __future__ import annotations

import pickle
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function that tasks call, pickled once."""

    number: int
    pickled: bytes


@dataclass(slots=True, eq=False)
class Task:
    """A call to be made.

    ``deaths`` counts the workers that died when they had perhaps begun it, ``hangs`` those that were given up.
    """

    future: Future[Any]
    function: Function
    arguments: bytes
    deaths: int = 0
    hangs: int = 0
    _wanted: bool = False

    @property
    def is_suspect(self) -> bool:
        """True if a worker may have died or hung because of it."""
        return bool(self.deaths or self.hangs)

    @property
    def name(self) -> str:
        """Name for messages: what the function's ``describe`` returns, or the function's own name."""
        try:
            function = pickle.loads(self.function.pickled)  # noqa: S301 - pickled here
            args, kwargs = pickle.loads(self.arguments)  # noqa: S301
            describe = getattr(function, "describe", None)
            return str(describe(*args, **kwargs) if describe else getattr(function, "__name__", function))
        except Exception:  # noqa: BLE001 - the user's classes may raise anything here
            return "a task"

    def is_wanted(self) -> bool:
        """True if it was not cancelled; after this call it cannot be cancelled any more."""
        self._wanted = self._wanted or self.future.set_running_or_notify_cancel()
        return self._wanted

    def settle(self, succeeded: bool, payload: memoryview) -> None:
        """Set the outcome that a worker sent: a result, or an exception if it did not succeed."""
        try:
            outcome = loaded(payload)
        except pickle.UnpicklingError as error:
            succeeded, outcome = False, error
        with suppress(InvalidStateError):  # somebody else set it
            if succeeded:
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

    def fail(self, error: Exception) -> None:
        """Set an exception as its outcome, if it is wanted."""
        with suppress(InvalidStateError):
            if self.is_wanted():
                self.future.set_exception(error)


def loaded(payload: memoryview) -> Any:
    """What a worker pickled.

    Raises
    ------
    UnpicklingError
        It cannot be unpickled here.
    """
    try:
        return pickle.loads(payload)  # noqa: S301 - from a worker
    except Exception as error:
        text = f"wanted a result that can be unpickled, found {type(error).__name__}: {error}"
        raise pickle.UnpicklingError(text) from error
