"""The file that names the servers of a network."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.errors import OutputError, SaxsError, SchemaError
from saxs_bluesky.leash import FEEDER_PORT, SERVER_PORT, NetworkEntry, new_entry, read_network, write_network

SECRET = "4e7219de25a61519d66c"
ENTRY = {"Server": "tcp://host:9723", "Feeder": "tcp://host:9823", "Secret": SECRET, "Name": "SAXS"}


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".saxsdognetwork"


def test_file_of_deployed_programs_is_read(path: Path) -> None:
    network = read_network(write(path, [ENTRY, {**ENTRY, "Name": "GISAXS"}]))
    assert network.choose() == NetworkEntry("tcp://host:9723", "tcp://host:9823", SECRET, "SAXS")
    assert network.choose(1).name == "GISAXS"
    assert not network.exposed


def test_feeder_and_name_may_be_missing(path: Path) -> None:
    network = read_network(write(path, [{"Server": "tcp://host:1", "Secret": "x"}]))
    assert network.choose().feeder == f"tcp://localhost:{FEEDER_PORT}"
    assert network.choose().name == ""


@pytest.mark.parametrize("index", [1, 7, -1])
def test_number_of_no_server_is_named(path: Path, index: int) -> None:
    network = read_network(write(path, [ENTRY]))
    with pytest.raises(SaxsError, match=rf"wanted a number from 0 to 0, found server number {index}"):
        network.choose(index)
    with pytest.raises(SaxsError, match="wanted at least one server in it"):
        read_network(write(path, [])).choose()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o666])
def test_file_that_others_may_read_or_change_is_told_of(path: Path, mode: int) -> None:
    write(path, [ENTRY]).chmod(mode)
    assert read_network(path).exposed


@pytest.mark.parametrize(
    "document",
    [
        ENTRY, [[ENTRY]], [SECRET], SECRET, {"Secret": SECRET}, [{**ENTRY, "Secret": [SECRET]}],
        [{**ENTRY, "Secret": 5219}],
        [{**ENTRY, "Secret": {"a": SECRET}}], [{**ENTRY, "Secret": ""}], [{**ENTRY, "Secret": None}],
        [{**ENTRY, "Secrets": SECRET}], [{**ENTRY, "secret": SECRET}], [{"Server": "x"}], [{"Secret": SECRET}],
        [{**ENTRY, "Server": ""}], [{**ENTRY, "Server": 5}], [None], 5219,
    ],
)  # fmt: skip
def test_errors_tell_no_secret(path: Path, document: Any) -> None:
    with pytest.raises(SchemaError) as caught:
        read_network(write(path, document))
    assert str(path) in str(caught.value)
    assert SECRET[:8] not in str(caught.value)
    assert "5219" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 10_000, b"\xff", b'[{"Secret": "4e7219de25', b'[{"Secret": "a", "Secret": "b"}]', b" " * 2**21],
)
def test_file_that_is_no_json_is_named(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SchemaError) as caught:
        read_network(path)
    assert str(path) in str(caught.value)
    assert "4e7219de25" not in str(caught.value)


def test_byte_order_mark_is_taken(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([ENTRY]).encode())
    assert read_network(path).choose().secret == SECRET


def test_missing_file_says_what_makes_one(path: Path) -> None:
    with pytest.raises(SaxsError, match="found nothing there; saxsnetconf makes one"):
        read_network(path)
    path.mkdir()
    with pytest.raises(SaxsError, match="Is a directory"):
        read_network(path)


def test_secret_is_in_no_repr(path: Path) -> None:
    network = read_network(write(path, [ENTRY]))
    assert SECRET not in repr(network)
    assert SECRET not in str(network.choose())


def test_new_secrets_are_long_and_all_different() -> None:
    entries = [new_entry("beamline", name="SAXS") for _ in range(100)]
    assert entries[0].server == f"tcp://beamline:{SERVER_PORT}" == "tcp://beamline:9723"
    assert entries[0].feeder == "tcp://beamline:9823"
    assert len({entry.secret for entry in entries}) == 100
    assert all(len(entry.secret) == 64 for entry in entries)


def test_written_file_is_read_back_and_is_its_owners_alone(path: Path) -> None:
    entries = (new_entry(name="one \u00e4"), new_entry(server_port=1, feeder_port=2))
    old = os.umask(0)
    try:
        assert write_network(entries, path) == path
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    network = read_network(path)
    assert network.entries == entries
    assert not network.exposed
    assert [*json.loads(path.read_text())[0]] == ["Server", "Feeder", "Secret", "Name"]
    assert [*path.parent.iterdir()] == [path]


def test_file_is_never_readable_by_others_even_while_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, []).chmod(0o644)
    modes = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        modes.extend(stat.S_IMODE(draft.stat().st_mode) for draft in path.parent.iterdir() if draft != path)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_network([new_entry()], path)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_failure_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_network([new_entry(name="old")], path)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_network([new_entry(name="new")], path)
    assert read_network(path).choose().name == "old"
    assert [*path.parent.iterdir()] == [path]


def test_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_network([new_entry()], tmp_path / "nowhere" / "file")
