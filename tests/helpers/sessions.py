"""Sessions that make a scan into an embedded catalog, and are left right after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pexpect
import pytest

from saxs_bluesky.callbacks import CatalogWriter
from saxs_bluesky.catalog import open_catalog, read_curves, reduced_runs
from tests.helpers.waiting import PATIENCE

FRAMES = 8
SESSION = f"""
import sys, time
from bluesky import RunEngine
from bluesky.plans import count
from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.catalog import open_catalog
from saxs_bluesky.devices import SimPilatus

pilatus = SimPilatus(name="pilatus", directory="frames")
writer = CatalogWriter("catalog", journal="journal")
reduction = Reduction(pilatus.calibration(), sinks=[writer])
RE = RunEngine({{}})
RE.subscribe(writer)
RE.subscribe(reduction)
(uid,) = RE(count([pilatus], {FRAMES}))
print("done", uid, flush=True)
"""
SECONDS = 30.0  # nobody waits for longer: it was a minute


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the scripts, in the current folder from now on."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    Path("session.py").write_text(SESSION)
    Path("ends.py").write_text(SESSION)
    Path("temporary.py").write_text(SESSION.replace('"catalog", journal="journal"', 'open_catalog("catalog")'))
    Path("exits.py").write_text(SESSION + "sys.exit(3)\n")
    Path("goes_on.py").write_text(SESSION + "time.sleep(300)\n")


class Session:
    """A script, and the run that it has made."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        self._lines = []
        for line in self._process.stdout:
            self._lines.append(line)
            if line.startswith("done"):
                break
        else:
            raise AssertionError("".join(self._lines))
        self.uid = line.split()[1]

    def signal(self, *numbers: int) -> None:
        for number in numbers:
            self._process.send_signal(number)
            time.sleep(0.2)

    def end(self) -> int:
        begin = time.monotonic()
        output, _ = self._process.communicate(timeout=PATIENCE)
        assert time.monotonic() - begin < SECONDS, output
        return self._process.returncode


def script(name: str, code: int | None, *signals: int) -> str:
    """Run a script, and return the uid of its run; a code of None may be any."""
    session = Session(name)
    session.signal(*signals)
    ended = session.end()
    assert code in (None, ended)
    return session.uid


def ipython(leave: Callable[[pexpect.spawn], object]) -> str:
    child = pexpect.spawn(sys.executable, ["-m", "IPython", "--simple-prompt", "-i", "session.py"], encoding="utf-8")
    child.expect(r"done (\S+)\r\n.*In \[", timeout=PATIENCE)
    uid = str(child.match.group(1))
    begin = time.monotonic()
    leave(child)
    child.wait()
    assert time.monotonic() - begin < SECONDS
    return uid


def hang_up(child: pexpect.spawn) -> None:
    os.close(child.child_fd)  # as a terminal's window that is closed


def assert_delivered_by_the_next(folder: Path, uids: list[str]) -> None:
    """Whether what they left comes into the catalog, and nothing is set aside."""
    with CatalogWriter(folder / "catalog", journal=folder / "journal") as writer:
        assert writer.wait(PATIENCE)
    assert not (folder / "journal" / "rejected").exists()
    catalog = open_catalog(folder / "catalog")
    for uid in uids:
        (run,) = reduced_runs(catalog, uid)
        assert catalog[uid].stop["exit_status"] == run.stop["exit_status"] == "success"
        curves = read_curves(run)
        assert list(curves["frame_index"].values) == list(range(FRAMES))
        assert np.isfinite(curves["R0_intensity"].values).any(axis=1).all()
