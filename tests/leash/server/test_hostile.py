"""Every hostile message gets its own kind of error, soon, and nothing else."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from saxs_bluesky.leash import LeashError
from saxs_bluesky.leash.server import RequestValidator
from tests.helpers.hostile import Hostile, hostile_messages
from tests.helpers.leash_validation import SECRET, make_validator

MESSAGES = hostile_messages()


def test_there_are_many() -> None:
    assert len(MESSAGES) >= 200


def parameters() -> Iterator[Any]:
    for name, hostile in MESSAGES.items():
        # tifffile tells of what it cannot read in the log too.
        marks = [pytest.mark.logs_errors] if "tiff" in name else []
        yield pytest.param(hostile, id=ascii(name)[1:-1], marks=marks)


@pytest.mark.parametrize("hostile", [*parameters()])
def test_message_gets_its_kind_of_error(validator: RequestValidator, hostile: Hostile) -> None:
    began = time.process_time()
    if hostile.kind is None:
        assert SECRET not in repr(validator.validate(hostile.parts))
        return
    with pytest.raises(LeashError) as caught:
        validator.validate(hostile.parts)
    assert time.process_time() - began < 2
    assert caught.value.kind == hostile.kind
    answer = json.loads(validator.error_reply(caught.value)[0])
    assert answer["result"] == hostile.kind
    assert [*answer["data"]] == ["Error"]
    text = answer["data"]["Error"]
    assert 0 < len(text) <= 1000
    assert text.isprintable()
    assert SECRET not in text + repr(caught.value)
    assert "Traceback" not in text


@pytest.mark.logs_errors
def test_masks_are_refused_for_what_they_are() -> None:
    large = 0
    for name, hostile in MESSAGES.items():
        if name.startswith("masks: ") and hostile.kind:
            with pytest.raises(LeashError) as caught:
                make_validator().validate(hostile.parts)
            assert "bytes in an attachment" not in str(caught.value), name
            if "large" in name:
                large += 1
                assert "wanted a mask of at most 4800 pixels, found one of shape" in str(caught.value), name
    assert large >= 6


@pytest.mark.logs_errors
def test_all_of_them_together_take_little_memory() -> None:
    tracemalloc.start()
    for hostile in MESSAGES.values():
        try:
            make_validator().validate(hostile.parts)
        except LeashError:
            continue
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_wrong_signatures_of_every_kind_get_one_answer(validator: RequestValidator) -> None:
    texts = set()
    for name, hostile in MESSAGES.items():
        if name.startswith("signatures: "):
            with pytest.raises(LeashError) as caught:
                validator.validate(hostile.parts)
            texts.add(str(caught.value))
    assert texts == {"Wrong signature."}
