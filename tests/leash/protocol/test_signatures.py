"""Signatures against those of deployed programs, and against a second way to make them."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.leash import LeashError, Limits
from saxs_bluesky.leash.protocol import legacy_signature, parse, reply_signature, request_signature, signatures_match
from saxs_bluesky.leash.server import ReplayMemory, RequestValidator

REQUESTS: list[dict[str, Any]] = [
    {"command": "stat", "argument": {}, "time": 1404979588.715198},
    {"command": "close", "argument": {}, "time": 1700000000},
    {"command": "new", "argument": {"b": [1e-05, 1e22, -0.0, 172.0, 3, True, None], "a": {"z": 1, "\u00e4": "\u6e2c"}}},
    {"command": "listdir", "argument": {"directory": ['"q" \u212b', "\U0001f600", "\x7f", "\\"]}, "time": 0.1 + 0.2},
]


def in_order(value: Any) -> str:
    """JSON with sorted keys, written by hand."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {in_order(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_order, value)) + "]"
    return json.dumps(value)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("secret", ["x", "s\u00e9cret", "0" * 200])
def test_signatures_are_those_made_by_hand(request_: dict[str, Any], secret: str) -> None:
    text = in_order({**request_, "sign": ""}).encode()
    assert legacy_signature(request_, secret) == hashlib.sha512(text + secret.encode()).hexdigest()
    second = hmac.new(secret.encode(), b"saxs-bluesky leash 2 request\0" + text, hashlib.sha256).hexdigest()
    assert request_signature({**request_, "sign": "whatever"}, secret) == second
    assert reply_signature(text, secret) != second


def test_signatures_of_deployed_programs(shared_data: Path) -> None:
    for vector in json.loads((shared_data / "legacy_signatures.json").read_bytes()):
        assert legacy_signature(vector["request"], vector["secret"]) == vector["request"]["sign"]


def test_signed_requests_of_deployed_programs_are_valid(shared_data: Path) -> None:
    for vector in json.loads((shared_data / "legacy_signatures.json").read_bytes()):
        request = vector["request"]
        now = request["time"] + 2.0
        memory = ReplayMemory(clock=lambda now=now: now, uptime=iter([0.0, *[3600.0] * 9]).__next__)  # type: ignore[misc]
        validator = RequestValidator(vector["secret"], Limits(), memory, lambda now=now: now)  # type: ignore[misc]
        if request["command"] == "new":  # of which only the signature is real
            with pytest.raises(LeashError, match=r"^calibration: "):
                validator.validate([json.dumps(request).encode()])
        else:
            assert validator.validate([json.dumps(request).encode()]).command == request["command"]


def test_what_is_signed_is_what_was_parsed() -> None:
    for request in REQUESTS:
        text = json.dumps(request, indent=3, ensure_ascii=False).encode()
        again = parse(text, "request", depth=9, values=99)
        assert legacy_signature(again, "x") == legacy_signature(request, "x")


def test_a_change_of_anything_changes_the_signature() -> None:
    signs = {legacy_signature(request, secret) for request in REQUESTS for secret in ("x", "y", "")}
    assert len(signs) == 12
    assert legacy_signature({"time": 1}, "x") != legacy_signature({"time": 1.0}, "x")
    assert legacy_signature({"time": 0.0}, "x") != legacy_signature({"time": -0.0}, "x")


@pytest.mark.parametrize("found", [None, "", "ab", "abcd", "ABC", "ab\ud800", "\u6e2c", 5, ["abc"], b"abc", True])
def test_anything_else_is_not_the_same(found: object) -> None:
    assert signatures_match("abc", "abc")
    assert not signatures_match("abc", found)
