"""From a RunEngine to curves in the catalog, with nothing in between left out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from tiled.queries import FullText, Key

from saxs_bluesky.callbacks import CatalogWriter, ChiFiles, Reduction
from saxs_bluesky.catalog import open_catalog, read_curves, reduce_run, reduced_runs
from saxs_bluesky.devices import SimPilatus, SimSampleStage
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.reduction import Calibration, Reducer, read_frame
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def writer(catalog_folder: Path) -> Iterator[CatalogWriter]:
    writer = CatalogWriter(open_catalog(catalog_folder))
    yield writer
    assert writer.close(PATIENCE)


def frames_of(folder: Path) -> list[np.ndarray]:
    """Frames that the simulated detector wrote, in order."""
    files = sorted(folder.glob("*.tif"))
    if files:
        return [read_frame(path).image for path in files]
    import h5py

    (path,) = folder.glob("*.h5")
    with h5py.File(path, "r") as file:
        return list(file["/entry/data/data"][()])


def assert_equal(curves: Any, images: list[np.ndarray], calibration: Calibration, cutoff: float | None) -> None:
    reducer = Reducer(calibration)
    assert curves.sizes["frame"] == len(images)
    assert (curves["failure"] == "").all()
    for index, image in enumerate(images):
        for curve in reducer.reduce(image, count_cutoff=cutoff):
            for name in ("intensity", "sigma"):
                np.testing.assert_array_equal(curves[f"{curve.name}_{name}"][index].values, getattr(curve, name))


@pytest.mark.parametrize("file_format", ["tif", "hdf5"])
def test_curves_in_the_catalog_are_those_of_the_raw_frames(
    tmp_path: Path, catalog_folder: Path, writer: CatalogWriter, file_format: Literal["tif", "hdf5"]
) -> None:
    stage = SimSampleStage(name="stage")
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", file_format=file_format, sample_x=stage.x)
    calibration, catalog = pilatus.calibration(), open_catalog(catalog_folder)
    reduction = Reduction(calibration, [writer])
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(writer)
    engine.subscribe(reduction)
    (uid,) = engine(bp.scan([pilatus], stage.x, -1, 1, 4), sample=f"agbeh {file_format}")
    assert reduction.wait(PATIENCE)
    (run,) = reduced_runs(catalog, uid)
    curves = read_curves(run)
    cutoff = 1048575 if file_format == "tif" else None  # the header's; HDF5 files have none
    assert_equal(curves, frames_of(tmp_path), calibration, cutoff)
    np.testing.assert_allclose(curves["stage_x"], [-1, -1 / 3, 1 / 3, 1])
    # The users' ways to find it.
    assert catalog[catalog[uid].start["scan_id"]].start["uid"] == uid
    assert {each.start["uid"] for each in catalog.search(Key("sample") == f"agbeh {file_format}").values()} == {
        uid,
        run.start["uid"],
    }
    assert run.start["uid"] in set(catalog.search(FullText("reduction")))
    assert len(catalog.v1[uid].table()) == 4
    assert len(catalog.v1[run.start["uid"]].table()) == 4
    assert reduction.close(PATIENCE)


def test_curves_are_in_the_catalog_while_the_scan_goes_on(
    tmp_path: Path, catalog_folder: Path, writer: CatalogWriter
) -> None:
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K")
    catalog = open_catalog(catalog_folder)
    reduction = Reduction(pilatus.calibration(), [writer])
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(reduction)
    uids: list[str] = []
    engine.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")

    def plan() -> Any:
        yield from bps.open_run()
        for _ in range(3):
            yield from bps.trigger_and_read([pilatus])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = reduced_runs(catalog, uids[0])
            if found and list(found[0].base) and read_curves(found[0]).sizes["frame"] == 3:
                break
            yield from bps.sleep(0.2)
        else:
            pytest.fail("the run had to stop before its curves were there")
        yield from bps.close_run()

    engine(bpp.stage_wrapper(plan(), [pilatus]))
    assert reduction.close(PATIENCE)


@pytest.mark.parametrize("file_format", ["tif", "hdf5"])
def test_run_is_reduced_again_and_told_what_differed(
    tmp_path: Path, catalog_folder: Path, writer: CatalogWriter, file_format: Literal["tif", "hdf5"]
) -> None:
    stage = SimSampleStage(name="stage")
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", file_format=file_format, sample_x=stage.x)
    catalog = open_catalog(catalog_folder)
    reduction = Reduction(pilatus.calibration(), [writer])
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(writer)
    engine.subscribe(reduction)
    (uid,) = engine(bp.scan([pilatus], stage.x, -1, 1, 3))
    assert reduction.close(PATIENCE)
    (first,) = reduced_runs(catalog, uid)

    document = dict(pilatus.calibration().document)
    document["Wavelength"] = 1.0
    document["Masks"] = [{"Oversampling": 2}]
    document["Slices"] = []
    changed = Calibration.from_dict(document)
    (again,) = reduce_run(catalog, uid, changed)
    assert [run.start["uid"] for run in reduced_runs(catalog, uid)] == [first.start["uid"], again.start["uid"]]
    curves, before = read_curves(again), read_curves(first)
    assert_equal(curves, frames_of(tmp_path), changed, 1048575 if file_format == "tif" else None)
    for name in ("stage_x", "image_time", "image_path", "frame_index"):
        np.testing.assert_array_equal(curves[name], before[name])
    told = again.start["provenance"]["differs_from"]
    assert told["uid"] == first.start["uid"]
    differences = {each["path"]: (each["before"], each["now"]) for each in told["differences"]}
    assert differences["calibration.Wavelength"] == (1.54, 1.0)
    assert differences["calibration.Masks[0].Oversampling"] == (3, 2)
    assert "version" not in differences

    with pytest.raises(CatalogError, match=f"wanted a raw run, found one reduced from {uid}"):
        reduce_run(catalog, first.start["uid"], changed)
    with pytest.raises(CatalogError, match="wanted run no-such-run, found none"):
        reduce_run(catalog, "no-such-run", changed)


def test_chi_files_and_catalog_hold_the_same(tmp_path: Path, catalog_folder: Path, writer: CatalogWriter) -> None:
    pilatus = SimPilatus("pilatus", tmp_path / "frames", detector="100K")
    reduction = Reduction(pilatus.calibration(), [writer, ChiFiles(tmp_path / "work")])
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(reduction)
    (uid,) = engine(bp.count([pilatus], 2))
    assert reduction.close(PATIENCE)
    (run,) = reduced_runs(open_catalog(catalog_folder), uid)
    curves = read_curves(run)
    first = sorted(path for path in (tmp_path / "work").glob("*.chi") if not re.search(r"_c[RS]\d\.chi$", path.name))
    assert len(first) == 2
    for index, path in enumerate(first):
        columns = np.loadtxt(path, skiprows=4)
        np.testing.assert_array_equal(columns[:, 1], curves["R0_intensity"][index])
