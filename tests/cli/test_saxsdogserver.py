"""``saxsdogserver``: its options, the background, and what it says to what cannot be."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from saxs_bluesky.cli.saxsdogserver import main, state_folder
from saxs_bluesky.cli.saxsleash import main as leash_main
from saxs_bluesky.cli.saxsnetconf import main as make_keys_main
from saxs_bluesky.leash import Command, NetworkEntry, write_network
from saxs_bluesky.sources import FeederAnnouncer
from tests.helpers.leash_validation import SECRET
from tests.helpers.ports import free_port
from tests.helpers.serving import MASK, NEW, Client, Server, until

CODE = "import sys; from saxs_bluesky.cli.saxsdogserver import main; sys.exit(main())"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.end()


def refused(capsys: pytest.CaptureFixture[str], server: Server, *options: str) -> str:
    """What the command says when it does not begin."""
    assert main([*server.arguments[:-1], *options, server.arguments[-1]]) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert SECRET not in text
    return text


def test_what_cannot_be_is_told_in_a_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"saxsdogserver: {tmp_path}/nowhere: no such base directory\n"
    for options, text in {
        ("--network", str(tmp_path / "none")): "wanted a network file, found nothing there; saxsnetconf makes one",
        ("-N", "1"): "wanted a number from 0 to 0, found server number 1 asked for",
        ("--curve", os.devnull): "wanted a folder for keys, found",
        ("--state", os.devnull): "the folder for the server's state cannot be made",
        ("--bind", "no such host"): "wanted a free address for the server, found:",
    }.items():
        assert text in refused(capsys, server, *options)


def test_address_that_is_taken(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
        other.listen()
        text = refused(capsys, server)
    assert f"tcp://127.0.0.1:{server.port}: wanted a free address for the server, found: Address already in use" in text


def test_second_server_with_the_same_state(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.start()
    assert "the journal folder is used by another process" in refused(capsys, server)
    assert server.stop() == 0


def test_servers_of_other_computers_are_not_served(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    write_network([NetworkEntry("tcp://192.0.2.1:9723", "", SECRET)], server.network)
    assert "no server of this computer in this file; -N serves any of them" in refused(capsys, server)
    write_network([NetworkEntry(f"tcp://localhost:{free_port()}", "", SECRET)] * 2, server.network)
    assert "--port needs one server, and this file has 2: choose one with -N" in refused(capsys, server, "-p", "5555")


def test_server_that_would_find_no_image(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.options = ()
    assert "-w, -f or a Feeder in the network file is needed: without them no image is found" in refused(capsys, server)


@pytest.mark.parametrize("arguments", [[], ["-t", "0", "."], ["-p", "0", "."], ["-p", "70000", "."], ["-x", "."]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: saxsdogserver" in capsys.readouterr().err


def test_state_is_one_for_each_base_directory(tmp_path: Path, state_folder_of_tests: Path) -> None:
    from argparse import Namespace

    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    one, same, other = (state_folder(Namespace(state=None, basedir=tmp_path / name)) for name in ("a", "link", ""))
    assert one == same
    assert one != other
    assert one.is_relative_to(state_folder_of_tests)


@pytest.fixture
def state_folder_of_tests(state_folder: Path) -> Path:
    return state_folder


def test_each_entry_has_its_server_and_secret(server: Server) -> None:
    ports = [free_port(), free_port()]
    entries = [
        NetworkEntry(f"tcp://localhost:{ports[0]}", "", SECRET, "one"),
        NetworkEntry("tcp://192.0.2.1:9723", "", SECRET, "elsewhere"),
        NetworkEntry(f"tcp://127.0.0.1:{ports[1]}", "", SECRET + "2", "two"),
    ]
    write_network(entries, server.network)
    server.network.chmod(0o644)
    server.start()
    server.until(lambda: server.log.count("serving") == 2)
    for port, results in zip(ports, (["stat"], ["AuthenticationError"]), strict=True):
        client = Client(f"tcp://127.0.0.1:{port}").connect()
        assert [client.raw(Command.STAT)["result"]] == results
        client.close()
    assert server.stop() == 0
    assert "elsewhere" not in server.log
    assert "others than its owner may read or write it, and it holds secrets: chmod 600" in server.log
    assert SECRET not in server.log
    assert re.search(r"one tcp://127.0.0.1:\d+: requests 1, refused 0, no queue; two", server.log)


def test_options_reach_the_queue(server: Server, tmp_path: Path) -> None:
    feeder = FeederAnnouncer(f"127.0.0.1:{free_port()}")
    out = tmp_path / "curves"
    port = free_port()
    server.options = ("-f", feeder.address, "-o", str(out), "-p", str(port), "-N", "0", "--poll-only", "--no-legacy")
    server.start()
    client = Client(f"tcp://127.0.0.1:{port}").connect()
    assert client.ask(Command.STAT).error == "This server wants requests of protocol 2."
    before = server.add("before.tif")
    assert client.ask(Command.NEW, NEW, MASK, protocol=2).result == "new queue"

    def name(image: Path) -> Path:
        return out / (str(image.with_suffix("")).replace("/", "_") + ".chi")

    server.until(lambda: name(before).exists())
    later = server.add("later.tif")

    def announced() -> bool:
        feeder.announce(later.relative_to(server.base))
        return name(later).exists()

    server.until(announced)
    client.close()
    feeder.close()
    assert server.stop() == 0
    assert server.log.splitlines()[-1].endswith("done 2, queue 0, failed 0, 0.0 frames/s") or "done 2" in server.log


def test_connections_are_encrypted_where_asked(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys made by ``saxsnetconf``, given to the server while it runs, and taken away again."""
    keys, own = tmp_path / "keys", tmp_path / "own" / "anna"
    assert make_keys_main(["--client-keys", str(own)]) == 0
    assert capsys.readouterr().out.startswith(f"{own}.key: copy it to the server")
    assert (tmp_path / "own" / "anna.key_secret").stat().st_mode & 0o777 == 0o600
    server.options = ("-w", "--curve", str(keys), "--no-legacy")
    server.start()
    assert "no keys of clients in this folder: no client is let in" in server.log

    def ask(*words: str, timeout: str = "20") -> int:
        concealed = ["--curve", str(keys / "server.key"), f"{own}.key_secret", "--protocol", "2"]
        return leash_main([*words, "--network", str(server.network), "--timeout", timeout, *concealed])

    assert ask("stat", timeout="0.5") == 1
    assert "wanted a server, found one that does not let these keys in" in capsys.readouterr().err
    key = shutil.copy(f"{own}.key", keys / "clients")
    until(lambda: ask("stat", timeout="0.5") == 0)
    calibration, mask = tmp_path / "cal.json", tmp_path / "mask.npy"
    calibration.write_text(json.dumps(NEW["calibration"]))
    mask.write_bytes(MASK.content())
    image = server.add("a.tif")
    assert ask("new", str(calibration), str(mask), "/".join(NEW["calibration"]["Directory"])) == 0
    until(server.chi(image).exists)
    Path(key).unlink()
    until(lambda: ask("stat", timeout="0.5") == 1)
    assert server.stop() == 0


def test_background(server: Server) -> None:
    arguments = [sys.executable, "-c", CODE, "-d", *server.arguments]
    called = subprocess.run(arguments, timeout=60, capture_output=True, text=True, check=False)
    assert (called.returncode, called.stdout, called.stderr) == (0, "", "")
    pid_file = server.state / "saxsdogserver.pid"
    process = psutil.Process(int(pid_file.read_text()))
    try:
        assert process.terminal() is None
        assert os.getsid(process.pid) != os.getsid(0)
        assert os.getsid(process.pid) != process.pid
        with server.client() as client:
            assert client.stat() == {}
            image = server.add("a.tif")
            client.ask(Command.NEW, NEW, MASK)
            until(server.chi(image).exists)
        again = subprocess.run(arguments, timeout=60, capture_output=True, text=True, check=False)
        assert again.returncode == 2
        assert again.stderr.startswith("saxsdogserver: ")
        assert "is used by another process" in again.stderr
        assert int(pid_file.read_text()) == process.pid
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        if process.is_running():
            process.kill()
    log = (server.state / "saxsdogserver.log").read_text()
    assert "serving t tcp://127.0.0.1" in log
    assert SECRET not in log
    assert not pid_file.exists()
    assert (server.state / "saxsdogserver.log").stat().st_mode & 0o777 == 0o600


def test_terminal_that_shows_where_things_stand(server: Server) -> None:
    server.start()
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
        client.raw(Command.STAT)
    assert server.stop() == 0
    last = server.log.splitlines()[-1]
    assert re.search(
        rf"requests 2, refused 0, queue open {re.escape(str(server.data))}: done 0, queue 0, failed 0", last
    )


def test_example_unit_names_options_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    unit = (Path(__file__).parents[2] / "docs" / "how-to" / "saxsdogserver.service").read_text()
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    for option in re.findall(r"--[a-z-]+", command):
        assert option in shown
