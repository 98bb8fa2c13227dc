"""``saxsdog`` on TIFF files of several images: a curve for each, over kills too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves
from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.reduction import read_chi
from tests.helpers.watching import Saxsdog

SHAPE = (60, 80)


def write_stack(path: Path, pages: int) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for page in range(pages):
            tiff.write(np.full(SHAPE, page + 1, "i4"), photometric="minisblack", metadata=None, contiguous=False)


def mean(chi: Path) -> float:
    return float(np.nanmean(read_chi(chi).curve.intensity))


def test_every_page_has_its_curves(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_stack(beamtime / "data" / "stack.tif", 3)
    tifffile.imwrite(
        beamtime / "data" / "imagej.tif",
        np.stack([np.full(SHAPE, value, "f4") for value in (7, 9)]),
        imagej=True,
        metadata={"axes": "TYX"},
    )
    arguments = ["-c", str(beamtime / "cal.json"), str(beamtime / "data")]
    assert main(arguments) == 0
    assert "8 images: 8 reduced, 0 skipped, 0 failed" in capsys.readouterr().out
    work = beamtime / "work"
    assert [mean(work / f"stack_{page:05d}.chi") for page in range(3)] == pytest.approx([1, 2, 3])
    assert [mean(work / f"imagej_{page:05d}.chi") for page in range(2)] == pytest.approx([7, 9])
    assert (work / "a.chi").exists()
    # What is current is skipped, and only that.
    assert main([*arguments, "-r"]) == 0
    assert "5 images: 0 reduced, 5 skipped, 0 failed" in capsys.readouterr().out
    (work / "stack_00001.chi").unlink()
    assert main([*arguments, "-r"]) == 0
    assert "7 images: 3 reduced, 4 skipped, 0 failed" in capsys.readouterr().out
    assert mean(work / "stack_00001.chi") == pytest.approx(2)


def test_page_that_cannot_be_reduced_is_told(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tifffile.TiffWriter(beamtime / "data" / "mixed.tif") as tiff:
        for image in (np.ones(SHAPE, "i4"), np.ones((5, 7), "i4"), np.ones(SHAPE, "i4")):
            tiff.write(image, photometric="minisblack", metadata=None, contiguous=False)
    assert main(["-c", str(beamtime / "cal.json"), str(beamtime / "data")]) == 1
    output = capsys.readouterr()
    assert "6 images: 5 reduced, 0 skipped, 1 failed" in output.out
    assert "mixed.tif" in output.err
    assert sorted(path.name for path in (beamtime / "work").glob("mixed_0000?.chi")) == [
        "mixed_00000.chi",
        "mixed_00002.chi",
    ]


@pytest.fixture
def saxsdog(beamtime: Path) -> Iterator[Saxsdog]:
    one = Saxsdog(beamtime, ("-w", "--catalog", str(beamtime / "catalog")))
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


def test_pages_are_neither_lost_nor_doubled_over_kills(beamtime: Path, saxsdog: Saxsdog) -> None:
    for image in (beamtime / "data").rglob("*.tif"):
        image.unlink()
    pages = 100
    write_stack(beamtime / "data" / "stack.tif", pages)
    work, catalog = beamtime / "work", beamtime / "catalog"
    for wanted in (10, 45):
        saxsdog.start()
        saxsdog.until(lambda wanted=wanted: (work / f"stack_{wanted:05d}.chi").exists())
        saxsdog.kill()
        assert not (work / f"stack_{pages - 1:05d}.chi").exists()
    saxsdog.start()
    saxsdog.until((work / f"stack_{pages - 1:05d}.chi").exists)
    assert saxsdog.stop() == 0
    for page in range(pages):
        assert mean(work / f"stack_{page:05d}.chi") == pytest.approx(page + 1)
    raw: Counter[int] = Counter()
    reduced: Counter[int] = Counter()
    client = open_catalog(catalog)
    for run in client.values():
        if "primary" not in list(run.base):
            continue
        if "original_run_uid" in run.metadata["start"]:
            reduced.update(int(page) for page in read_curves(run)["image_page"].values)
        else:
            node = run.base["primary"].base
            for name in node:
                if name.startswith("internal"):
                    raw.update(int(page) for page in node[name].read()["image_page"])
    close_catalog(catalog)
    assert raw == Counter(range(pages))
    assert reduced == Counter(range(pages))
