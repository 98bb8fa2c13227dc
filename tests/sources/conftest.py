"""Sources and feeders that end with their test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.feeder import Feeder
from tests.helpers.ports import free_port
from tests.helpers.source_listening import Listen, Listening
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def listen() -> Iterator[Listen]:
    listening: list[Listening] = []

    def begin(*arguments: Any) -> Listening:
        listening.append(Listening(*arguments))
        return listening[-1]

    yield begin
    for one in listening:
        one.source.stop()
        one.join(PATIENCE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def feeder() -> Iterator[Feeder]:
    feeder = Feeder(free_port())
    yield feeder
    feeder.close()
