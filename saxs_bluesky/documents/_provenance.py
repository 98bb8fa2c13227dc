"""What differs between two reductions of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the provenance of two reduced runs, by their start documents.

    Returns
    -------
    The ``uid`` of the earlier run, and ``differences``: a list of what has changed, each with its ``path`` in
    the provenance, such as ``calibration.Masks[0].qStop``, and the values ``before`` and ``now``, None where
    there is none. (Paths cannot be keys: event-model allows no dots in those.)
    """
    old, new = _leaves(before["provenance"]), _leaves(now["provenance"])
    changed = [
        path for path in {**old, **new} if not path.startswith("differs_from") and old.get(path) != new.get(path)
    ]
    differences = [{"path": path, "before": old.get(path), "now": new.get(path)} for path in changed]
    return {"uid": before["uid"], "differences": differences}


def _leaves(document: Any, path: str = "") -> dict[str, Any]:
    """Values of a nested document by their paths."""
    if isinstance(document, Mapping):
        parts = [_leaves(value, f"{path}.{key}" if path else str(key)) for key, value in document.items()]
    elif isinstance(document, list | tuple):
        parts = [_leaves(value, f"{path}[{index}]") for index, value in enumerate(document)]
    else:
        return {path: document}
    return {key: value for part in parts for key, value in part.items()}
