"""Signatures of requests and of answers.

Protocol 1 is that of deployed programs: SHA-512 over the request followed by the secret; attachments and answers are
not signed. Protocol 2 signs requests, attachments and answers with HMAC-SHA-256 (RFC 2104); requests and answers have
different prefixes, so that no request can be taken for an answer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

_REQUEST_DOMAIN = b"saxs-bluesky leash 2 request\0"
_REPLY_DOMAIN = b"saxs-bluesky leash 2 reply\0"


def _canonical(request: Mapping[str, Any]) -> bytes:
    return json.dumps({**request, "sign": ""}, sort_keys=True).encode("ascii")


def legacy_signature(request: Mapping[str, Any], secret: str) -> str:
    """Signature of a request in protocol 1, in hexadecimal digits."""
    return hashlib.sha512(_canonical(request) + secret.encode("utf-8")).hexdigest()


def request_signature(request: Mapping[str, Any], secret: str) -> str:
    """Signature of a request in protocol 2, in hexadecimal digits."""
    return hmac.new(secret.encode("utf-8"), _REQUEST_DOMAIN + _canonical(request), "sha256").hexdigest()


def reply_signature(body: bytes, secret: str) -> str:
    """Signature of the first part of an answer in protocol 2, in hexadecimal digits."""
    return hmac.new(secret.encode("utf-8"), _REPLY_DOMAIN + body, "sha256").hexdigest()


def attachment_digest(part: bytes) -> str:
    """SHA-256 of an attachment, which a request in protocol 2 holds, in hexadecimal digits."""
    return hashlib.sha256(part).hexdigest()


def signatures_match(wanted: str, found: object) -> bool:
    """Compare signatures in a time that does not depend on how much of them is equal."""
    text = found if isinstance(found, str) else ""
    return hmac.compare_digest(wanted.encode("ascii"), text.encode("utf-8", "surrogatepass"))
