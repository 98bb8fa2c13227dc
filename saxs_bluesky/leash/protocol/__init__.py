"""What clients, servers and feeders of the SAXSdog network agree on: commands, messages, signatures, encryption."""

from saxs_bluesky.leash.protocol._commands import COMMANDS, Attached, Command, CommandSpec, command_of
from saxs_bluesky.leash.protocol._encryption import CurveKeys, make_keys
from saxs_bluesky.leash.protocol._errors import Envelope, Kind, LeashError, error_of
from saxs_bluesky.leash.protocol._graphs import Graph, graph_curves
from saxs_bluesky.leash.protocol._limits import Limits
from saxs_bluesky.leash.protocol._messages import Attachment, encode, parse, plain
from saxs_bluesky.leash.protocol._network_file import (
    FEEDER_PORT,
    NETWORK_FILE,
    SERVER_PORT,
    Network,
    NetworkEntry,
    new_entry,
    read_network,
    write_network,
)
from saxs_bluesky.leash.protocol._paths import checked_parts, confined, is_within, listing
from saxs_bluesky.leash.protocol._secret_files import write_private
from saxs_bluesky.leash.protocol._signatures import (
    attachment_digest,
    legacy_signature,
    reply_signature,
    request_signature,
    same,
)
from saxs_bluesky.leash.protocol._unknown_keys import SpareKeys, without_unknown

__all__ = [
    "COMMANDS",
    "FEEDER_PORT",
    "NETWORK_FILE",
    "SERVER_PORT",
    "Attached",
    "Attachment",
    "Command",
    "CommandSpec",
    "CurveKeys",
    "Envelope",
    "Graph",
    "Kind",
    "LeashError",
    "Limits",
    "Network",
    "NetworkEntry",
    "SpareKeys",
    "attachment_digest",
    "checked_parts",
    "command_of",
    "confined",
    "encode",
    "error_of",
    "graph_curves",
    "is_within",
    "legacy_signature",
    "listing",
    "make_keys",
    "new_entry",
    "parse",
    "plain",
    "read_network",
    "reply_signature",
    "request_signature",
    "same",
    "without_unknown",
    "write_network",
    "write_private",
]
