"""Bluesky callbacks: consumers of documents."""

from saxs_bluesky.callbacks._reduction import Reduction, Status

__all__ = ["Reduction", "Status"]
