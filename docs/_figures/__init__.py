"""Figures of the documentation, made by the package's own code when the site is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs._figures._frame_way import draw_frame_way
from docs._figures._geometry import draw_geometry
from docs._figures._live_window import draw_live_window
from docs._figures._oversampled_ring import draw_oversampled_ring

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FIGURES: dict[str, Callable[[Path], None]] = {
    "geometry.svg": draw_geometry,
    "oversampled_ring.svg": draw_oversampled_ring,
    "frame_way.svg": draw_frame_way,
    "live_window.png": draw_live_window,
}
"""The name of each figure, and what draws it to a path."""


def make_figures(folder: Path) -> list[Path]:
    """Draw all figures into a folder.

    Figures that are newer than the code in this package are kept: the live window takes some seconds.

    Parameters
    ----------
    folder
        Made where it is missing.

    Returns
    -------
    Paths of the figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    for name, draw in FIGURES.items():
        path = folder / name
        if not path.exists() or path.stat().st_mtime < changed:
            draw(path)
    return [folder / name for name in FIGURES]


def setup(app: Sphinx) -> dict[str, Any]:
    """Let Sphinx draw the figures before it reads the pages."""
    app.connect("builder-inited", lambda app: make_figures(Path(app.srcdir) / "figures"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
