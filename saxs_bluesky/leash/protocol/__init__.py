"""What clients, servers and feeders of the SAXSdog network agree on: commands, messages, signatures, encryption."""

from saxs_bluesky.leash.protocol._commands import COMMANDS, Attached, Command, CommandSpec, command_of
from saxs_bluesky.leash.protocol._encryption import EncryptionKeys, make_keys
from saxs_bluesky.leash.protocol._errors import Kind, LeashError, ReplyContext, error_of
from saxs_bluesky.leash.protocol._graphs import Graph, graph_curves
from saxs_bluesky.leash.protocol._limits import Limits, check_at_most
from saxs_bluesky.leash.protocol._messages import Attachment, encode, is_text, json_values, parse
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
    signatures_match,
)
from saxs_bluesky.leash.protocol._unknown_keys import UnknownKeyLog, drop_unknown_keys

__all__ = [
    "COMMANDS",
    "FEEDER_PORT",
    "NETWORK_FILE",
    "SERVER_PORT",
    "Attached",
    "Attachment",
    "Command",
    "CommandSpec",
    "EncryptionKeys",
    "Graph",
    "Kind",
    "LeashError",
    "Limits",
    "Network",
    "NetworkEntry",
    "ReplyContext",
    "UnknownKeyLog",
    "attachment_digest",
    "check_at_most",
    "checked_parts",
    "command_of",
    "confined",
    "drop_unknown_keys",
    "encode",
    "error_of",
    "graph_curves",
    "is_text",
    "is_within",
    "json_values",
    "legacy_signature",
    "listing",
    "make_keys",
    "new_entry",
    "parse",
    "read_network",
    "reply_signature",
    "request_signature",
    "signatures_match",
    "write_network",
    "write_private",
]
