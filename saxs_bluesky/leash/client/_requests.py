"""Requests to bytes and bytes to answers, for clients."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saxs_bluesky.errors import SchemaError
from saxs_bluesky.leash.protocol import (
    COMMANDS,
    Attachment,
    Command,
    Kind,
    LeashError,
    Limits,
    attachment_digest,
    drop_unknown_keys,
    encode,
    legacy_signature,
    parse,
    reply_signature,
    request_signature,
    signatures_match,
)
from saxs_bluesky.schemas import load_schema, validate

_NONCE_BYTES = 16
_ANSWER_VALUES = 20_000_000


@dataclass(frozen=True)
class Response:
    """An answer.

    Parameters
    ----------
    result
        What was done, or the kind of an error.
    data
        What was asked for.
    """

    result: str
    data: Mapping[str, Any]

    @property
    def error(self) -> str | None:
        """Error message of the server; None if there is none."""
        error: str | None = self.data.get("Error")
        return error


@dataclass(frozen=True)
class UnsignedRequest:
    """A valid request that is not signed yet, with its attachments encoded."""

    _request: Mapping[str, Any]
    _attachments: Sequence[bytes]
    _protocol: int

    @classmethod
    def build(
        cls, command: Command, argument: Mapping[str, Any], attachments: Sequence[Attachment] = (), protocol: int = 1
    ) -> UnsignedRequest:
        """Check and encode a request; parameters and errors are those of `compose`."""
        try:
            validate(dict(argument), COMMANDS[command].argument_schema, "argument")
        except SchemaError as error:
            raise LeashError(Kind.VALIDATION, str(error)) from error
        parts = [attachment.part() for attachment in attachments]
        request: dict[str, Any] = {"command": command.value, "argument": argument}
        if protocol == 2:
            request |= {"protocol": 2, "attachments": [attachment_digest(part) for part in parts]}
        elif protocol != 1:
            raise LeashError(Kind.VALUE, f"wanted protocol 1 or 2, found {protocol}")
        return cls(request, parts, protocol)

    def signed(self, secret: str, clock: Callable[[], float] = time.time) -> list[bytes]:
        """Parts of the request, signed at the present time."""
        request = {**self._request, "time": clock(), "sign": ""}
        sign = legacy_signature
        if self._protocol == 2:
            sign = request_signature
            request["nonce"] = secrets.token_hex(_NONCE_BYTES)
        # Signed is what the server parses from the bytes.
        plain = parse(encode(request), "request", depth=Limits.depth, values=Limits.values)
        return [encode(plain | {"sign": sign(plain, secret)}), *self._attachments]


def compose(
    command: Command,
    argument: Mapping[str, Any],
    attachments: Sequence[Attachment] = (),
    *,
    secret: str,
    protocol: int = 1,
    clock: Callable[[], float] = time.time,
) -> list[bytes]:
    """Make a signed request.

    Parameters
    ----------
    command
        The command.
    argument
        Argument of the command.
    attachments
        Attachments that the command needs.
    secret
        Shared by server and clients.
    protocol
        1 for deployed servers, or 2, in which attachments and answers are signed too.
    clock
        Returns the time in seconds since 1970.

    Returns
    -------
    Parts of the message.

    Raises
    ------
    LeashError
        The argument does not fit the command, or there is no such protocol.
    """
    return UnsignedRequest.build(command, argument, attachments, protocol).signed(secret, clock)


def read_reply(parts: Sequence[bytes], request: Sequence[bytes], secret: str, limits: Limits | None = None) -> Response:
    """Read the answer to a request.

    Parameters
    ----------
    parts
        Parts of the answer's message.
    request
        Parts of the request's message.
    secret
        Shared by server and clients.
    limits
        Limits for the answer; None: the defaults.

    Raises
    ------
    LeashError
        It is no valid answer; in protocol 2 also: it is not signed, or answers another request. An error of the
        server is a valid answer.
    """
    limits = limits or Limits()
    asked = parse(request[0], "request", depth=limits.depth, values=limits.values)
    protocol, nonce = asked.get("protocol", 1), asked.get("nonce")
    if len(parts) not in (1, protocol) or sum(map(len, parts)) > limits.response_bytes:
        raise LeashError(
            Kind.VALUE, f"answer: wanted {protocol} parts of at most {limits.response_bytes} bytes, found other"
        )
    if len(parts) == 2 and not signatures_match(reply_signature(parts[0], secret), parts[1].decode("latin-1")):
        raise LeashError(Kind.AUTHENTICATION, "answer: wanted the server's signature, found another")
    response = _response(parts[0], limits)
    if protocol == 2:
        if len(parts) == 1:
            told = response["data"].get("Error", response["result"])
            raise LeashError(Kind.AUTHENTICATION, f"answer: wanted a signature, found none (it says: {told})")
        if response.get("protocol") != 2 or response.get("nonce") != nonce:
            raise LeashError(Kind.AUTHENTICATION, "answer: wanted the answer to this request, found another's")
    return Response(response["result"], response["data"])


def _response(body: bytes, limits: Limits) -> dict[str, Any]:
    response = parse(body, "answer", depth=limits.depth, values=_ANSWER_VALUES, surrogates=True)
    schema = load_schema("leash-response")
    try:
        # Deployed servers send further keys.
        response = drop_unknown_keys(response, schema, "answer", [])
        validate(response, schema, "answer")
    except SchemaError as error:
        raise LeashError(Kind.VALIDATION, str(error)) from error
    for graph in response["data"].get("graphs", []):
        for column in graph["array"]:
            if not all(type(number) in (int, float) for number in column):
                raise LeashError(Kind.VALIDATION, "answer: graphs: array: wanted lists of numbers, found others")
    checked: dict[str, Any] = response
    return checked
