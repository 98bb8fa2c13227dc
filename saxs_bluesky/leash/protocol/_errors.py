"""Errors in answers: a kind that clients know, and a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from saxs_bluesky.errors import CalibrationError, MaskError, SaxsError, SchemaError

_LONGEST_TEXT = 1000  # characters; a request may have a thousand mistakes
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Kind(StrEnum):
    """``result`` of the answer to a request that failed, in the words of deployed servers."""

    ERROR = "Error"
    VALIDATION = "ValidationError in request"
    VALUE = "ValueError in request"
    AUTHENTICATION = "AuthenticationError"
    IO = "IOError"
    OS = "OSError"
    SERVER = "ServerError"
    NOT_IMPLEMENTED = "ErrorNotimplemented"


@dataclass(frozen=True)
class ReplyContext:
    """What is needed of an authentic request for its answer: the protocol and, in protocol 2, the nonce."""

    protocol: int = 1
    nonce: str = ""


class LeashError(SaxsError):
    """A request or an answer that is refused.

    Parameters
    ----------
    kind
        ``result`` of the answer.
    message
        Text; it is made one line without control characters, of at most 1000 characters.
    reply_context
        Given if the request was authentic: its answer may be signed.
    """

    def __init__(self, kind: Kind, message: str, reply_context: ReplyContext | None = None) -> None:
        text = _UNSAFE.sub(" ", message)
        super().__init__(text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "...")
        self.kind = kind
        self.reply_context = reply_context


def error_of(error: Exception) -> LeashError:
    """Error that a client is told for an exception.

    Errors that a user can act on keep their text; of others the client learns only that there was one.
    """
    match error:
        case LeashError():
            return error
        case SchemaError() | CalibrationError():
            return LeashError(Kind.VALIDATION, str(error))
        case MaskError():
            return LeashError(Kind.VALUE, str(error))
        case SaxsError():
            return LeashError(Kind.ERROR, str(error))
        case OSError():
            return LeashError(Kind.OS, error.strerror or type(error).__name__)
        case NotImplementedError():
            return LeashError(Kind.NOT_IMPLEMENTED, "This server cannot do that.")
        case _:
            return LeashError(Kind.SERVER, "The server failed at this request; its log says more.")
