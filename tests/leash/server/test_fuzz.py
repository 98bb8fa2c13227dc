"""Whatever comes, the request validator raises nothing but LeashError."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saxs_bluesky.leash import Kind, LeashError, Response, compose, read_reply
from saxs_bluesky.leash.protocol import Command
from tests.helpers.hostile import CALIBRATION, LOG, MASK, MERGE, hostile_messages, request, sign, sign2, signed
from tests.helpers.leash_validation import NOW, SECRET, make_validator

MANY = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SOME = settings(MANY, max_examples=200)
SEEDS = [
    signed("stat", {}),
    signed("listdir", {"directory": ["user"]}),
    signed("new", {"calibration": CALIBRATION, "data": {}}, (MASK,)),
    signed("mergedata", {"mergeconf": MERGE}, (LOG,)),
]
ARGUMENTS: list[tuple[str, dict[str, Any], tuple[bytes, ...]]] = [
    ("listdir", {"directory": ["user"]}, ()),
    ("new", {"calibration": CALIBRATION, "data": {}}, (MASK,)),
    ("mergedata", {"mergeconf": MERGE}, (LOG,)),
]

numbers = st.floats() | st.integers() | st.sampled_from([10**299, -(10**299), 2**63, 5e-324, -0.0])
texts = st.text(st.characters(), max_size=20) | st.sampled_from(["..", "", ".", "/", "\0", "\ud800", "a" * 300])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """fabio and tifffile tell in the log too of what they cannot read."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def admitted(parts: list[bytes]) -> bool:
    """True if the message is valid; else the answer to it must be one that clients can read."""
    validator = make_validator()
    try:
        validator.validate(parts)
    except LeashError as error:
        answer = validator.error_reply(error)
        assert json.loads(answer[0])["result"] in {*Kind}
        assert SECRET not in answer[0].decode()
        return False
    return True


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            found += places(document[key], (*path, key))
    return found


@MANY
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes(parts: list[bytes]) -> None:
    assert not admitted(parts)


@MANY
@given(st.data())
def test_changed_bytes_of_signed_messages(data: st.DataObject) -> None:
    parts = [bytearray(part) for part in data.draw(st.sampled_from(SEEDS))]
    part = data.draw(st.sampled_from(parts))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(part)))
        length = data.draw(st.sampled_from([0, 1, 2, 50]))
        part[place : place + length] = data.draw(st.binary(max_size=4))
    admitted([bytes(part) for part in parts])


@MANY
@given(st.data())
def test_any_value_in_any_place_of_an_argument(data: st.DataObject) -> None:
    command, argument, files = data.draw(st.sampled_from(ARGUMENTS))
    argument = copy.deepcopy(argument)
    path = data.draw(st.sampled_from(places(argument)))
    value = data.draw(values)
    if path:
        inner: Any = argument
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    else:
        argument = value
    second = data.draw(st.booleans())
    whole = request(command, argument)
    text = json.dumps(sign2(whole, list(files)) if second else sign(whole))
    admitted([text.encode(), *files])


@MANY
@given(
    st.sampled_from(["command", "argument", "time", "sign", "protocol", "nonce", "attachments"]), values, st.booleans()
)
def test_any_value_in_any_key_of_a_request(key: str, value: Any, signed_after: bool) -> None:
    changed = {**request("stat", {}), key: value}
    text = json.dumps(sign(changed) if signed_after else {**sign(request("stat", {})), key: value})
    admitted([text.encode()])


@SOME
@given(values, st.data())
def test_any_value_as_an_attachment(value: Any, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        value = {"filename": "mask", "data": value}
    admitted([SEEDS[2][0], json.dumps(value).encode()])


# Not HDF5: its library loops without end on some of them, for which it has a process of its own.
MASKS = [
    json.loads(hostile.parts[1])["data"].encode("latin-1")
    for name, hostile in hostile_messages().items()
    if name.startswith("masks: ") and "hdf5" not in name and len(hostile.parts) == 2
]


@SOME
@given(st.data())
def test_changed_bytes_of_masks(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(MASKS)))
    for _ in range(data.draw(st.integers(1, 3))):
        # Most of a file is pixels, and what is to be changed stands at its beginning.
        place = data.draw(st.integers(0, min(len(content), 400)) | st.integers(0, len(content)))
        content[place : place + data.draw(st.sampled_from([0, 1, 4]))] = data.draw(st.binary(max_size=4))
    part = json.dumps({"filename": "mask", "data": content.decode("latin-1")}).encode()
    admitted([SEEDS[2][0], part])


@SOME
@given(st.lists(st.binary(max_size=100) | values.map(json.dumps).map(str.encode), max_size=3))
def test_any_answer(parts: list[bytes]) -> None:
    for protocol in (1, 2):
        asked = compose(Command.STAT, {}, secret=SECRET, protocol=protocol, clock=lambda: NOW)
        try:
            assert isinstance(read_reply(parts, asked, SECRET), Response)
        except LeashError:
            continue


@SOME
@given(st.sampled_from(["result", "data", "stat", "graphs", "Error", "dircontent", "fileslist"]), values)
def test_any_value_in_an_answer(key: str, value: Any) -> None:
    validator = make_validator()
    asked = compose(Command.STAT, {}, secret=SECRET, protocol=2, clock=lambda: NOW)
    data = {key: value} if key not in ("result", "data") else {}
    response = read_reply(validator.reply(validator.validate(asked), "x", data), asked, SECRET)
    assert response.result in ("x", "ServerError")
