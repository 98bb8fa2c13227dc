"""The SAXSdog network: what deployed clients, servers and feeders say to each other.

The server, which loads the whole pipeline, is apart in `saxs_bluesky.leash.server`; clients start without it.
"""

from saxs_bluesky.leash.client import CallError, LeashClient, LeashTimeoutError, Response, compose, read_reply
from saxs_bluesky.leash.protocol import (
    COMMANDS,
    FEEDER_PORT,
    NETWORK_FILE,
    SERVER_PORT,
    Attached,
    Attachment,
    Command,
    CommandSpec,
    EncryptionKeys,
    Graph,
    Kind,
    LeashError,
    Limits,
    Network,
    NetworkEntry,
    ReplyContext,
    checked_parts,
    command_of,
    confined,
    error_of,
    graph_curves,
    is_within,
    listing,
    make_keys,
    new_entry,
    read_network,
    write_network,
)
from saxs_bluesky.support.former_names import former_names

__getattr__ = former_names(
    __name__,
    {
        "CurveKeys": "saxs_bluesky.leash.EncryptionKeys",
        "Envelope": "saxs_bluesky.leash.ReplyContext",
    },
)

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
    "EncryptionKeys",
    "Graph",
    "Kind",
    "LeashClient",
    "LeashError",
    "LeashTimeoutError",
    "Limits",
    "Network",
    "NetworkEntry",
    "ReplyContext",
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
