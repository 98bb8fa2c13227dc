"""Plots that follow a reduced run. This room brings Matplotlib."""

from saxs_bluesky.callbacks.live._live_curves import LiveCurves

__all__ = ["LiveCurves"]
