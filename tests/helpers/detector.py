"""A detector in a process of its own, with all that detectors, networks and people do to files.

``python -m tests.helpers.detector FOLDER IMAGES SECONDS SEED TOLD`` writes bursts of images, each into a new folder,
and tells at its end in the file TOLD what it did to which.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from saxs_bluesky.reduction import write_frame
from tests.helpers.frame_files import HEADER

SHAPE = (60, 80)
BURST = 60
SLOW_SECONDS = 3.0
LONGEST_WAIT = 120.0  # seconds for a first curve

# Thousandths of the images; the others are written at once.
SHARES = {"slow": 40, "preallocated": 10, "truncated": 10, "overwritten soon": 5, "overwritten late": 5}


def kinds(number: int, seed: int) -> list[str]:
    """What is done to each image."""
    chosen = [kind for kind, share in SHARES.items() for _ in range(share * number // 1000)]
    chosen += ["renamed" if index % 3 == 0 else "at once" for index in range(number - len(chosen))]
    random.Random(seed).shuffle(chosen)
    return chosen


class Detector:
    """Writes images.

    Parameters
    ----------
    folder
        Below which they come.
    seed
        Of their contents.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._rng = np.random.default_rng(seed)
        self._scratch = Path(tempfile.mkdtemp())

    def _content(self) -> bytes:
        """The bytes of an image like no other."""
        path = self._scratch / "image.tif"
        write_frame(path, self._rng.poisson(20, SHAPE), HEADER)
        return path.read_bytes()

    def expose(self, number: int, seconds: float, seed: int) -> dict[str, str]:
        """Write images for some seconds; return what was done to each."""
        done = {}
        begin = time.monotonic()
        with ThreadPoolExecutor(128) as pool:
            futures = []
            for index, kind in enumerate(kinds(number, seed)):
                burst, place = divmod(index, BURST)
                if place == 0:
                    time.sleep(max(0.0, begin + seconds * index / number - time.monotonic()))
                path = self._folder / f"{burst // 10:02d}" / f"{burst:03d}" / "deep" / f"image_{index:05d}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                done[str(path)] = kind
                contents = [self._content() for _ in range(2 if kind.startswith("overwritten") else 1)]
                if kind in {"at once", "renamed", "truncated"}:
                    _write(path, kind, contents, index)
                else:
                    futures.append(pool.submit(_write, path, kind, contents, index))
            for future in futures:
                future.result()
        return done


def _write(path: Path, kind: str, contents: list[bytes], index: int) -> None:
    whole = contents[0]
    if kind == "at once":
        path.write_bytes(whole)
    elif kind == "renamed":
        _rename(path, whole)
    elif kind == "slow":
        _in_pieces(path, whole)
    elif kind == "preallocated":
        _preallocated(path, whole, header=index % 2 == 0)
    elif kind == "truncated":
        path.write_bytes(whole[: random.Random(index).randrange(len(whole))])
    else:
        path.write_bytes(whole)
        if kind == "overwritten late":
            _wait_for(path.parents[1] / "work" / f"{path.stem}.chi")
        else:
            time.sleep(random.Random(index).uniform(0, 0.4))
        _overwrite(path, contents[1], index)


def _overwrite(path: Path, content: bytes, index: int) -> None:
    match index % 4:
        case 0:
            path.write_bytes(content)
        case 1:
            _rename(path, content)
        case 2:
            _in_pieces(path, content)
        case _:
            with path.open("r+b", buffering=0) as file:
                for piece in _pieces(content, 3):
                    file.write(piece)


def _rename(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.rename(path)


def _in_pieces(path: Path, content: bytes) -> None:
    with path.open("wb", buffering=0) as file:
        for piece in _pieces(content, 12):
            file.write(piece)
            time.sleep(SLOW_SECONDS / 12)


def _preallocated(path: Path, content: bytes, *, header: bool) -> None:
    """Make a file at its full size, and fill it later; where the ``header`` is there, it looks like an image."""
    with path.open("w+b", buffering=0) as file:
        if header:
            file.write(content[:4096])
        file.truncate(len(content))
        time.sleep(SLOW_SECONDS / 3)
        file.seek(0)
        for piece in _pieces(content, 8):
            file.write(piece)
            time.sleep(SLOW_SECONDS / 12)


def _pieces(content: bytes, number: int) -> Iterator[bytes]:
    length = len(content) // number + 1
    for start in range(0, len(content), length):
        yield content[start : start + length]


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: wanted a first curve, found none")
        time.sleep(0.05)


if __name__ == "__main__":
    where, how_many, how_long, which, told = sys.argv[1:]
    exposed = Detector(Path(where), int(which)).expose(int(how_many), float(how_long), int(which))
    Path(told).write_text(json.dumps(exposed))
