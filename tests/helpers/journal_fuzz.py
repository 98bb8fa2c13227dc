"""Journals that are damaged after a kill, and the command that is started on them.

``python -m tests.helpers.journal_fuzz FOLDER FIRST LAST SECONDS`` does so for the seeds from FIRST to before LAST,
until the time is over: a ``saxsdog`` is killed with SIGKILL, a file of its journals is damaged, and it is started
again, to its end. Children are forks of one process, which has loaded everything once. What was found wrong goes to
``found.json`` in the folder.

The catalog is away all the time, so that what it would get is in the writer's journal.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.callbacks.catalog_writer._run_journal import decode
from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.frame_job import CurveFiles
from saxs_bluesky.reduction import Calibration, PilatusHeader, Reducer, read_chi, read_frame, write_frame
from tests.helpers.calibrations import small_document
from tests.helpers.repository import ROOT

HEADER = PilatusHeader(entries={"Exposure_time": "1.0 s", "Count_cutoff": "1000 counts"})
IMAGES = 24
CATALOG = "http://127.0.0.1:9/api/v1"  # nobody answers there
PATIENCE = 60.0  # seconds until what hangs has failed
Damage = Callable[[Path, random.Random], str]


def flip(path: Path, rng: random.Random) -> str:
    """Flip bits of some bytes."""
    content = bytearray(path.read_bytes())
    places = [rng.randrange(len(content)) for _ in range(rng.choice([1, 1, 3, 20]))] if content else []
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"bytes flipped at {places}"


def cut(path: Path, rng: random.Random) -> str:
    """Cut the end off."""
    size = rng.randrange(path.stat().st_size + 1)
    os.truncate(path, size)
    return f"cut to {size} bytes"


def empty(path: Path, _: random.Random) -> str:
    path.write_bytes(b"")
    return "emptied"


def remove(path: Path, _: random.Random) -> str:
    path.unlink()
    return "removed"


def put_folder(path: Path, _: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "replaced by a folder"


def zeros(path: Path, rng: random.Random) -> str:
    """What a power failure leaves of a file that had grown."""
    content = path.read_bytes()
    size = rng.randrange(len(content) + 1)
    path.write_bytes(content[:size] + b"\0" * (len(content) - size))
    return f"zeros from byte {size} on"


def duplicate(path: Path, rng: random.Random) -> str:
    lines = path.read_bytes().splitlines(keepends=True) or [b""]
    place = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines) + 1), lines[place])
    path.write_bytes(b"".join(lines))
    return f"line {place} twice"


def swap(path: Path, rng: random.Random) -> str:
    lines = path.read_bytes().splitlines(keepends=True) or [b""]
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    path.write_bytes(b"".join(lines))
    return f"lines {first} and {second} exchanged"


def garbage(path: Path, rng: random.Random) -> str:
    lines = path.read_bytes().splitlines(keepends=True)
    length = rng.choice([10, 1000, 3_000_000])
    lines.insert(rng.randrange(len(lines) + 1), rng.randbytes(length).replace(b"\n", b"") + b"\n")
    path.write_bytes(b"".join(lines))
    return f"a line of {length} bytes of garbage"


def newer(path: Path, _: random.Random) -> str:
    path.write_bytes(b'["journal",1000,{"of":"another"}]\n' + path.read_bytes())
    return "of a newer version"


KINDS: list[Damage] = [flip, flip, flip, cut, cut, empty, remove, put_folder, zeros, duplicate, swap, garbage, newer]


class Fuzz:
    """A folder of images, and programs that are killed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = [folder / "data" / f"{number % 3}" / f"image_{number:02d}.tif" for number in range(IMAGES)]
        self.state = folder / "state"
        self.list = folder / "results" / "filelist_data.log"
        (folder / "cal.json").write_text(json.dumps(small_document(Slices=[{"CutPosition": 5}], Threads=1)))
        rng = np.random.default_rng(1)
        for image in self.images:
            image.parent.mkdir(parents=True, exist_ok=True)
            write_frame(image, rng.poisson(20, (60, 80)), HEADER)
        calibration = Calibration.from_file(folder / "cal.json")
        reducer = Reducer(calibration)
        self.expected = {}
        for image in self.images:
            frame = read_frame(image)
            curves = reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff)
            targets = CurveFiles().targets(image, [curve.name for curve in curves])
            self.expected |= {target: curve.intensity for target, curve in zip(targets, curves, strict=True)}

    def start(self, *, catalog: bool) -> int:
        """Start the command in a process of its own; return its number."""
        options = ["--catalog", CATALOG] if catalog else []
        arguments = ["-c", str(self.folder / "cal.json"), "--journal", str(self.state), *options]
        child = os.fork()
        if child:
            return child
        try:
            log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = main([*arguments, str(self.folder / "data")])
            sys.stdout.flush()
            os._exit(code)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(99)

    def kill(self, lines: int, *, catalog: bool) -> None:
        """Start the command, and kill it when the list of curves has so many lines."""
        child = self.start(catalog=catalog)
        deadline = time.monotonic() + PATIENCE
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            found = self.list.read_bytes().count(b"\n") if self.list.exists() else 0
            if found >= lines or time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return
            time.sleep(0.001)

    def finish(self, *, catalog: bool) -> tuple[int, str]:
        """Start the command and wait for its end; return exit code and output."""
        child = self.start(catalog=catalog)
        deadline = time.monotonic() + PATIENCE
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status), (self.folder / "log").read_text(errors="replace")
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.01)

    def clear(self) -> None:
        for name in ("work", "results", "state"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for folder in (self.folder / "data").iterdir():
            shutil.rmtree(folder / "work", ignore_errors=True)
        shutil.rmtree(self.folder / "data" / "work", ignore_errors=True)

    def once(self, seed: int) -> list[str]:
        """Kill, damage, start again; return what is wrong after it."""
        rng = random.Random(seed)
        catalog = rng.random() < 0.7
        self.clear()
        for _ in range(rng.choice([1, 1, 1, 2])):
            self.kill(rng.randrange(1, 2 * IMAGES), catalog=catalog)
        paths = sorted(path for path in self.state.rglob("*") if path.is_file() and path.name != "lock")
        if not paths:
            return []  # it was at its end before it was killed
        path = rng.choice([path for path in paths if path.suffix == ".jsonl"] * 3 + paths)
        told = rng.choice(KINDS)(path, rng)
        code, log = self.finish(catalog=catalog)
        wrong = [*self._wrong_code(code, log), *self._wrong_curves(), *self._wrong_list()]
        if catalog:
            wrong += self._wrong_documents()
        told = f"seed {seed}, catalog {catalog}: {path.relative_to(self.state)} {told}"
        return [f"{told}: {one}\n{log}" for one in wrong]

    def _wrong_code(self, code: int, log: str) -> list[str]:
        wrong = [] if code in (0, 1) else [f"exit code {code}"]
        return [*wrong, *(["a traceback"] if "Traceback" in log else [])]

    def _wrong_curves(self) -> list[str]:
        wrong = []
        for path, intensity in self.expected.items():
            if not path.exists() or not np.array_equal(read_chi(path).curve.intensity, intensity):
                wrong.append(f"{path} is missing or wrong")
        return wrong

    def _wrong_list(self) -> list[str]:
        found = Counter(line.split(", ")[0].removeprefix("/") for line in self.list.read_text().splitlines())
        wanted = Counter(os.path.relpath(path, self.folder) for path in self.expected)
        return [f"in the list {found - wanted} too often, {wanted - found} not"] if found != wanted else []

    def _wrong_documents(self) -> list[str]:
        """What the catalog would get: each image once, in runs that stop."""
        wrong: list[str] = []
        raw: Counter[str] = Counter()
        reduced: Counter[str] = Counter()
        for path in sorted((self.state / "catalog").glob("*.jsonl")):
            documents: list[tuple[str, dict[str, Any]]] = []
            try:
                documents = [decode(line) for line in path.read_bytes().splitlines(keepends=True)]
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{path.name}: {error}")
                continue
            names = [name for name, _ in documents]
            if names[:1] != ["start"] or names[-1:] != ["stop"] or names.count("stop") != 1:
                wrong.append(f"{path.name}: {names[:3]} to {names[-3:]}")
                continue
            numbers = defaultdict(list)
            for name, doc in documents:
                if name == "event":
                    (reduced if "original_run_uid" in documents[0][1] else raw)[doc["data"]["image_path"]] += 1
                    numbers[doc["descriptor"]].append(doc["seq_num"])
            if documents[-1][1]["num_events"].get("primary", 0) != sum(map(len, numbers.values())):
                wrong.append(f"{path.name}: {documents[-1][1]} after {numbers}")
        once = Counter(str(image) for image in self.images)
        for kind, found in (("raw", raw), ("reduced", reduced)):
            if found != once:
                wrong.append(f"{kind} events {found - once} too often, {once - found} not")
        return wrong


def preload(folder: Path) -> None:
    """Load what the command needs; there are no threads yet."""
    import tiled.client  # noqa: F401

    import saxs_bluesky.catalog.run_writer  # noqa: F401

    _ = Reducer(Calibration.from_file(folder / "cal.json")).template


def fuzzed(folder: Path, first: int, least: int, seconds: float) -> tuple[int, list[str]]:
    """Try seeds until the time is over, so many at least; return the next one, and what is wrong."""
    arguments = [sys.executable, "-m", "tests.helpers.journal_fuzz", str(folder), str(first), str(least), str(seconds)]
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=1800)
    found = json.loads((folder / "found.json").read_text())
    return found["next"], found["wrong"]


if __name__ == "__main__":
    where, first, least, end = (
        Path(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]),
        time.monotonic() + float(sys.argv[4]),
    )
    os.environ["MPLBACKEND"] = "Agg"
    fuzz = Fuzz(where)
    preload(where)
    wrong_ones: list[str] = []
    for number in count(first):
        if number >= first + least and time.monotonic() > end:
            break
        wrong_ones += fuzz.once(number)
        (where / "found.json").write_text(json.dumps({"next": number + 1, "wrong": wrong_ones}))
