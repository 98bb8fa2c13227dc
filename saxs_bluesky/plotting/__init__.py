"""Pictures of curves and of detector images, for files and for windows.

Figures are made without ``matplotlib.pyplot``, which keeps every figure alive and wants the main
thread: these functions serve worker threads and machines without a display.
"""

from typing import TYPE_CHECKING

from saxs_bluesky.plotting._comparison import compare_curves
from saxs_bluesky.plotting._curves import plot_curve, plot_curves
from saxs_bluesky.plotting._images import INVALID_COLOR, plot_frame, plot_image, plot_summary
from saxs_bluesky.plotting._saving import figure_bytes, save_figure
from saxs_bluesky.plotting._style import DEVIATION_COLOR, SIGMA_COLOR, Scale, finish, plain, set_scale
from saxs_bluesky.plotting._toolkit import avoid_broken_qt, can_open_windows, has_windows
from saxs_bluesky.support.former_names import former_names

if TYPE_CHECKING:
    from saxs_bluesky.plotting._merge import plot_synchronisation

__all__ = [
    "DEVIATION_COLOR",
    "INVALID_COLOR",
    "SIGMA_COLOR",
    "Scale",
    "avoid_broken_qt",
    "can_open_windows",
    "compare_curves",
    "figure_bytes",
    "finish",
    "has_windows",
    "plain",
    "plot_curve",
    "plot_curves",
    "plot_frame",
    "plot_image",
    "plot_summary",
    "plot_synchronisation",
    "save_figure",
    "set_scale",
]

# It brings pandas, a third of what commands take to start.
__getattr__ = former_names(
    __name__, {}, loaded_late={"plot_synchronisation": f"{__name__}._merge.plot_synchronisation"}
)
