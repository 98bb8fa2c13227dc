"""Curves in the answer to ``plot``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from saxs_bluesky.leash.protocol._errors import Kind, LeashError
from saxs_bluesky.reduction import Curve
from saxs_bluesky.reduction.formats.chi import LABELLED_AXES

_LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Graph:
    """A curve, and its title for people."""

    curve: Curve
    title: str


def graph_curves(data: Mapping[str, Any], *, skip: int = 0, clip: int = 0) -> list[Graph]:
    """Make curves of the graphs in an answer to ``plot``.

    Parameters
    ----------
    data
        ``data`` of the answer.
    skip, clip
        Number of points to leave out at the beginning and at the end.

    Returns
    -------
    One for each graph, in their order; axis, intensity and sigma of shape (points,), sigma NaN if the graph has none.

    Raises
    ------
    LeashError
        The lists of a graph differ in length, or no point is left.
    """
    graphs = data.get("graphs", [])
    return [_graph(graph, number, skip, clip) for number, graph in enumerate(graphs)]


def _graph(graph: Mapping[str, Any], number: int, skip: int, clip: int) -> Graph:
    columns = [np.array(column, dtype=np.float64) for column in graph["array"]]
    sizes = [column.size for column in columns]
    if len(columns) < 2 or len(set(sizes)) != 1:
        raise LeashError(
            Kind.VALIDATION,
            f"answer: graphs[{number}]: wanted lists of one length for axis and intensity, found {sizes}",
        )
    if skip + clip >= sizes[0]:
        raise LeashError(
            Kind.VALUE,
            f"graphs[{number}]: wanted points between the first {skip} and the last {clip}, found {sizes[0]} in all",
        )
    kept = slice(skip, sizes[0] - clip)
    axis, intensity, *errors = (column[kept] for column in columns)
    label, unit = _axis(graph["columnLabels"])
    title = _title(graph, number, azimuthal=label == "phi")
    curve = Curve(
        name=title.partition(" ")[0],
        kind="slice" if graph["kind"] == "Slice" else "azimuthal" if label == "phi" else "radial",
        axis=axis,
        axis_label=label,
        axis_unit=unit,
        intensity=intensity,
        sigma=errors[0] if errors else np.full_like(intensity, np.nan),
    )
    return Graph(curve, title)


def _axis(labels: list[str]) -> tuple[str, str]:
    text = labels[0] if labels else ""
    return LABELLED_AXES.get(text, (text, ""))


def _title(graph: Mapping[str, Any], number: int, *, azimuthal: bool) -> str:
    conf = graph["conf"]
    if graph["kind"] == "Slice":
        # In GISAXS mode the graphs of the masks are missing: the number of the slice is not known.
        return f"slice along {conf.get('Direction', 'x')} at {conf.get('CutPosition', '?')}"
    name = str(conf.get("Name", ""))[:_LONGEST_NAME]
    return f"{'P' if azimuthal else 'R'}{number} " + (f"({name})" if name else "azimuthal" if azimuthal else "radial")
