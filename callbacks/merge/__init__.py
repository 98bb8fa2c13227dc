"""Logged quantities at images, while the run goes on."""

from saxs_bluesky.callbacks.merge._live_merge import LiveMerge

__all__ = ["LiveMerge"]
