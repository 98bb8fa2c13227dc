"""Bluesky callbacks: consumers of documents."""

from saxs_bluesky.callbacks._catalog_writer import CatalogCounters, CatalogWriter
from saxs_bluesky.callbacks._chi_files import ChiFiles
from saxs_bluesky.callbacks._live_curves import LiveCurves
from saxs_bluesky.callbacks._reduction import Reduction, Status

__all__ = ["CatalogCounters", "CatalogWriter", "ChiFiles", "LiveCurves", "Reduction", "Status"]
