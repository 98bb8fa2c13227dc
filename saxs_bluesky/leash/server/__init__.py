"""The server of the SAXSdog network: each queue that a client opens is a run of the pipeline."""

from saxs_bluesky.leash.server._curve import ServerKeys
from saxs_bluesky.leash.server._desk import Desk
from saxs_bluesky.leash.server._queue import Queue, QueueSettings
from saxs_bluesky.leash.server._server import LeashServer, ServerCounters
from saxs_bluesky.leash.server._state import QueueRecord, QueueState, StateFolder

__all__ = [
    "Desk",
    "LeashServer",
    "Queue",
    "QueueRecord",
    "QueueSettings",
    "QueueState",
    "ServerCounters",
    "ServerKeys",
    "StateFolder",
]
