"""Requests that come again, over restarts and clocks that are set."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.errors import OutputError
from saxs_bluesky.leash import LeashError
from saxs_bluesky.leash.server import ReplayMemory, RequestValidator
from tests.helpers.hostile import request, sign2, signed
from tests.helpers.leash_validation import NOW, SECRET, Clock, make_validator

DAY = 86400.0


def open_memory(path: Path | None, clock: Clock, **options: Any) -> ReplayMemory:
    return ReplayMemory(path, clock=clock, uptime=clock.uptime, **options)


def take(memory: ReplayMemory, clock: Clock, mark: str, ago: float = 0.0) -> None:
    memory.accept_once(mark, clock.now - ago, clock.now)


def refused(memory: ReplayMemory, clock: Clock, mark: str, signed_at: float) -> str:
    with pytest.raises(LeashError) as caught:
        memory.accept_once(mark, signed_at, clock.now)
    assert caught.value.kind == "AuthenticationError"
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen"


@pytest.fixture
def memory(path: Path, clock: Clock) -> ReplayMemory:
    memory = open_memory(path, clock)
    clock.passes(2000)
    return memory


def reopened(memory: ReplayMemory, path: Path, clock: Clock, **options: Any) -> ReplayMemory:
    memory.close()
    clock.up = 5.0
    return open_memory(path, clock, **options)


def test_second_time_is_refused_until_it_is_untimely(memory: ReplayMemory, clock: Clock) -> None:
    at = clock.now
    take(memory, clock, "a")
    for _ in range(100):
        assert refused(memory, clock, "a", at) in ("Request seen before.", "Untimely request.")
        clock.passes(20)
    take(memory, clock, "b")
    assert len(memory) == 1


def test_request_from_the_future_is_remembered_until_its_time_is_over(memory: ReplayMemory, clock: Clock) -> None:
    at = clock.now + 899
    take(memory, clock, "a", -899)
    clock.passes(1790)
    assert refused(memory, clock, "a", at) == "Request seen before."
    clock.passes(20)
    assert refused(memory, clock, "a", at) == "Untimely request."


def test_validator_refuses_a_request_that_comes_again(clock: Clock) -> None:
    validator = make_validator(clock=clock)
    first, second = signed("close", {}), [json.dumps(sign2(request("close", {}), [])).encode()]
    for parts in (first, second):
        validator.validate(parts)
        for _ in range(3):
            with pytest.raises(LeashError, match="seen before"):
                validator.validate(parts)
    # The same request in another dress.
    with pytest.raises(LeashError, match="seen before"):
        validator.validate([b" " + first[0].replace(b'"close"', b'"\\u0063lose"')])
    # The nonce of another request.
    other = sign2(request("abort", {}, time=NOW - 5), [])
    with pytest.raises(LeashError, match="seen before"):
        validator.validate([json.dumps(other).encode()])


def test_refused_signature_does_not_use_a_request_up(clock: Clock) -> None:
    validator = make_validator(clock=clock)
    parts = signed("stat", {})
    with pytest.raises(LeashError, match="Wrong signature"):
        validator.validate([parts[0].replace(b"stat", b"plot")])
    validator.validate(parts)


def test_restart_neither_replays_nor_locks_out(memory: ReplayMemory, path: Path, clock: Clock) -> None:
    at = clock.now
    take(memory, clock, "a")
    clock.passes(1)
    memory = reopened(memory, path, clock)
    assert refused(memory, clock, "a", at) == "Request seen before."
    take(memory, clock, "signed before the restart, come after it", 3.0)


def test_killed_program_has_noted_all(memory: ReplayMemory, path: Path, clock: Clock) -> None:
    at = clock.now
    take(memory, clock, "a")
    content = path.read_bytes()
    path.with_name("other").write_bytes(content + b"17000")  # killed in the middle of the next
    memory = open_memory(path.with_name("other"), clock)
    assert refused(memory, clock, "a", at) == "Request seen before."
    take(memory, clock, "b", 10.0)


def test_many_restarts_keep_what_was_seen(memory: ReplayMemory, path: Path, clock: Clock) -> None:
    times = {}
    for i in range(30):
        times[f"{i}"] = clock.now
        take(memory, clock, f"{i}")
        clock.passes(10)
        memory = reopened(memory, path, clock)
    for mark, at in times.items():
        assert refused(memory, clock, mark, at) == "Request seen before."


def test_without_file_nothing_signed_before_the_start_is_taken(clock: Clock) -> None:
    memory = open_memory(None, clock)
    clock.passes(10)
    assert refused(memory, clock, "a", clock.now - 10) == "Untimely request."
    take(memory, clock, "a", 9.99)


def test_first_start_with_a_file_takes_nothing_signed_before_it(path: Path, clock: Clock) -> None:
    memory = open_memory(path, clock)
    began = clock.now
    clock.passes(10)
    assert refused(memory, clock, "a", began - 1) == "Untimely request."
    memory = reopened(memory, path, clock)
    assert refused(memory, clock, "a", began - 1) == "Untimely request."
    take(memory, clock, "b", 5.0)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\n", b"nonsense\n", b"nan abcd\n", b"inf 0 forgotten\n", b"1e999 abcd\n", b"\n", b"x" * 200_000 + b"\n"],
)
def test_damaged_file_takes_nothing_signed_before_the_start(
    memory: ReplayMemory, path: Path, clock: Clock, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    at = clock.now
    take(memory, clock, "a")
    clock.passes(5)
    memory.close()
    path.write_bytes(content + path.read_bytes())
    memory = reopened(memory, path, clock)
    assert "damaged" in caplog.text
    refused(memory, clock, "a", at)
    assert refused(memory, clock, "b", clock.now - 1) == "Untimely request."
    clock.passes(2)
    take(memory, clock, "c", 1.0)


def test_file_far_too_long_is_not_read(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)
    memory = open_memory(path, clock, most=10)
    assert "damaged" in caplog.text
    assert path.stat().st_size < 1000
    memory.close()


def test_file_removed_takes_nothing_signed_before_the_start(memory: ReplayMemory, path: Path, clock: Clock) -> None:
    at = clock.now
    take(memory, clock, "a")
    clock.passes(5)
    memory.close()
    path.unlink()
    memory = reopened(memory, path, clock)
    assert refused(memory, clock, "a", at) == "Untimely request."


@pytest.mark.parametrize("step", [-DAY, -1000, -890, -10, 10, 890, 1000, DAY])
@pytest.mark.parametrize("restart", [False, True])
def test_clock_that_is_set_lets_nothing_in_twice(
    memory: ReplayMemory, path: Path, clock: Clock, step: float, restart: bool
) -> None:
    seen = {}
    for i in range(200):
        seen[f"{i}"] = clock.now
        take(memory, clock, f"{i}")
        clock.passes(20)
    clock.now += step
    if restart:
        memory = reopened(memory, path, clock)
    for mark, at in seen.items():
        refused(memory, clock, mark, at)
    for mark in range(1000, 1100):
        clock.passes(20)
        if not -DAY < step < 0:
            take(memory, clock, f"{mark}")  # nobody is locked out
    for mark, at in seen.items():
        refused(memory, clock, mark, at)


@pytest.mark.parametrize("restart", [False, True])
def test_clock_that_ran_ahead_for_a_while_locks_nobody_out(
    memory: ReplayMemory, path: Path, clock: Clock, restart: bool
) -> None:
    seen = {}
    for step in (0.0, DAY, -DAY, 2 * DAY, -2 * DAY):
        clock.now += step
        if restart:
            memory = reopened(memory, path, clock)
        for _ in range(100):
            clock.passes(20)
            mark = f"{len(seen)}"
            seen[mark] = clock.now
            take(memory, clock, mark)
    for later in (0.0, DAY - 10_000, 2000, 2000, 2000, 2000, 2000):
        clock.passes(later)
        for mark, at in seen.items():
            refused(memory, clock, mark, at)


def test_clock_ahead_at_a_first_start_locks_nobody_out_later(path: Path, clock: Clock) -> None:
    clock.now += DAY
    memory = open_memory(path, clock)
    clock.passes(10)
    clock.now -= DAY
    take(memory, clock, "a", 5.0)
    memory = reopened(memory, path, clock)
    assert refused(memory, clock, "a", clock.now - 5.0)
    clock.passes(10)
    take(memory, clock, "b", 5.0)


def test_memory_is_bounded_and_never_replays(path: Path, clock: Clock) -> None:
    memory = open_memory(path, clock, most=50)
    clock.passes(5000)
    seen = {}
    for i in range(5000):
        clock.passes(0.05)
        seen[f"{i}"] = clock.now
        take(memory, clock, f"{i}")
        assert len(memory) <= 50
    assert path.stat().st_size < 100_000
    for again in (memory, reopened(memory, path, clock, most=50)):
        for mark, at in seen.items():
            refused(again, clock, mark, at)


def test_quiet_server_does_not_gather_spans(memory: ReplayMemory, clock: Clock) -> None:
    for i in range(100):
        clock.passes(5000)
        take(memory, clock, f"{i}")
    assert len(memory) == 1
    assert len(memory._refused_spans) <= 8


def test_file_is_its_owners_alone(memory: ReplayMemory, path: Path, clock: Clock) -> None:
    old = os.umask(0)
    try:
        for _ in range(3):
            take(memory, clock, f"{clock.now}")
            clock.passes(1)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            memory = reopened(memory, path, clock)
    finally:
        os.umask(old)
    path.chmod(0o644)
    memory = reopened(memory, path, clock)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_tells_neither_secret_nor_signature(tmp_path: Path, clock: Clock) -> None:
    memory = open_memory(tmp_path / "seen", clock)
    clock.passes(100)
    parts = signed("stat", {}, time=clock.now)
    validator = make_validator(clock=clock)
    validator._authenticator._memory = memory
    validator.validate(parts)
    content = (tmp_path / "seen").read_text()
    assert SECRET not in content
    assert json.loads(parts[0])["sign"][:32] not in content


def test_second_program_is_refused(memory: ReplayMemory, path: Path, clock: Clock) -> None:
    with pytest.raises(OutputError, match="it is used by another process"):
        open_memory(path, clock)
    memory.close()
    open_memory(path, clock).close()


def test_link_in_its_place_is_not_followed(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "seen").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="the file of the requests seen cannot be used"):
        open_memory(tmp_path / "seen", clock)
    assert not (tmp_path / "elsewhere").exists()


def test_folder_that_is_missing_is_named(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(OutputError, match=r"nowhere/seen: .*No such file"):
        open_memory(tmp_path / "nowhere" / "seen", clock)


def test_full_disk_costs_a_warning_and_replays_nothing(
    memory: ReplayMemory, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at = clock.now
    take(memory, clock, "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: len(content) - 1)
        take(memory, clock, "b")
        take(memory, clock, "c")
    assert caplog.text.count("No space left on device") == 1
    assert not path.exists()
    clock.passes(1)
    for again in (memory, reopened(memory, path, clock)):
        for mark in "abc":
            refused(again, clock, mark, at)


def test_an_empty_memory_is_used_all_the_same(path: Path, clock: Clock) -> None:
    memory = open_memory(path, clock)
    validator = RequestValidator(SECRET, None, memory, clock)
    clock.passes(100)
    validator.validate(signed("stat", {}, time=clock.now))
    assert len(memory) == 1
