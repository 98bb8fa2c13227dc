"""The reduction as a Bluesky callback: from documents to frames, and from their curves to documents."""

from saxs_bluesky.callbacks.reduction._reduction import Reduction, Sink, Status

__all__ = ["Reduction", "Sink", "Status"]
