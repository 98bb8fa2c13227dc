"""A figure in a window of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saxs_bluesky.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (9, 7)  # inches


def figure_in_window(name: str, *, example: str) -> Figure:
    """Open a window; in the main thread.

    Parameters
    ----------
    name
        Of the window.
    example
        Options that draw into a file instead, for who has no display.

    Raises
    ------
    OutputError
        There is no display, or no toolkit for windows.
    """
    # Only here, since they take time to load, and pyplot looks for a display.
    import matplotlib.pyplot as plt

    from saxs_bluesky.plotting import can_open_windows

    if not can_open_windows():
        raise OutputError(f"no display to open a window on; name a file to draw into, such as {example}")
    return plt.figure(name, figsize=_SIZE, layout="constrained")
