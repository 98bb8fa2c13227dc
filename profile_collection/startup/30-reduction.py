"""The reduction: every image of every run becomes curves, in the catalog, in .chi files and in a window."""

from saxs_bluesky.callbacks import ChiFiles, LiveCurves, Reduction
from saxs_bluesky.session import show_where_possible

live = LiveCurves()
show_where_possible(live)  # live.show() brings a closed window back
reduction = Reduction(calibration, sinks=[writer, ChiFiles(settings.output), live])
RE.subscribe(reduction)
