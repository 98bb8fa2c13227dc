"""A live server under ten thousand fuzzed messages, and under fifty clients while a hundred images come a second."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from saxs_bluesky.leash import COMMANDS, Attachment, Command, compose
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.simulation import SilverBehenate, SimulatedPilatus, simulated_calibration, write_simulated_frame
from tests.helpers.hostile import npy
from tests.helpers.leash_validation import SECRET
from tests.helpers.repository import ROOT
from tests.helpers.serving import CAL, MASK, NEW, Server

pytestmark = pytest.mark.soak

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "10000"))
CLIENTS = 50
SIMPLE = [spec.command for spec in COMMANDS.values() if spec.argument == "nothing"]
SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))
IMAGES_A_SECOND = 100  # at most: no more than a quarter of what this machine can do
IMMEDIATE_COMMANDS = 200  # images, to find that out


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.end()


def spoilt(parts: list[bytes], rng: random.Random) -> list[bytes]:
    """A message with some bytes, parts or lengths changed."""
    parts = list(parts)
    match rng.randrange(6):
        case 0:
            parts = [bytes(rng.randrange(256) for _ in range(rng.randrange(200)))]
        case 1:
            parts += [b"" for _ in range(rng.randrange(100))]
        case 2:
            parts = [part[: rng.randrange(len(part) + 1)] for part in parts]
        case 3:
            rng.shuffle(parts)
        case 4:
            parts = parts * rng.randrange(1, 5)
        case _:
            content = bytearray(parts[0])
            for _ in range(rng.randrange(1, 8)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            parts[0] = bytes(content)
    return parts or [b""]


def test_ten_thousand_fuzzed_messages(server: Server) -> None:
    rng = random.Random(5)
    server.start()
    with server.client() as client:
        assert client.ask(Command.NEW, NEW, MASK).result == "new queue"
        memory, results = [], Counter[str]()
        for number in range(MESSAGES):
            good = compose(rng.choice(SIMPLE), {}, secret=SECRET)
            if rng.random() < 0.3:
                good = compose(Command.NEW, NEW, (MASK,), secret=SECRET)
            (body,) = client.exchange(spoilt(good, rng))
            results[json.loads(body)["result"]] += 1
            if number % 100 == 0:
                server.add(f"{number:05d}.tif", number)
                assert server.process is not None
                memory.append(psutil.Process(server.process.pid).memory_info().rss / 1e6)
        print(dict(results), f"memory {memory[5]:.0f} MB, at the end {memory[-1]:.0f} MB")  # noqa: T201
        server.until(lambda: len(server.listed()) == 2 * len(list(server.data.glob("*.tif"))))
        assert memory[-1] < memory[5] + 50
    assert server.stop() == 0


# A Pilatus 1M, without the work of one: an image is "written" by giving its name to a file that is there. They are in
# memory, so that the files of the oldest, which have their curves, are used again.
DETECTOR = """
import collections, os, shutil, sys, time
folder, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
shown, spare = collections.deque(), [f"{folder}/.spare_{number}" for number in range(300)]
for file in spare:
    shutil.copyfile(f"{folder}/.frame", file)
begin = time.monotonic()
for number in range(int(rate * seconds)):
    time.sleep(max(0.0, begin + number / rate - time.monotonic()))
    if not spare:
        spare.append(f"{folder}/.more_{number}")
        shutil.copyfile(f"{folder}/.frame", spare[0])
    os.rename(spare.pop(), f"{folder}/{number:05d}.tif")
    shown.append(number)
    while len(shown) > 100 and os.path.exists(f"{folder}/../work/{shown[0]:05d}.chi"):
        spare.append(f"{folder}/.again_{shown[0]}")
        os.rename(f"{folder}/{shown.popleft():05d}.tif", spare[-1])
"""

# All clients in one process: fifty would be more than a small computer can start, and they sleep most of the time.
POLLERS = """
import json, sys, time, zmq
from saxs_bluesky.leash import Command, compose
address, secret, number, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
context, poller = zmq.Context(), zmq.Poller()
sockets = []
for _ in range(number):
    socket = context.socket(zmq.REQ)
    socket.linger = 0
    socket.connect(address)
    poller.register(socket, zmq.POLLIN)
    sockets.append(socket)
begin = time.monotonic()
due = {socket: begin + 0.1 * index / number for index, socket in enumerate(sockets)}
asked, turn, taken, refused = {}, dict.fromkeys(sockets, 0), {"stat": [], "plot": []}, 0
while time.monotonic() < begin + seconds:
    now = time.monotonic()
    for socket, when in due.items():
        if when <= now and socket not in asked:
            command = (Command.STAT, Command.PLOT)[turn[socket] % 2]
            turn[socket] += 1
            parts = compose(command, {}, secret=secret)
            asked[socket] = (time.monotonic(), command.value)
            socket.send_multipart(parts)
            due[socket] = max(when + 0.05, now - 1.0)
    free = [when for socket, when in due.items() if socket not in asked]
    wait = min(free, default=now + 0.01) - time.monotonic()
    for socket, _ in poller.poll(max(0, int(1000 * wait))):
        (body,) = socket.recv_multipart()
        sent, command = asked.pop(socket)
        taken[command].append(time.monotonic() - sent)
        refused += b'"Error"' in body[:80]
print(json.dumps({"taken": taken, "refused": refused, "unanswered": len(asked)}))
"""


# Round after round of all hostile messages, signed anew, each from a connection of its own.
# On a computer of its own: what it needs of the processor is not what it costs the server.
ATTACKER = """
import json, os, sys, time, zmq
os.nice(19)
from saxs_bluesky.leash import LeashError, Limits
from tests.helpers import hostile
address, seconds = sys.argv[1], float(sys.argv[2])
context, number, longest, dropped = zmq.Context(), 0, 0.0, 0

def is_refused(parts):  # some are too much for the bounds of the tests alone
    validator = make_validator(Limits(), Clock())
    try:
        validator.validate(parts)
    except LeashError:
        return True
    return False

table = hostile.hostile_messages()
names = [name for name, message in table.items() if message.parts and message.kind and is_refused(message.parts)]
names = [name for name in names if not name.endswith(("too new", "time new"))]  # for half a second
begin = time.monotonic()
while time.monotonic() < begin + seconds:
    hostile.NOW = time.time()
    table = hostile.hostile_messages()
    for name in names:
        message = table[name]
        if time.monotonic() > begin + seconds:
            break
        socket = context.socket(zmq.REQ)
        socket.linger = 0
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.connect(address)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        sent = time.monotonic()
        socket.send_multipart(message.parts)
        ready = dict(poller.poll(10_000))
        longest = max(longest, time.monotonic() - sent)
        assert ready, name
        if socket in ready:
            assert "Error" in json.loads(socket.recv_multipart()[0])["data"], (name, message.parts)
        else:
            dropped += 1
        number += 1
        socket.disable_monitor()
        socket.close()
print(json.dumps({"kinds": len(names), "number": number, "longest": longest, "dropped": dropped}))
"""


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is one, lest four hundred megabytes a second go to the disk."""
    ram = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=ram if ram.is_dir() else None) as folder:
        yield Path(folder)


def new_queue(server: Server) -> dict[str, Any]:
    """Argument of a queue for a Pilatus 1M with three curves, an image of which lies in its folder."""
    document: dict[str, Any] = simulated_calibration(mask_file="mask.npy") | {"Directory": CAL["Directory"]}
    detector = SimulatedPilatus(Calibration.from_dict(document).geometry)
    rate = detector.rate(SilverBehenate())
    write_simulated_frame(server.data / ".frame", detector, rate, 1.0, np.random.default_rng(1))
    return {"calibration": document, "data": {}}


def exposed(server: Server, others: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Share of the images that is reduced as they come while another program does what it does, and what that saw."""
    before = 20 + IMMEDIATE_COMMANDS
    for number in range(before):
        shutil.copyfile(server.data / ".frame", server.data / f".{number}.part")
    with server.client() as client:
        for some in (range(20), range(20, before)):  # a worker's first image takes a second
            begin = time.monotonic()
            for number in some:
                (server.data / f".{number}.part").rename(server.data / f"first_{number}.tif")
            server.until(lambda some=some: client.stat()["images processed"] == some.stop)
    images_a_second = min(IMAGES_A_SECOND, int(IMMEDIATE_COMMANDS / (time.monotonic() - begin) / 4))
    detector = subprocess.Popen(
        [sys.executable, "-c", DETECTOR, str(server.data), str(images_a_second), str(SECONDS)], cwd=ROOT
    )
    seen: dict[str, Any] = {}
    with server.client() as client:
        server.until(lambda: client.stat()["images processed"] > before + images_a_second)
        processed, begin = client.stat()["images processed"], time.monotonic()
        if others:
            command = [sys.executable, "-c", *others, str(SECONDS * 0.7)]
            seen = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
        else:
            time.sleep(SECONDS * 0.7)
        rate = (client.stat()["images processed"] - processed) / (time.monotonic() - begin)
        assert detector.wait(SECONDS + 60) == 0
        wanted = int(images_a_second * SECONDS) + before
        server.until(lambda: client.stat()["images processed"] >= wanted)
        assert client.stat()["images processed"] == wanted
    return rate / images_a_second, seen


def compared(others: Callable[[Server], list[str]]) -> dict[str, Any]:
    """What another program saw that does not starve the reduction; how much it costs, a quiet machine tells."""
    mask = Attachment.from_bytes("mask.npy", npy((1043, 981)))
    rates = []
    for alone in (True, False):
        with in_memory() as folder:
            one = Server(folder).start()
            try:
                with one.client() as client:
                    assert client.ask(Command.NEW, new_queue(one), mask, mask).result == "new queue"
                rate, seen = exposed(one, [] if alone else others(one))
                rates.append(rate)
                assert one.stop() == 0
            finally:
                one.end()
    print(f"share of the images, alone {rates[0]:.2f}, with others {rates[1]:.2f}")  # noqa: T201
    assert rates[1] > 0.5 * rates[0]
    return seen


def test_hostile_messages_cost_no_image() -> None:
    seen = compared(lambda server: [ATTACKER, server.address])
    print(seen)  # noqa: T201
    assert seen["number"] > 500
    assert seen["longest"] < 5


def test_fifty_clients_while_images_come() -> None:
    seen = compared(lambda server: [POLLERS, server.address, SECRET, str(CLIENTS)])
    for command, taken in seen["taken"].items():
        p50, p99, worst = (1000 * np.percentile(taken, share) for share in (50, 99, 100))
        text = f"{command}: {len(taken)} answers, p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {worst:.1f} ms"
        print(text)  # noqa: T201
        assert p99 < 1000
    assert (seen["refused"], seen["unanswered"] <= CLIENTS) == (0, True)
