"""Curves of reduced runs as files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest

from saxs_bluesky.callbacks.sinks import ChiFiles
from saxs_bluesky.documents import ReducedRunReader
from saxs_bluesky.reduction import Curve, Reducer, read_chi, write_chi

MakeRun = Callable[..., Any]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [str(tmp_path / "images" / f"agbeh_{number:05d}.tif") for number in range(3)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def written_directly(curve: Curve, reducer: Reducer, folder: Path) -> bytes:
    write_chi(folder / "direct.chi", curve, reducer.calibration)
    return (folder / "direct.chi").read_bytes()


def assert_equal(found: Curve, wanted: Curve) -> None:
    for name in ("name", "kind", "axis_label", "axis_unit", "integral"):
        assert getattr(found, name) == getattr(wanted, name)
    for name in ("axis", "intensity", "sigma", "deviation"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), strict=True)


@pytest.mark.parametrize("form", ["events", "page", "json"])
def test_documents_give_back_the_curves_bit_for_bit(make_run: MakeRun, form: str) -> None:
    run = make_run(failing=1, deviation=True)
    documents = run.documents
    if form == "json":
        documents = json.loads(json.dumps(documents, default=np.ndarray.tolist))
    if form == "page":
        events = [doc for name, doc in documents if name == "event"]
        documents = [*documents[:2], ("event_page", event_model.pack_event_page(*events)), documents[-1]]
    runs = ReducedRunReader()
    frames = [frame for name, doc in documents for frame in runs.frames(name, doc)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [bool(frame.failure) for frame in frames] == [False, True, False, False, False]
    for frame, curves in zip(frames, run.curves, strict=True):
        for found, wanted in zip(frame.curves, curves or [], strict=True):
            assert_equal(found, wanted)


def test_curves_keep_their_order_when_a_store_sorts_the_keys(make_run: MakeRun) -> None:
    documents = make_run(paths=("",)).documents
    descriptor = documents[1][1]
    descriptor["configuration"] = dict(reversed(descriptor["configuration"].items()))
    runs = ReducedRunReader()
    (frame,) = [frame for name, doc in documents for frame in runs.frames(name, doc)]
    assert [curve.name for curve in frame.curves] == ["R0", "P1", "S2"]


def test_files_are_those_that_write_chi_makes(
    make_run: MakeRun, reducer: Reducer, tmp_path: Path, paths: list[str]
) -> None:
    run = make_run(paths)
    chi_files = ChiFiles()
    run.feed(chi_files)
    work = tmp_path / "work"
    assert names(work) == sorted(
        f"agbeh_{number:05d}{ending}.chi" for number in range(3) for ending in ("", "_cR1", "_cS2")
    )
    for number, curves in enumerate(run.curves):
        for curve, ending in zip(curves, ("", "_cR1", "_cS2"), strict=True):
            chi = work / f"agbeh_{number:05d}{ending}.chi"
            first, rest = chi.read_bytes().split(b"\n", 1)
            wanted, wanted_rest = written_directly(curve, reducer, tmp_path).split(b"\n", 1)
            assert rest == wanted_rest
            assert first.startswith(wanted[:-1] + b', "Provenance": {')
            assert read_chi(chi).provenance == replace(reducer.provenance, image=paths[number])
    assert (chi_files.written, chi_files.failed, chi_files.skipped) == (9, 0, 0)


def test_list_has_a_line_for_each_curve(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    run = make_run(paths[:1])
    chi_files = ChiFiles()
    run.feed(chi_files)
    make_run(paths[1:2]).feed(chi_files)
    lines = (tmp_path / "results" / "filelist_images.log").read_text().splitlines()
    integral = run.curves[0][0].integral
    assert lines[:3] == [
        f"/work/agbeh_00000.chi, {integral.I0}, {integral.I1}, {integral.I2}",
        "/work/agbeh_00000_cR1.chi, 0.0, 0.0, 0.0",
        "/work/agbeh_00000_cS2.chi, 0.0, 0.0, 0.0",
    ]
    assert len(lines) == 6


def test_no_list_where_none_is_wanted(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    make_run(paths).feed(ChiFiles(file_list=False))
    assert not (tmp_path / "results").exists()


def test_no_list_where_the_calibration_wants_none(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    run = make_run(paths)
    run.documents[0][1]["provenance"]["calibration"]["Live-Filelisting"] = False
    run.feed(ChiFiles())
    assert names(tmp_path) == ["work"]


def test_failed_frame_has_no_file(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    chi_files = ChiFiles()
    make_run(paths, failing=1).feed(chi_files)
    assert not any(name.startswith("agbeh_00001") for name in names(tmp_path / "work"))
    assert (chi_files.written, chi_files.skipped) == (6, 1)


def test_one_folder_keeps_images_of_one_name_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(["/data/a/x.tif", "/data/b/x.tif"]).feed(ChiFiles("work", file_list=False))
    assert [name for name in names(tmp_path / "work") if "_c" not in name] == ["_data_a_x.chi", "_data_b_x.chi"]


def test_folder_stays_when_the_program_changes_its_directory(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chi_files = ChiFiles("work", file_list=False)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    make_run().feed(chi_files)
    assert len(names(tmp_path / "work")) == 15


def test_another_image_does_not_take_the_names_of_the_first(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chi_files = ChiFiles("work", file_list=False)
    run = make_run(["/data/a_b/x.tif", "/data/a/b_x.tif", "/data/c.tif"])
    run.feed(chi_files)
    assert chi_files.failures == (
        f"/data/a/b_x.tif: wanted names of its own for its curves, "
        f"found those of /data/a_b/x.tif at {tmp_path}/work/_data_a_b_x",
    )
    assert (chi_files.written, chi_files.failed) == (6, 1)
    np.testing.assert_array_equal(
        read_chi(tmp_path / "work" / "_data_a_b_x.chi").curve.intensity, run.curves[0][0].intensity
    )


def test_image_reduced_again_replaces_its_curves(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    chi_files = ChiFiles()
    make_run(paths).feed(chi_files)
    again = make_run(paths)
    again.feed(chi_files)
    assert chi_files.failed == 0
    found = read_chi(tmp_path / "work" / "agbeh_00002.chi").curve
    np.testing.assert_array_equal(found.intensity, again.curves[2][0].intensity)


@pytest.mark.parametrize(("stream", "ending"), [("primary", "_00001"), ("dark", "_dark_00001")])
def test_frames_of_one_file_are_numbered(make_run: MakeRun, tmp_path: Path, stream: str, ending: str) -> None:
    run = make_run([str(tmp_path / "images" / "run.1.h5")] * 2, stream=stream)
    run.feed(ChiFiles())
    assert len(names(tmp_path / "work")) == 6
    found = read_chi(tmp_path / "work" / f"run.1{ending}.chi").curve
    np.testing.assert_array_equal(found.intensity, run.curves[1][0].intensity)


def test_frames_without_a_file_are_named_after_their_run(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(["", ""])
    run.feed(ChiFiles("out"), ChiFiles())
    assert [name for name in names(tmp_path / "out") if "_c" not in name] == [
        "scan7_0a1b2c3d_pilatus_00000.chi",
        "scan7_0a1b2c3d_pilatus_00001.chi",
    ]
    assert names(tmp_path / "work") == names(tmp_path / "out")
    lines = (tmp_path / "results" / "filelist_pilatus.log").read_text().splitlines()
    assert lines[0].startswith("/out/scan7_0a1b2c3d_pilatus_00000.chi, ")


def test_name_of_a_detector_does_not_lead_out_of_the_folder(make_run: MakeRun, tmp_path: Path) -> None:
    make_run([""], detector="../../evil").feed(ChiFiles())
    assert names(tmp_path / "results") == ["filelist__._.._evil.log"]
    assert "scan7_0a1b2c3d__._.._evil_00000.chi" in names(tmp_path / "work")


def test_interleaved_runs(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    one, other = make_run(paths), make_run([path.replace("agbeh", "glassy") for path in paths])
    other.documents[0][1]["provenance"]["calibration"]["Title"] = "other"
    chi_files = ChiFiles()
    for pair in zip(one.documents, other.documents, strict=True):
        for name, doc in pair:
            chi_files(name, doc)
    assert chi_files.written == 18
    titles = {
        name: read_chi(tmp_path / "work" / f"{name}_00002.chi").calibration["Title"] for name in ("agbeh", "glassy")
    }
    assert titles == {"agbeh": "small", "glassy": "other"}


def test_raw_documents_are_passed_over(tmp_path: Path) -> None:
    chi_files = ChiFiles()
    chi_files("start", {"uid": "u", "time": 1.0})
    chi_files("descriptor", {"uid": "d", "run_start": "u", "data_keys": {}, "name": "primary"})
    chi_files("event", {"descriptor": "d", "data": {}, "seq_num": 1})
    chi_files("stop", {"run_start": "u"})
    assert names(tmp_path) == []


def test_folder_that_cannot_be_made_fails_each_curve(
    make_run: MakeRun, tmp_path: Path, paths: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "work").write_text("a file in the folder's place")
    chi_files = ChiFiles()
    make_run(paths).feed(chi_files)
    assert (chi_files.written, chi_files.failed) == (0, 9)
    assert chi_files.failures[0] == f"{tmp_path}/work: wanted a folder to write curves to, found File exists"
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_one_file_that_cannot_be_written_costs_no_other(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    (tmp_path / "work" / "agbeh_00001.chi").mkdir(parents=True)
    chi_files = ChiFiles()
    make_run(paths).feed(chi_files)
    assert (chi_files.written, chi_files.failed) == (8, 1)
    assert chi_files.failures[0].startswith(f"{tmp_path}/work/agbeh_00001.chi: the curve cannot be written")


def test_list_that_cannot_be_kept_costs_no_curve(make_run: MakeRun, tmp_path: Path, paths: list[str]) -> None:
    (tmp_path / "results").write_text("a file in the folder's place")
    chi_files = ChiFiles()
    make_run(paths).feed(chi_files)
    assert (chi_files.written, chi_files.failed) == (9, 1)
    assert chi_files.failures == (
        f"{tmp_path}/images: the list of curves cannot be written in {tmp_path}/results (File exists)",
    )


@pytest.mark.parametrize("path", ["/", "a\0b.tif"])
def test_path_that_is_none_is_counted(make_run: MakeRun, tmp_path: Path, path: str) -> None:
    chi_files = ChiFiles()
    make_run([path, str(tmp_path / "images" / "x.tif")]).feed(chi_files)
    assert chi_files.failed >= 1
    assert "x.chi" in names(tmp_path / "work")


def test_calibration_that_is_none_is_counted(make_run: MakeRun, paths: list[str]) -> None:
    run = make_run(paths)
    run.documents[0][1]["provenance"]["calibration"] = {"Title": "nothing"}
    chi_files = ChiFiles()
    run.feed(chi_files)
    assert (chi_files.written, chi_files.failed) == (0, 3)
    assert chi_files.failures[0].startswith("calibration in run ")
