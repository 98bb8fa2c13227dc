"""Sinks and integrators that other packages add, by entry points.

A package names them in its ``pyproject.toml``::

    [project.entry-points."saxs_bluesky.sinks"]
    summary = "my_package:Summary"

    [project.entry-points."saxs_bluesky.integrators"]
    row_means = "my_package:RowMeans"

A sink's entry point is called without arguments and returns a callable ``(name, document)`` for the
documents of reduced runs. An integrator's is called with the `Calibration` and returns an object that
fits `Integrator`. ``docs/how-to/example_plugin`` is a whole package of that kind.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from saxs_bluesky.errors import PluginError
from saxs_bluesky.reduction import Calibration, Integrator

SINKS = "saxs_bluesky.sinks"
"""Entry-point group of sinks."""
INTEGRATORS = "saxs_bluesky.integrators"
"""Entry-point group of integrators."""

Sink = Callable[[str, dict[str, Any]], Any]
"""Takes the documents of reduced runs, as ``(name, document)``."""


def available(group: str) -> list[str]:
    """Names of the plugins of a group, `SINKS` or `INTEGRATORS`, in alphabetical order."""
    return sorted(entry_points(group=group).names)


def load_sinks(names: Iterable[str]) -> list[Sink]:
    """Make the sinks of these names.

    Raises
    ------
    PluginError
        There is no such plugin, or it cannot be loaded.
    """
    return [_made(SINKS, name) for name in names]


def load_integrators(names: Iterable[str], calibration: Calibration) -> list[Integrator]:
    """Make the integrators of these names for a calibration.

    Raises
    ------
    PluginError
        There is no such plugin, it cannot be loaded, or what it makes is no integrator.
    """
    made = [(name, _made(INTEGRATORS, name, calibration)) for name in names]
    for name, integrator in made:
        if not isinstance(integrator, Integrator):
            raise PluginError(
                f"{INTEGRATORS}: wanted an integrator (name, axis, integrate) from {name}, "
                f"found {type(integrator).__name__}"
            )
    return [integrator for _, integrator in made]


def _made(group: str, name: str, *arguments: Any) -> Any:
    entry = _entry(group, name)
    try:
        return entry.load()(*arguments)
    # Whatever another package does when it is imported and called.
    except Exception as error:
        raise PluginError(
            f"{group}: wanted plugin {name} ({entry.value}), found {type(error).__name__}: {error}"
        ) from error


def _entry(group: str, name: str) -> EntryPoint:
    found = entry_points(group=group, name=name)
    if found:
        return next(iter(found))
    known = available(group)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
    raise PluginError(f"{group}: wanted plugin {name}, found none of that name ({hint})")
