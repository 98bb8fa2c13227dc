"""A server's queue that listens to a feeder, killed ten times while images are announced."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.leash import Command
from saxs_bluesky.reduction import Calibration, Reducer, read_chi, read_frame
from tests.helpers.commands import command_line
from tests.helpers.ports import free_port
from tests.helpers.serving import CAL, MASK, NEW, PATIENCE, Server
from tests.helpers.watching import Catalogued

pytestmark = pytest.mark.soak

KILLS = 10
IMAGES = int(os.environ.get("SOAK_FEEDER_IMAGES", "1500"))
IMAGES_A_SECOND = 40


@pytest.fixture
def feeding(tmp_path: Path) -> Iterator[Server]:
    """A server that looks for images on its own only when it starts, and the feeder that it listens to."""
    port = free_port()
    server = Server(tmp_path)
    server.options = ("-f", f"tcp://127.0.0.1:{port}", "--catalog", str(server.catalog))
    with (tmp_path / "feeder.log").open("w") as log:
        feeder = subprocess.Popen(
            [*command_line("saxsfeeder"), "-p", str(port), "-d", str(server.base)], stdout=log, stderr=log
        )
    yield server
    server.end()
    feeder.terminate()
    assert feeder.wait(PATIENCE) == 0


def _expose(server: Server, written: list[Path]) -> None:
    for number in range(IMAGES):
        written.append(server.add(f"scan_{number:05d}.tif", seed=number))
        time.sleep(1 / IMAGES_A_SECOND)


def test_every_announced_image_is_reduced_once_over_ten_kills(feeding: Server) -> None:
    server = feeding
    server.start()
    with server.client() as client:
        assert client.ask(Command.NEW, NEW, MASK).result == "new queue"
    written: list[Path] = []
    detector = threading.Thread(target=_expose, args=(server, written), daemon=True)
    detector.start()
    for kill in range(1, KILLS + 1):
        server.until(lambda kill=kill: len(written) > kill * IMAGES / (KILLS + 1))
        server.kill()
        time.sleep(0.5)  # images are announced to nobody
        server.start()
    detector.join()
    server.until(lambda: all(server.chi(image).exists() for image in written))
    with server.client() as client:
        server.until(lambda: client.stat()["queue length"] == 0)
    assert server.stop(signal.SIGTERM) == 0

    reducer = Reducer(Calibration.from_dict(CAL, masks=[MASK.content()]))
    for image in written:
        frame = read_frame(image)
        expected = reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff)[0]
        np.testing.assert_array_equal(read_chi(server.chi(image)).curve.intensity, expected.intensity)
    once = Counter(str(image) for image in written)
    found = Catalogued.read(server.catalog)
    assert found.raw == once
    assert found.reduced == once
    assert not found.failed
    assert all(found.stops)
    assert max(Counter(server.listed()).values()) == 1
    assert len(server.listed()) == len(written) * len(reducer.template)
