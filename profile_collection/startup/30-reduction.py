"""The reduction: every image of every run becomes curves, in the catalog, in .chi files and in a window."""

from saxs_bluesky.callbacks import ChiFiles, LiveCurves, Reduction

live = LiveCurves()  # live.show() opens the window
reduction = Reduction(calibration, sinks=[writer, ChiFiles(settings.output), live])
RE.subscribe(reduction)
