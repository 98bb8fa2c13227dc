"""Documents over 0MQ: what publishes them, what receives them, and what finds out which were lost."""

from saxs_bluesky.callbacks.network._formats import FORMATS
from saxs_bluesky.callbacks.network._loss_detector import LossDetector
from saxs_bluesky.callbacks.network._publisher import DocumentProxy, publish
from saxs_bluesky.callbacks.network._receiver import DocumentReceiver

__all__ = ["FORMATS", "DocumentProxy", "DocumentReceiver", "LossDetector", "publish"]
