"""What takes the documents of reduced runs and writes files: curves, and the list of them."""

from saxs_bluesky.callbacks.sinks._chi_files import ChiFiles
from saxs_bluesky.callbacks.sinks._curve_list import CurveList

__all__ = ["ChiFiles", "CurveList"]
