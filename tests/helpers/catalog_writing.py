"""Writes runs to a catalog until it is killed or told to stop: ``python -m tests.helpers.catalog_writing``.

What an event holds follows from the uid of its run and from its number, so that a reader can tell what is right.
"""

from __future__ import annotations

import random
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_run

from saxs_bluesky.callbacks import CatalogWriter

POINTS = 300
_TIMEOUT = 300.0  # seconds for the catalog, when it was told to stop

KEYS = {
    "x": {"dtype": "number", "shape": [], "source": "SIM"},
    "n": {"dtype": "integer", "shape": [], "source": "SIM"},
    "text": {"dtype": "string", "shape": [], "source": "SIM"},
    "curve": {"dtype": "array", "shape": [POINTS], "source": "SIM", "dtype_numpy": "<f8"},
}


def data_of(uid: str, number: int) -> dict[str, Any]:
    """What an event of a run holds; in some runs the whole numbers get fractions."""
    seed = zlib.crc32(uid.encode())
    fraction = 0.5 if seed % 3 == 0 and number % 7 == 0 else 0
    rng = np.random.default_rng([seed, number])
    return {"x": seed + number / 8, "n": number + fraction, "text": f"{uid} {number}", "curve": rng.random(POINTS)}


def write_run(writer: CatalogWriter, chance: random.Random) -> None:
    run = compose_run()
    uid = run.start_doc["uid"]
    bundle = run.compose_descriptor(name="primary", data_keys=KEYS)
    writer("start", run.start_doc)
    writer("descriptor", bundle.descriptor_doc)
    for number in range(1, chance.randrange(2, 120)):
        data = data_of(uid, number)
        writer("event", bundle.compose_event(data=data, timestamps=dict.fromkeys(data, 1.5)))
        time.sleep(chance.choice([0, 0, 0.01, 0.05]))
    writer("stop", run.compose_stop())


def main(folder: Path, where: str, seed: int) -> None:
    chance = random.Random(seed)
    writer = CatalogWriter(where, journal=folder / "journal", batch_seconds=0.05, batch_events=30)
    writer.end_left_over()
    while not (folder / "stop").exists():
        write_run(writer, chance)
    sys.exit(0 if writer.close(_TIMEOUT) else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
