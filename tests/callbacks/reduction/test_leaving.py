"""The end of a program with a reduction and a catalog writer: nothing is dropped, the next one delivers the rest."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.helpers.sessions import assert_delivered_by_the_next, hang_up, ipython, prepare, script


def test_session_that_is_left_right_after_a_scan_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, monkeypatch)
    uids = [
        script("exits.py", 3),
        script("goes_on.py", 128 + signal.SIGTERM, signal.SIGTERM),
        ipython(hang_up),
    ]
    assert_delivered_by_the_next(tmp_path, uids)
