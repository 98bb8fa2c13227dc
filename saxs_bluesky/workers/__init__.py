"""Work in other processes, any of which may be killed at any moment at the cost of time only."""

from saxs_bluesky.workers._manager import kill_hanging_workers
from saxs_bluesky.workers._pool import WorkerPool
from saxs_bluesky.workers._process import is_retry

__all__ = ["WorkerPool", "is_retry", "kill_hanging_workers"]
