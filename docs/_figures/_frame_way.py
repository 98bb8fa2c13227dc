"""One frame's way through the rooms of the code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

_SOURCE, _WORK, _SINK, _NOTE = "#e3eef7", "#fdf0d5", "#e4f2e3", "#57606a"


@dataclass(frozen=True)
class Room:
    """A box of the figure: its folder in the repository, what happens there, where it stands and its colour."""

    folder: str
    does: str
    x: float
    y: float
    color: str


ROOMS = (
    Room("devices", "detector under a RunEngine", 0.0, 3.0, _SOURCE),
    Room("saxs_bluesky/sources", "folder, watch, feeder:\nwait until a file is ready", 0.0, 1.5, _SOURCE),
    Room("saxs_bluesky/leash", "requests of old clients\nopen a queue: a folder", 0.0, 0.0, _SOURCE),
    Room("callbacks/reduction", "buffer documents, find their frames,\nkeep results in order", 3.3, 2.25, _WORK),
    Room("saxs_bluesky/frame_job", "in a worker: read the image,\nreduce it, write .chi files", 3.3, 0.55, _WORK),
    Room("callbacks/catalog_writer", "batches into the catalog,\nwith a journal on disk", 6.6, 3.0, _SINK),
    Room("callbacks/sinks", ".chi files,\nlist of curves", 6.6, 1.5, _SINK),
    Room("callbacks/live", "curves in a window", 6.6, 0.0, _SINK),
)
_WIDTH, _HEIGHT = 2.45, 1.0


def draw_frame_way(path: Path) -> None:
    """Draw the rooms, and what goes from one to the next, to a file."""
    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    axes = figure.subplots()
    for room in ROOMS:
        _draw_room(axes, room)
    right, middle, left = _WIDTH, 3.3, 6.6
    _arrow(axes, (right, 3.5), (middle, 3.0))
    _arrow(axes, (right, 2.0), (middle, 2.6))
    _arrow(axes, (_WIDTH / 2, _HEIGHT), (_WIDTH / 2, 1.5))
    for y, end in ((3.0, 3.5), (2.75, 2.0), (2.4, 0.5)):
        _arrow(axes, (middle + _WIDTH, y), (left, end))
    _arrow(axes, (4.1, 2.25), (4.1, 1.55))
    _arrow(axes, (5.0, 1.55), (5.0, 2.25))
    notes = (
        (2.9, 3.75, "documents of\nthe raw run", "center"),
        (6.1, 3.78, "documents of\nthe reduced run", "center"),
        (2.9, 1.86, "put together in\nfile_pipeline", "center"),
        (4.02, 1.9, "where the\nframe is", "right"),
        (5.08, 1.9, "curves", "left"),
    )
    for x, y, words, side in notes:
        axes.text(x, y, words, ha=side, va="center", fontsize=8.5, color=_NOTE, style="italic")
    axes.set(xlim=(-0.1, 9.15), ylim=(-0.15, 4.15))
    axes.set_axis_off()
    figure.savefig(path)


def _draw_room(axes: Axes, room: Room) -> None:
    box = FancyBboxPatch(
        (room.x, room.y),
        _WIDTH,
        _HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=room.color,
        edgecolor="#30363d",
    )
    axes.add_patch(box)
    middle = room.x + _WIDTH / 2
    axes.text(
        middle, room.y + 0.8, room.folder, ha="center", va="center", fontsize=9.5, family="monospace", weight="bold"
    )
    axes.text(middle, room.y + 0.35, room.does, ha="center", va="center", fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": "#30363d", "linewidth": 1.3, "shrinkA": 2, "shrinkB": 2},
    )
