"""The reduction as a Bluesky callback: from documents to frames, and from their curves to documents."""

from saxs_bluesky.callbacks.reduction._delivery import FRAMES_LOG, Sink
from saxs_bluesky.callbacks.reduction._reduction import Reduction
from saxs_bluesky.callbacks.reduction._status import Status

__all__ = ["FRAMES_LOG", "Reduction", "Sink", "Status"]
