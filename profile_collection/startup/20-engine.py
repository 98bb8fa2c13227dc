"""The RunEngine and the catalog."""

from bluesky import RunEngine
from bluesky.callbacks.best_effort import BestEffortCallback

from saxs_bluesky.catalog import merge, merged_runs, open_catalog, read_curves, reduce_run, reduced_runs
from saxs_bluesky.session import LiveWindows, open_writer

RE = RunEngine({}, during_task=LiveWindows())

catalog = open_catalog(settings.catalog)
db = catalog.v1
writer = open_writer(settings)
RE.subscribe(writer)

bec = BestEffortCallback()
bec.disable_plots()  # the curves have a window of their own
RE.subscribe(bec)
