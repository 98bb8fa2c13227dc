"""``saxsnetconf`` as a user runs it: on a terminal, and with options."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.cli.saxsnetconf import main
from saxs_bluesky.leash import NetworkEntry, read_network, write_network
from tests.helpers.commands import command_line
from tests.helpers.waiting import PATIENCE

COMMAND = command_line("saxsnetconf")
SERVER, FEEDER = "tcp://127.0.0.1:9723", "tcp://127.0.0.1:9823"
OLD = NetworkEntry("tcp://saxs1:9723", "", "the old secret", "SAXS1")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The network file of a user whose home is a folder of the test; not there yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".saxsdognetwork"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def on_terminal(answers: list[tuple[str, bytes | signal.Signals]], *options: str) -> tuple[int, str]:
    """Run on a terminal and answer each question when it is asked; return exit code and screen."""
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**os.environ, "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(other)
    screen = ""
    end = time.monotonic() + PATIENCE

    def read() -> bool:
        nonlocal screen
        assert time.monotonic() < end, screen
        if not select.select([terminal], [], [], 0.1)[0]:
            return True
        try:
            content = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            return False
        screen += content.decode()
        return bool(content)

    try:
        for question, answer in answers:
            while question not in screen and read():
                pass
            assert question in screen, screen
            if isinstance(answer, signal.Signals):
                process.send_signal(answer)
            else:
                os.write(terminal, answer)
            screen = screen.partition(question)[2]
        looks = 0
        while read():
            looks += 1
            # A signal between the question and the wait for its answer is noticed with the answer.
            if looks % 20 == 0 and isinstance(answer, signal.Signals) and process.poll() is None:
                process.send_signal(answer)
        return process.wait(PATIENCE), screen
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_questions_have_defaults(file: Path) -> None:
    code, screen = on_terminal([(f"Server [{SERVER}]: ", b"\n"), (f"Feeder [{FEEDER}]: ", b"\n"), ("[none]: ", b"\n")])
    assert code == 0
    (entry,) = read_network(file).entries
    assert (entry.server, entry.feeder, entry.name) == (SERVER, FEEDER, "")
    assert len(entry.secret) == 64
    assert entry.secret not in screen
    assert mode(file) == 0o600


def test_answers_are_taken_and_wrong_ones_asked_for_again(file: Path) -> None:
    code, _ = on_terminal(
        [
            ("Server [", b"saxs2\n"),
            ("wanted an address", b""),
            ("Server [", b"saxs2:9000\n"),
            ("Feeder [", b"none\n"),
            ("Name [none]: ", b"  B\xc3\xbchne 2 \n"),
        ]
    )
    assert code == 0
    (entry,) = read_network(file).entries
    assert (entry.server, entry.feeder, entry.name) == ("tcp://saxs2:9000", "", "B\u00fchne 2")


@pytest.mark.parametrize(("key", "code"), [(b"\x04", 2), (signal.SIGINT, 130)])
def test_giving_up_writes_nothing(file: Path, key: bytes | signal.Signals, code: int) -> None:
    done, screen = on_terminal([("Server [", b"\n"), ("Feeder [", key)])
    assert done == code
    assert not file.exists()
    assert "Traceback" not in screen


def test_defaults_can_be_taken_without_questions(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--yes"]) == 0
    (entry,) = read_network(file).entries
    assert (entry.server, entry.feeder) == (SERVER, FEEDER)
    assert capsys.readouterr() == (f"{file}: server 0 ({SERVER}) added, with a new secret\n", "")
    assert json.loads(file.read_text())[0].keys() == {"Server", "Feeder", "Secret", "Name"}


def test_options_answer_the_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network"
    options = ["--server", "saxs3:1", "--feeder", ":2", "--name", "three", "--network", str(path)]
    assert main([*options, "--show-secret"]) == 0
    (entry,) = read_network(path).entries
    assert (entry.server, entry.feeder, entry.name) == ("tcp://saxs3:1", "tcp://127.0.0.1:2", "three")
    assert capsys.readouterr().out.splitlines()[1:] == [entry.secret]
    assert mode(path) == 0o600


def test_no_terminal_and_no_options_is_an_error(file: Path) -> None:
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"saxsnetconf: --server: wanted it, or -y for the default .*, found no terminal.*\n", done.stderr
    )
    assert not file.exists()


def test_server_is_added_to_those_that_are_there(file: Path) -> None:
    write_network([OLD], file)
    assert main(["-y"]) == 0
    assert main(["-y", "--server", "saxs4:1"]) == 0
    first, second, third = read_network(file).entries
    assert first == OLD
    assert (second.server, third.server) == (SERVER, "tcp://saxs4:1")
    assert len({first.secret, second.secret, third.secret}) == 3


@pytest.mark.parametrize("address", ["tcp://saxs1:9723", "saxs1:9723"])
def test_server_that_is_there_keeps_its_secret(file: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_network([NetworkEntry(SERVER, FEEDER, "x"), OLD], file)
    assert main(["-y", "--server", address, "--feeder", "saxs1:9823"]) == 0
    _, changed = read_network(file).entries
    assert changed == NetworkEntry(OLD.server, "tcp://saxs1:9823", OLD.secret, OLD.name)
    assert "server 1 (tcp://saxs1:9723) is in the file already and keeps its secret" in capsys.readouterr().out
    before = file.read_bytes()
    assert main(["-y", "--server", address]) == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize("option", ["-n", "--new"])
def test_file_can_be_replaced(file: Path, option: str) -> None:
    write_network([NetworkEntry(SERVER, "", "the old secret"), OLD], file)
    assert main([option, "-y"]) == 0
    (entry,) = read_network(file).entries
    assert (entry.server, entry.name) == (SERVER, "")
    assert "the old secret" not in file.read_text()


def test_two_new_secrets_are_not_the_same(file: Path) -> None:
    found = set()
    for _ in range(3):
        main(["-n", "-y"])
        found.add(read_network(file).entries[0].secret)
    assert len(found) == 3


@pytest.mark.parametrize("before", [0o644, 0o620, 0o604])
def test_file_that_others_could_read_is_closed_and_told_of(
    file: Path, before: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_network([OLD], file)
    file.chmod(before)
    assert main(["-y"]) == 0
    assert mode(file) == 0o600
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"saxsnetconf: {file}: other users could read or change this file, which holds secrets; now only you can"
    )
    assert main(["-y"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["", "{}", "[{}]", '[{"Server": "x", "Secret": 5}]'])
def test_damaged_file_is_kept_unless_replaced(file: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(content)
    assert main(["-y"]) == 2
    assert capsys.readouterr().err.startswith(f"saxsnetconf: {file}: ")
    assert file.read_text() == content
    assert main(["-y", "-n"]) == 0
    assert len(read_network(file).entries) == 1


def test_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "absent" / "network", tmp_path / "folder"):
        assert main(["-y", "-n", "--network", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"saxsnetconf: {path}: the network file cannot be written (")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server", "saxs"], "wanted an address"),
        (["--server", ""], "wanted an address"),
        (["--feeder", "tcp://saxs:99999"], "wanted an address"),
        (["--name", "a\x1bb"], "wanted a name without control characters"),
        (["--name", "\udcff"], "wanted a name without control characters"),
    ],
)
def test_wrong_options_are_one_line(
    file: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-y", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not file.exists()


def test_help_has_examples(capsys: pytest.CaptureFixture[Any]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "saxsnetconf -n -y" in capsys.readouterr().out


def test_keys_of_a_client_are_made_once(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tmp_path / "keys" / "anna"
    assert main(["--client-keys", str(name)]) == 0
    public, secret = tmp_path / "keys" / "anna.key", tmp_path / "keys" / "anna.key_secret"
    assert capsys.readouterr().out.splitlines() == [
        f"{public}: copy it to the server, into the clients folder of its keys",
        f"{secret}: for the client alone; keep it secret",
    ]
    assert (mode(public), mode(secret)) == (0o644, 0o600)
    before = secret.read_bytes()
    assert main(["--client-keys", str(name)]) == 2
    assert capsys.readouterr().err == f"saxsnetconf: {public}: the key file exists already; it is not overwritten\n"
    assert secret.read_bytes() == before
    assert main(["--client-keys", "/dev/null/anna"]) == 2
    assert "wanted a folder for keys, found" in capsys.readouterr().err
    assert not file.exists()
