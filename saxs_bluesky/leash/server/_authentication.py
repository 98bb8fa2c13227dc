"""Checks that a request comes from somebody who knows the secret, in time and for the first time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.protocol import (
    Kind,
    LeashError,
    ReplyContext,
    attachment_digest,
    legacy_signature,
    request_signature,
    signatures_match,
)
from saxs_bluesky.leash.server._replay_memory import ReplayMemory

_NONCE = re.compile(r"[0-9a-f]{32,64}", re.ASCII)


class RequestAuthenticator:
    """Verifies the signatures of requests of either protocol, for one secret.

    Parameters
    ----------
    secret
        Shared by server and clients.
    memory
        Which requests were seen.
    clock
        Returns the time in seconds since 1970.
    legacy
        Accept protocol 1, whose signature leaves attachments out.

    Raises
    ------
    SaxsError
        The secret is empty.
    """

    def __init__(self, secret: str, memory: ReplayMemory, clock: Callable[[], float], *, legacy: bool) -> None:
        if not secret:
            raise SaxsError("wanted a secret to verify signatures with, found an empty one")
        self._secret, self._memory, self._clock, self._legacy = secret, memory, clock, legacy

    def authenticate(self, request: Mapping[str, Any], attachments: Sequence[bytes]) -> ReplyContext:
        """Verify the signature, the time and the novelty of a request.

        Parameters
        ----------
        request
            First part of the message, parsed.
        attachments
            Its further parts.

        Returns
        -------
        What the answer needs.

        Raises
        ------
        LeashError
            The request is refused.
        """
        protocol = request.get("protocol", 1)
        if isinstance(protocol, bool) or protocol not in (1, 2):
            raise LeashError(Kind.VALUE, "request: wanted protocol 1 or 2, found another")
        if protocol == 1 and not self._legacy:
            raise LeashError(Kind.AUTHENTICATION, "This server wants requests of protocol 2.")
        signature = (legacy_signature if protocol == 1 else request_signature)(request, self._secret)
        if not signatures_match(signature, request.get("sign")):
            raise LeashError(Kind.AUTHENTICATION, "Wrong signature.")
        context, mark = ReplyContext(), f"1 {signature}"
        if protocol == 2:
            nonce = request.get("nonce")
            if not (isinstance(nonce, str) and _NONCE.fullmatch(nonce)):
                raise LeashError(Kind.AUTHENTICATION, "Wrong nonce.")
            context, mark = ReplyContext(2, nonce), f"2 {nonce}"
            if request.get("attachments") != [attachment_digest(part) for part in attachments]:
                raise LeashError(Kind.AUTHENTICATION, "Wrong attachments.", context)
        time = request.get("time")
        # NaN is never within the window.
        signed_at = float(time) if isinstance(time, int | float) and not isinstance(time, bool) else math.nan
        try:
            self._memory.accept_once(mark, signed_at, self._clock())
        except LeashError as error:
            raise LeashError(error.kind, str(error), context) from None
        return context
