"""Between the network and the command handler: bytes to a valid request, and answers to bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saxs_bluesky.errors import SaxsError, SchemaError
from saxs_bluesky.leash.protocol import (
    Attachment,
    Command,
    Kind,
    LeashError,
    Limits,
    ReplyContext,
    UnknownKeyLog,
    check_at_most,
    command_of,
    encode,
    error_of,
    json_values,
    parse,
    reply_signature,
)
from saxs_bluesky.leash.server._arguments import check_argument
from saxs_bluesky.leash.server._authentication import RequestAuthenticator
from saxs_bluesky.leash.server._replay_memory import ReplayMemory
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.schemas import load_schema, validate

_log = logging.getLogger(__name__)

_LEGACY_KEYS = ("command", "argument", "time", "sign")
_ATTACHMENT_VALUES = 16


@dataclass(frozen=True)
class Request:
    """A request that is authentic, new, and within the limits.

    Parameters
    ----------
    command
        What is to be done.
    argument
        As the command's schema says; ``mergeconf`` with defaults.
    attachments
        As many as the command wants.
    time
        When it was signed, in seconds since 1970.
    reply_context
        What its answer needs.
    calibration
        Of `Command.NEW`: made of the argument and the masks, which fit it; else None.
    """

    command: Command
    argument: Mapping[str, Any] = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    time: float
    reply_context: ReplyContext
    calibration: Calibration | None = field(default=None, repr=False)


class RequestValidator:
    """Validates requests and makes answers, for one secret.

    The size of a message is checked, then it is parsed, authenticated and validated; nothing is done for it before
    that. In protocol 1, unknown keys are ignored, as deployed servers do; in protocol 2 they are refused. Paths in a
    valid request lead down from the base directory, but whether a link leads out of it only `confined` can tell.

    May be used by several threads.

    Parameters
    ----------
    secret
        Shared by server and clients.
    limits
        Limits for requests and answers; None: the defaults.
    memory
        Which requests were seen; None: those since the start.
    clock
        Returns the time in seconds since 1970.
    legacy
        Accept the requests of deployed clients, whose signature leaves attachments out.

    Raises
    ------
    SaxsError
        The secret is empty.
    """

    def __init__(
        self,
        secret: str,
        limits: Limits | None = None,
        memory: ReplayMemory | None = None,
        clock: Callable[[], float] = time.time,
        *,
        legacy: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self._secret = secret
        if memory is None:
            memory = ReplayMemory(window=self.limits.window, most=self.limits.remembered, clock=clock)
        self._authenticator = RequestAuthenticator(secret, memory, clock, legacy=legacy)
        self._unknown_key_log = UnknownKeyLog()

    def validate(self, parts: Sequence[bytes]) -> Request:
        """Turn a message into a request that may be acted upon.

        Parameters
        ----------
        parts
            Parts of the message, as they came.

        Raises
        ------
        LeashError
            The message is refused.
        """
        limits = self.limits
        if not parts:
            raise LeashError(Kind.VALUE, "wanted a request, found an empty message")
        check_at_most(
            (
                ("attachments", len(parts) - 1, limits.attachments),
                ("bytes in a request", len(parts[0]), limits.request_bytes),
                ("bytes in an attachment", max(map(len, parts[1:]), default=0), limits.attachment_bytes),
                ("bytes in a message", sum(map(len, parts)), limits.message_bytes),
            )
        )
        document = parse(parts[0], "request", depth=limits.depth, values=limits.values)
        if not isinstance(document, dict):
            raise LeashError(Kind.VALUE, "request: wanted a JSON object, found something else")
        reply_context = self._authenticator.authenticate(document, parts[1:])
        try:
            return self._checked_request(document, parts[1:], reply_context)
        except SaxsError as error:
            refused = error_of(error)
            kind = refused.kind
            if reply_context.protocol == 1 and command_of(str(document.get("command"))) is Command.MERGEDATA:
                kind = Kind.ERROR  # deployed windows take any other result for a merge that has started
            raise LeashError(kind, str(refused), reply_context) from error

    def _checked_request(
        self, document: dict[str, Any], parts: Sequence[bytes], reply_context: ReplyContext
    ) -> Request:
        lenient = reply_context.protocol == 1
        unknown_keys: list[str] = []
        if lenient:
            unknown_keys += [key for key in document if key not in _LEGACY_KEYS]
            document = {"argument": {}} | {key: document[key] for key in _LEGACY_KEYS if key in document}
        validate(document, load_schema("leash-request"), "request")
        command = command_of(document["command"])
        if command is None:
            raise LeashError(Kind.NOT_IMPLEMENTED, "There is no such command.")
        attachments = tuple(self._attachment(part, f"attachment {i}") for i, part in enumerate(parts))
        checked = check_argument(command, document["argument"], attachments, self.limits, lenient=lenient)
        self._unknown_key_log.log_new([*unknown_keys, *checked.unknown_keys])
        return Request(
            command=command,
            argument=checked.argument,
            attachments=attachments,
            time=float(document["time"]),
            reply_context=reply_context,
            calibration=checked.calibration,
        )

    def _attachment(self, part: bytes, where: str) -> Attachment:
        document = parse(part, where, depth=self.limits.depth, values=_ATTACHMENT_VALUES)
        if not isinstance(document, dict):
            raise LeashError(Kind.VALIDATION, f"{where}: wanted a JSON object, found something else")
        validate(document, load_schema("leash-request")["$defs"]["attachment"], where)
        return Attachment(**document)

    def reply(self, request: Request | ReplyContext, result: str, data: Mapping[str, Any]) -> list[bytes]:
        """Make an answer in the protocol of its request.

        An answer that deployed clients could not read, or that is too large, becomes a ``ServerError``.

        Parameters
        ----------
        request
            The request, or what is needed of it.
        result
            What was done.
        data
            What was asked for; may hold NumPy's numbers and arrays.

        Returns
        -------
        Parts of the answer's message.
        """
        reply_context = request.reply_context if isinstance(request, Request) else request
        try:
            return self.sign(reply_context, _answer_text(result, data))
        except SaxsError as error:
            _log.warning("the answer %r is replaced by an error, since clients cannot read it: %s", str(result), error)
            text = (
                str(error) if isinstance(error, LeashError) else "The server made an answer that clients cannot read."
            )
            return self.sign(reply_context, _answer_text(Kind.SERVER, {"Error": text}))

    def sign(self, reply_context: ReplyContext, text: bytes) -> list[bytes]:
        """Make an answer of its JSON: in protocol 2 with its nonce and a signature.

        Parameters
        ----------
        reply_context
            Of the request.
        text
            JSON ``{"result": ..., "data": ...}``.

        Returns
        -------
        Parts of the answer's message.

        Raises
        ------
        LeashError
            It is too large.
        """
        if reply_context.protocol == 2:
            text = text[:-1] + b', "protocol": 2, "nonce": "' + reply_context.nonce.encode("ascii") + b'"}'
        if len(text) > self.limits.response_bytes:
            raise LeashError(
                Kind.SERVER, f"wanted an answer of at most {self.limits.response_bytes} bytes, found {len(text)}"
            )
        return [text] if reply_context.protocol == 1 else [text, reply_signature(text, self._secret).encode("ascii")]

    def error_reply(self, error: Exception, request: Request | None = None) -> list[bytes]:
        """Make the answer to a request that failed.

        Parameters
        ----------
        error
            What was raised; the client is told only of errors that a user can act on.
        request
            The request, if it was valid.

        Returns
        -------
        Parts of the answer's message.
        """
        refused = error_of(error)
        reply_context = request.reply_context if request else refused.reply_context
        if reply_context is None:  # not authentic: its answer is not signed
            return [encode({"result": refused.kind, "data": {"Error": str(refused)}})]
        return self.reply(reply_context, refused.kind, {"Error": str(refused)})


def _answer_text(result: str, data: Mapping[str, Any]) -> bytes:
    """JSON of an answer, as its schema allows it."""
    try:
        document = json_values({"result": result, "data": data})
    except (TypeError, RecursionError) as error:
        raise SchemaError(f"answer: wanted values that JSON can hold, found {error}") from error
    validate(document, load_schema("leash-response"), "answer")
    return encode(document)
