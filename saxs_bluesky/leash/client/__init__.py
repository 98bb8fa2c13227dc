"""The client of leash servers, which the command line, windows and scripts share."""

from saxs_bluesky.leash.client._client import LeashClient
from saxs_bluesky.leash.client._exchange import CallError, LeashTimeoutError
from saxs_bluesky.leash.client._requests import Response, compose, read_reply

__all__ = [
    "CallError",
    "LeashClient",
    "LeashTimeoutError",
    "Response",
    "compose",
    "read_reply",
]
