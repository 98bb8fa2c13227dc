"""The server of the SAXSdog network: each queue that a client opens is a run of the pipeline."""

from saxs_bluesky.leash.server._command_handler import CommandHandler
from saxs_bluesky.leash.server._queue import Queue
from saxs_bluesky.leash.server._queue_settings import QueueSettings
from saxs_bluesky.leash.server._replay_memory import ReplayMemory
from saxs_bluesky.leash.server._request_validator import Request, RequestValidator
from saxs_bluesky.leash.server._server import LeashServer, ServerCounters
from saxs_bluesky.leash.server._server_keys import ServerKeys
from saxs_bluesky.leash.server._state import QueueRecord, QueueState, StateFolder

__all__ = [
    "CommandHandler",
    "LeashServer",
    "Queue",
    "QueueRecord",
    "QueueSettings",
    "QueueState",
    "ReplayMemory",
    "Request",
    "RequestValidator",
    "ServerCounters",
    "ServerKeys",
    "StateFolder",
]
