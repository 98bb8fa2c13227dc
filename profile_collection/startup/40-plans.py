"""Plans."""

from bluesky.plans import count, grid_scan, scan

from saxs_bluesky.plans import saxs_count, saxs_scan, saxs_time_series
