"""The reduction: every image of every run becomes curves, in the catalog, in .chi files and in a window."""

from saxs_bluesky.callbacks import ChiFiles, LiveCurves, LiveMerge, Reduction
from saxs_bluesky.session import show_where_possible

live = LiveCurves()
show_where_possible(live)  # live.show() brings a closed window back
reduction = Reduction(calibration, sinks=[writer, ChiFiles(settings.output), live])
RE.subscribe(reduction)

# Rows of images with what was logged, while a scan goes on, for tables, plots and the catalog:
#     live_merge = LiveMerge([LiveTable(["ion_chamber_current", "R0_I0"]), writer])
#     reduction.sinks.append(live_merge)
#     RE.subscribe(live_merge)
