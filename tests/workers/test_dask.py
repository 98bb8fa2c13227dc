"""Frames reduced by a Dask cluster, of which workers are killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.cli import _file_session
from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.file_pipeline import FilePipeline
from saxs_bluesky.frame_job import CurveFiles, OutputNames
from saxs_bluesky.reduction import Calibration, Reducer, read_chi, read_frame, write_frame
from saxs_bluesky.sources import DirectorySource, Readiness
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def beamtime(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    document["Slices"] = [{"CutPosition": 5}]
    (tmp_path / "cal.json").write_text(json.dumps(document))
    (tmp_path / "data").mkdir()
    for number in range(40):
        write_frame(tmp_path / "data" / f"{number:02d}.tif", rng.poisson(20, (60, 80)))
    return tmp_path


def images(beamtime: Path) -> list[Path]:
    return sorted((beamtime / "data").glob("*.tif"))


def assert_curves_are_serial(beamtime: Path) -> None:
    reducer = Reducer(Calibration.from_file(beamtime / "cal.json"))
    for image in images(beamtime):
        for curve, name in zip(
            reducer.reduce(read_frame(image).image), [f"{image.stem}.chi", f"{image.stem}_cS1.chi"], strict=True
        ):
            found = read_chi(beamtime / "work" / name).curve
            np.testing.assert_array_equal(found.intensity, curve.intensity)
            np.testing.assert_array_equal(found.sigma, curve.sigma)


def has_worked() -> bool:
    return "saxs_bluesky.frame_job._frame_job" in sys.modules


def test_command_lets_a_cluster_work(
    beamtime: Path, cluster: Any, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    address = cluster.scheduler_address
    assert main(["-c", str(beamtime / "cal.json"), "--dask", address, str(beamtime / "data")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "40 images: 40 reduced, 0 skipped, 0 failed"
    assert_curves_are_serial(beamtime)
    assert set(client.run(has_worked).values()) == {True}


def test_worker_that_is_killed_in_its_work_costs_no_frame(beamtime: Path, client: Any) -> None:
    late = images(beamtime)[-1]
    whole = late.read_bytes()
    documents: list[tuple[str, dict[str, Any]]] = []
    reduction = Reduction(
        Calibration.from_file(beamtime / "cal.json"),
        [lambda name, doc: documents.append((name, doc))],
        executor=client.get_executor(),
        files=CurveFiles(OutputNames()),
        patience=PATIENCE,
    )
    source = DirectorySource(beamtime / "data", readiness=Readiness(settle=0.01))
    # A worker waits for what is missing of the last image, and is killed meanwhile.
    for name, doc in source.documents():
        if name == "event" and doc["data"]["image_path"] == str(late):
            late.write_bytes(whole[:-100])
        reduction(name, doc)
    until(lambda: reduction.status.reduced == 39)
    busy = [address for address, keys in client.processing().items() if keys]
    assert len(busy) == 1
    os.kill(client.run(os.getpid)[busy[0]], signal.SIGKILL)
    late.write_bytes(whole)
    assert reduction.wait(PATIENCE)
    assert reduction.close(PATIENCE)
    assert (reduction.status.reduced, reduction.status.failed) == (40, 0)
    assert [name for name, _ in documents] == ["start", "descriptor", *["event"] * 40, "stop"]
    assert [doc["data"]["frame_index"] for name, doc in documents if name == "event"] == list(range(40))
    assert_curves_are_serial(beamtime)


def test_cluster_reduces_the_files_of_a_pipeline_in_order(beamtime: Path, client: Any) -> None:
    paths: list[str] = []
    reduction = Reduction(
        Calibration.from_file(beamtime / "cal.json"),
        [lambda name, doc: paths.append(doc["data"]["image_path"]) if name == "event" else None],
        executor=client.get_executor(),
        files=CurveFiles(OutputNames()),
    )
    pipeline = FilePipeline(DirectorySource(beamtime / "data"), reduction)
    pipeline.run()
    assert reduction.close(PATIENCE)
    assert paths == [str(path) for path in images(beamtime)]
    assert pipeline.statistics.done == 40
    assert_curves_are_serial(beamtime)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://127.0.0.1:8786", "127.0.0.1:port"])
def test_cluster_that_does_not_answer_is_one_line(
    beamtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(_file_session, "_CLUSTER_SECONDS", 0.5)
    assert main(["-c", str(beamtime / "cal.json"), "--dask", address, str(beamtime / "data")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"saxsdog: --dask {address}: wanted a Dask scheduler, found ")
    assert not (beamtime / "work").exists()
