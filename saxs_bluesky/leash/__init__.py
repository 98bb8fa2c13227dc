"""The SAXSdog network: what deployed clients, servers and feeders say to each other."""

from saxs_bluesky.leash._caller import LeashClient
from saxs_bluesky.leash._client import Response, compose, read_reply
from saxs_bluesky.leash._commands import COMMANDS, Attached, Command, CommandSpec, command_of
from saxs_bluesky.leash._curve import ServerKeys
from saxs_bluesky.leash._desk import Desk
from saxs_bluesky.leash._errors import Envelope, Kind, LeashError, error_of
from saxs_bluesky.leash._exchange import CallError, CurveKeys, LeashTimeoutError
from saxs_bluesky.leash._gate import Gate, Request
from saxs_bluesky.leash._graphs import Graph, graph_curves
from saxs_bluesky.leash._limits import Limits
from saxs_bluesky.leash._messages import Attachment
from saxs_bluesky.leash._network import (
    FEEDER_PORT,
    NETWORK_FILE,
    SERVER_PORT,
    Network,
    NetworkEntry,
    new_entry,
    read_network,
    write_network,
)
from saxs_bluesky.leash._paths import checked_parts, confined, is_within, listing
from saxs_bluesky.leash._queue import Queue, QueueSettings
from saxs_bluesky.leash._replay import ReplayMemory
from saxs_bluesky.leash._server import LeashServer, ServerCounters
from saxs_bluesky.leash._state import QueueRecord, QueueState, StateFolder

__all__ = [
    "COMMANDS",
    "FEEDER_PORT",
    "NETWORK_FILE",
    "SERVER_PORT",
    "Attached",
    "Attachment",
    "CallError",
    "Command",
    "CommandSpec",
    "CurveKeys",
    "Desk",
    "Envelope",
    "Gate",
    "Graph",
    "Kind",
    "LeashClient",
    "LeashError",
    "LeashServer",
    "LeashTimeoutError",
    "Limits",
    "Network",
    "NetworkEntry",
    "Queue",
    "QueueRecord",
    "QueueSettings",
    "QueueState",
    "ReplayMemory",
    "Request",
    "Response",
    "ServerCounters",
    "ServerKeys",
    "StateFolder",
    "checked_parts",
    "command_of",
    "compose",
    "confined",
    "error_of",
    "graph_curves",
    "is_within",
    "listing",
    "new_entry",
    "read_network",
    "read_reply",
    "write_network",
]
