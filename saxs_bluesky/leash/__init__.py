"""The SAXSdog network: what deployed clients, servers and feeders say to each other.

The server, which loads the whole pipeline, is apart in `saxs_bluesky.leash.server`; clients start without it.
"""

from saxs_bluesky.leash._caller import LeashClient
from saxs_bluesky.leash._client import Response, compose, read_reply
from saxs_bluesky.leash._commands import COMMANDS, Attached, Command, CommandSpec, command_of
from saxs_bluesky.leash._curve import CurveKeys, make_keys
from saxs_bluesky.leash._errors import Envelope, Kind, LeashError, error_of
from saxs_bluesky.leash._exchange import CallError, LeashTimeoutError
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
from saxs_bluesky.leash._replay import ReplayMemory

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
    "Envelope",
    "Gate",
    "Graph",
    "Kind",
    "LeashClient",
    "LeashError",
    "LeashTimeoutError",
    "Limits",
    "Network",
    "NetworkEntry",
    "ReplayMemory",
    "Request",
    "Response",
    "checked_parts",
    "command_of",
    "compose",
    "confined",
    "error_of",
    "graph_curves",
    "is_within",
    "listing",
    "make_keys",
    "new_entry",
    "read_network",
    "read_reply",
    "write_network",
]
