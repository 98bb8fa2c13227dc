"""Sessions that are left right after a scan, in the ways that the daily tests leave out."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.helpers.sessions import assert_delivered_by_the_next, ipython, prepare, script

pytestmark = pytest.mark.soak


def test_session_that_is_left_right_after_a_scan_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, monkeypatch)
    uids = [
        script("ends.py", 0),
        script("temporary.py", 0),
        script("goes_on.py", 128 + signal.SIGHUP, signal.SIGHUP),
        script("goes_on.py", None, signal.SIGINT, signal.SIGINT),
        ipython(lambda child: child.sendline("exit")),
    ]
    assert_delivered_by_the_next(tmp_path, uids)
