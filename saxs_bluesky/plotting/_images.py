"""Detector images."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from saxs_bluesky.plotting._curves import draw_panels, panel_grid
from saxs_bluesky.plotting._style import (
    LogNumbers,
    plain,
)
from saxs_bluesky.reduction import Curve, Frame, without_invalid
from saxs_bluesky.reduction.arrays import BoolImage, FloatArray, Image

INVALID_COLOR = "#a0a0a0"
"""Colour of pixels that hold no counts."""
_MASK_COLOR = "#ffffff"


def plot_image(
    image: Image,
    axes: Axes | None = None,
    *,
    mask: BoolImage | None = None,
    beam_center: tuple[float, float] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a detector image on a logarithmic scale of colours.

    The scale begins at a tenth of the median or above, and leaves the brightest two-thousandth of
    the pixels above it: shadows and hot pixels do not take the colours from the rest.

    Parameters
    ----------
    image
        Counts, shape (rows, columns), row 0 at the top. Pixels that hold no counts, being negative,
        NaN, or masked by a ``numpy.ma.MaskedArray``, are grey.
    axes
        Where to; None: on a new figure.
    mask
        True where masked, shape (rows, columns); shaded on top of the image.
    beam_center
        (y, x) in pixels as in `Geometry`, y from the bottom edge; marked with a cross.
    title
        Text above the axes.

    Returns
    -------
    The axes.
    """
    axes = axes if axes is not None else _image_figure(image).subplots()
    counts = np.ma.asarray(without_invalid(image), dtype=np.float64)
    low, high = _color_limits(counts.compressed())
    below, above = bool((counts < low).any()), bool((counts > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    # No logarithm of zero: it goes where all that is below the scale goes.
    drawn = axes.imshow(
        np.maximum(counts, low / 2),
        norm=LogNorm(low, high),
        cmap=mpl.colormaps["inferno"].with_extremes(bad=INVALID_COLOR),
    )
    if mask is not None:
        axes.imshow(np.ma.masked_equal(mask, value=False), cmap=ListedColormap([_MASK_COLOR]), alpha=0.5)
    if beam_center is not None:
        row, column = image.shape[0] - beam_center[0] - 0.5, beam_center[1] - 0.5
        for width, color in ((4, "white"), (1.5, "black")):
            axes.plot(column, row, "+", ms=16, mew=width, color=color, scalex=False, scaley=False)
    axes.figure.colorbar(drawn, ax=axes, label="Intensity (counts)", extend=extend, aspect=30, format=LogNumbers())
    axes.set(xlabel="Column (pixel)", ylabel="Row (pixel)", title=plain(title or ""))
    return axes


def plot_frame(frame: Frame) -> Figure:
    """Draw the image of a frame under the name of its file."""
    figure = _image_figure(frame.image)
    plot_image(frame.image, figure.subplots(), title=frame.path.name)
    return figure


def plot_summary(image: Image, curves: Sequence[Curve], *, title: str | None = None) -> Figure:
    """Draw an image, and beside it the curves made of it.

    Parameters
    ----------
    image
        Counts, shape (rows, columns), row 0 at the top.
    curves
        Curves of this image.
    title
        Text above the figure.

    Returns
    -------
    A new figure.

    Raises
    ------
    OutputError
        There is no curve.
    """
    rows, columns = (len(curves), 1) if 0 < len(curves) <= 3 else panel_grid(len(curves))
    height = max(7.0, 1.0 + 2.8 * rows)
    widths = [0.8 + 0.95 * height, *[6.5] * columns]
    figure = Figure(figsize=(sum(widths), height), layout="constrained")
    grid = figure.add_gridspec(rows, 1 + columns, width_ratios=widths)
    plot_image(image, figure.add_subplot(grid[:, 0]))
    panels = [figure.add_subplot(grid[row, 1 + column]) for row in range(rows) for column in range(columns)]
    draw_panels(panels, curves, log=True)
    if title:
        figure.suptitle(plain(title))
    return figure


def _image_figure(image: Image) -> Figure:
    """A figure in the proportions of an image, with room for its labels and colours."""
    rows, columns = image.shape
    return Figure(figsize=(7, min(max(5.3 * rows / columns + 0.9, 2.5), 14)), layout="compressed")


def _color_limits(counts: FloatArray) -> tuple[float, float]:
    positive = counts[counts > 0]
    if not positive.size:
        return 1.0, 10.0
    faint, median, bright = np.percentile(positive, (1, 50, 99.95))
    low = float(max(faint, median / 10))
    return low, float(max(bright, 2 * low))
