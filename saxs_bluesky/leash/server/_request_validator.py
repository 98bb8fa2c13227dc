"""What stands between the network and the server: bytes to a request that may be acted upon, and answers to bytes."""

from __future__ import annotations

import logging
import math
import re
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
    attachment_digest,
    command_of,
    encode,
    error_of,
    legacy_signature,
    parse,
    plain,
    reply_signature,
    request_signature,
    signatures_match,
)
from saxs_bluesky.leash.server._arguments import check_argument
from saxs_bluesky.leash.server._replay_memory import ReplayMemory
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.schemas import load_schema, validate

_log = logging.getLogger(__name__)

_NONCE = re.compile(r"[0-9a-f]{32,64}", re.ASCII)
_WRONG_SIGNATURE = "Wrong signature."
_LEGACY_KEYS = ("command", "argument", "time", "sign")


@dataclass(frozen=True)
class Request:
    """A request that is authentic, new, and within bounds.

    Parameters
    ----------
    command
        What is wanted.
    argument
        As its schema says; ``mergeconf`` with defaults.
    attachments
        As many as the command wants.
    time
        When it was signed, in seconds since 1970.
    reply_context
        What its answer needs.
    calibration
        With `Command.NEW`: made of the argument and of the masks, which fit it.
    """

    command: Command
    argument: Mapping[str, Any] = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    time: float
    reply_context: ReplyContext
    calibration: Calibration | None = field(default=None, repr=False)


class RequestValidator:
    """Admits requests and makes answers, for one secret.

    A message is measured, then parsed, then authenticated, then validated, and only then anybody acts upon it. In
    protocol 1, keys that are not known are passed over, as deployed servers do; in protocol 2 they are refused. Paths
    in it are of a form that leads down, but whether a link leads out only `confined` can tell.

    Not for several threads at a time.

    Parameters
    ----------
    secret
        What server and clients share.
    limits
        Bounds of what is taken in.
    memory
        Which requests were seen; None: those since the start.
    clock
        Tells the time in seconds since 1970.
    legacy
        Whether to take the requests of deployed clients, whose signature leaves attachments out.

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
        if not secret:
            raise SaxsError("wanted a secret to verify signatures with, found an empty one")
        self.limits = limits or Limits()
        self._secret, self._clock, self._legacy = secret, clock, legacy
        if memory is None:
            memory = ReplayMemory(window=self.limits.window, most=self.limits.remembered, clock=clock)
        self._memory = memory
        self._unknown_key_log = UnknownKeyLog()

    def validate(self, parts: Sequence[bytes]) -> Request:
        """Check a message.

        Parameters
        ----------
        parts
            Its parts, as they came.

        Raises
        ------
        LeashError
            It is refused.
        """
        self._check_sizes(parts)
        document = self._parse(parts[0], "request", self.limits.values)
        if not isinstance(document, dict):
            raise LeashError(Kind.VALUE, "request: wanted a JSON object, found something else")
        reply_context = self._authenticate(document, parts[1:])
        try:
            return self._checked_request(document, parts[1:], reply_context)
        except SaxsError as error:
            refused = error_of(error)
            kind = refused.kind
            if reply_context.protocol == 1 and command_of(str(document.get("command"))) is Command.MERGEDATA:
                kind = Kind.ERROR  # to deployed windows, a merge with any other has begun
            raise LeashError(kind, str(refused), reply_context) from error

    def _check_sizes(self, parts: Sequence[bytes]) -> None:
        limits = self.limits
        if not parts:
            raise LeashError(Kind.VALUE, "wanted a request, found an empty message")
        for what, found, most in (
            ("attachments", len(parts) - 1, limits.attachments),
            ("bytes in a request", len(parts[0]), limits.request_bytes),
            ("bytes in an attachment", max(map(len, parts[1:]), default=0), limits.attachment_bytes),
            ("bytes in a message", sum(map(len, parts)), limits.message_bytes),
        ):
            if found > most:
                raise LeashError(Kind.VALUE, f"wanted at most {most} {what}, found {found}")

    def _parse(self, part: bytes, where: str, values: int) -> Any:
        return parse(part, where, depth=self.limits.depth, values=values)

    def _authenticate(self, request: Mapping[str, Any], attachments: Sequence[bytes]) -> ReplyContext:
        """Verify the signature of a request of either protocol; that it is timely, and new."""
        protocol = request.get("protocol", 1)
        if isinstance(protocol, bool) or protocol not in (1, 2):
            raise LeashError(Kind.VALUE, "request: wanted protocol 1 or 2, found another")
        reply_context = ReplyContext()
        if protocol == 2:
            if not signatures_match(request_signature(request, self._secret), request.get("sign")):
                raise LeashError(Kind.AUTHENTICATION, _WRONG_SIGNATURE)
            nonce = request.get("nonce")
            if not (isinstance(nonce, str) and _NONCE.fullmatch(nonce)):
                raise LeashError(Kind.AUTHENTICATION, "Wrong nonce.")
            reply_context = ReplyContext(2, nonce)
            if request.get("attachments") != [attachment_digest(part) for part in attachments]:
                raise LeashError(Kind.AUTHENTICATION, "Wrong attachments.", reply_context)
            mark = f"2 {nonce}"
        elif not self._legacy:
            raise LeashError(Kind.AUTHENTICATION, "This server wants requests of protocol 2.")
        else:
            wanted = legacy_signature(request, self._secret)
            if not signatures_match(wanted, request.get("sign")):
                raise LeashError(Kind.AUTHENTICATION, _WRONG_SIGNATURE)
            mark = f"1 {wanted}"
        try:
            self._memory.accept_once(mark, _time_or_nan(request.get("time")), self._clock())
        except LeashError as error:
            raise LeashError(error.kind, str(error), reply_context) from None
        return reply_context

    def _checked_request(
        self, document: dict[str, Any], parts: Sequence[bytes], reply_context: ReplyContext
    ) -> Request:
        schema = load_schema("leash-request")
        lenient = reply_context.protocol == 1
        unknown_keys: list[str] = []
        if lenient:
            unknown_keys += [key for key in document if key not in _LEGACY_KEYS]
            document = {"argument": {}} | {key: document[key] for key in _LEGACY_KEYS if key in document}
        validate(document, schema, "request")
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
        document = self._parse(part, where, 16)
        if not isinstance(document, dict):
            raise LeashError(Kind.VALIDATION, f"{where}: wanted a JSON object, found something else")
        validate(document, load_schema("leash-request")["$defs"]["attachment"], where)
        return Attachment(**document)

    def reply(self, request: Request | ReplyContext, result: str, data: Mapping[str, Any]) -> list[bytes]:
        """Make the parts of an answer, in the protocol of its request.

        An answer that deployed clients would choke on, or that is too large, becomes a ``ServerError``.

        Parameters
        ----------
        request
            What is answered.
        result
            What was done.
        data
            What was asked for; NumPy's numbers and arrays may be in it.
        """
        reply_context = request.reply_context if isinstance(request, Request) else request
        try:
            return self.sign(reply_context, _answer_text(result, data))
        except SaxsError as error:
            _log.warning("An answer %r is not as clients want it: %s", str(result), error)
            text = (
                str(error) if isinstance(error, LeashError) else "The server made an answer that clients cannot read."
            )
            return self.sign(reply_context, _answer_text(Kind.SERVER, {"Error": text}))

    def sign(self, reply_context: ReplyContext, text: bytes) -> list[bytes]:
        """Make the parts of an answer of its JSON, ``{"result": ..., "data": ...}``.

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
        """Make the parts of the answer to a request that failed.

        Parameters
        ----------
        error
            Whatever was raised; what is no error of a user's is not told.
        request
            Where it was admitted.
        """
        told = error_of(error)
        reply_context = request.reply_context if request else told.reply_context
        if reply_context is None:  # nothing is signed for those who may be anybody
            return [encode({"result": told.kind, "data": {"Error": str(told)}})]
        return self.reply(reply_context, told.kind, {"Error": str(told)})


def _answer_text(result: str, data: Mapping[str, Any]) -> bytes:
    """An answer as JSON that clients understand."""
    try:
        document = plain({"result": result, "data": data})
    except (TypeError, RecursionError) as error:
        raise SchemaError(f"answer: wanted values that JSON can hold, found {error}") from error
    validate(document, load_schema("leash-response"), "answer")
    return encode(document)


def _time_or_nan(number: Any) -> float:
    """Time of a request; NaN, which is never timely, where it is none."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return math.nan
    return float(number)
