"""``saxsdog`` on images that are overwritten meanwhile: each curve is of the bytes that its event describes."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves
from saxs_bluesky.reduction import PilatusHeader, read_chi, write_frame
from tests.helpers.watching import Saxsdog

SHAPE = (60, 80)


def content(folder: Path, value: int) -> bytes:
    """An image whose pixels are all ``value``, which its header tells as the exposure time."""
    draft = folder / "draft"
    write_frame(draft, np.full(SHAPE, value), PilatusHeader(entries={"Exposure_time": f"{value}.0 s"}))
    return draft.read_bytes()


def overwrite(path: Path, data: bytes, how: str) -> None:
    if how == "renamed" or not path.exists():
        temporary = path.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.replace(path)
    else:
        with path.open("r+b", buffering=0) as file:
            half = len(data) // 2
            file.write(data[:half])
            file.write(data[half:])


@pytest.fixture
def saxsdog(beamtime: Path) -> Iterator[Saxsdog]:
    for image in (beamtime / "data").rglob("*.tif"):
        image.unlink()
    one = Saxsdog(beamtime)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


def told(folder: Path) -> list[tuple[str, float, float, str]]:
    """Of each event of the catalog: path, exposure time of the raw event, mean intensity of the curve, failure."""
    catalog = open_catalog(folder)
    raw: dict[int, tuple[str, float]] = {}
    events = []
    for run in catalog.values():
        if "original_run_uid" not in run.metadata["start"]:
            node = run.base["primary"].base
            table = next(node[name].read() for name in node if name.startswith("internal"))
            raw = dict(enumerate(zip(table["image_path"], table["exposure_time"], strict=True)))
    for run in catalog.values():
        if "original_run_uid" in run.metadata["start"]:
            curves = read_curves(run)
            for row, index in enumerate(curves["frame_index"].values):
                means = curves["R0_intensity"].values[row]
                mean = float(np.nanmean(means)) if np.isfinite(means).any() else np.nan
                events.append((*raw[int(index)], mean, str(curves["failure"].values[row])))
    close_catalog(folder)
    assert len(events) == len(raw)
    return events


@pytest.mark.parametrize("how", ["in place", "renamed"])
def test_curves_are_of_the_content_that_their_events_describe(beamtime: Path, saxsdog: Saxsdog, how: str) -> None:
    saxsdog.options = ("-w", "-t", "2", "--catalog", str(beamtime / "catalog"))
    data, catalog = beamtime / "data", beamtime / "catalog"
    saxsdog.start()
    saxsdog.until(lambda: "watching" in saxsdog.log)
    values = itertools.count(1)
    dice = random.Random(7)
    names = [data / f"image_{number}.tif" for number in range(12)]
    last: dict[Path, int] = {}
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for path in dice.sample(names, 6):
            last[path] = next(values)
            overwrite(path, content(beamtime, last[path]), how)
        # About as long as an image must stand still before it is taken.
        time.sleep(dice.uniform(0.04, 0.12))

    def chi(path: Path) -> float:
        file = beamtime / "work" / f"{path.stem}.chi"
        return float(np.nanmean(read_chi(file).curve.intensity)) if file.exists() else np.nan

    saxsdog.until(lambda: all(chi(path) == pytest.approx(value) for path, value in last.items()))
    assert saxsdog.stop(signal.SIGINT) == 0
    events = told(catalog)
    superseded = [failure for _, _, _, failure in events if failure]
    mismatches = [event for event in events if not event[3] and event[1] != pytest.approx(event[2])]
    assert mismatches == [], f"{len(mismatches)} of {len(events)}"
    assert all("was overwritten before it was reduced" in failure for failure in superseded)
    # Each content of a file once.
    contents = [(path, exposure) for path, exposure, _, failure in events if not failure]
    assert len(contents) == len(set(contents))
    assert {(str(path), float(value)) for path, value in last.items()} <= set(contents)
    summary = f"{len(contents)} images: {len(contents)} reduced, 0 skipped, 0 failed"
    more = f", {len(superseded)} overwritten before they were reduced" if superseded else ""
    assert saxsdog.log.splitlines()[-1] == summary + more
