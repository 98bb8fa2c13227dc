from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
from event_model import compose_run

from saxs_bluesky.catalog import read_curves, reduce_run, reduced_runs
from saxs_bluesky.catalog._reduced_writing import ReducedWriting
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.reduction import Calibration
from tests.helpers.runs import raw_documents, write


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    return Calibration.from_dict(document)


def test_run_without_stop_is_reduced_and_says_so(catalog, calibration, frames, tmp_path):
    documents = raw_documents(tmp_path, frames)
    raw = write(catalog, copy.deepcopy(documents))
    raw.replace_metadata(metadata={"start": dict(raw.start)}, drop_revision=True)
    raw = catalog[raw.start["uid"]]
    assert "stop" not in raw.metadata
    (again,) = reduce_run(catalog, raw.start["uid"], calibration)
    assert again.stop["exit_status"] == "abort"
    assert again.stop["reason"] == "the raw run has no stop document"
    assert read_curves(again).frame_index.values.tolist() == [0, 1, 2, 3, 4]


def test_runs_that_other_packages_made_of_the_raw_run_are_no_hindrance(catalog, calibration, frames, tmp_path):
    raw = write(catalog, raw_documents(tmp_path, frames))
    uid = raw.start["uid"]
    (first,) = reduce_run(catalog, uid, calibration)
    other = compose_run(metadata={"original_run_uid": uid, "analysis": "PCA", "provenance": "by hand"})
    write(catalog, [("start", other.start_doc), ("stop", other.compose_stop())])
    (again,) = reduce_run(catalog, uid, calibration)
    assert again.start["provenance"]["differs_from"]["uid"] == first.start["uid"]
    found = [run.start["uid"] for run in reduced_runs(catalog, uid)]
    assert found == [other.start_doc["uid"], first.start["uid"], again.start["uid"]]


def test_curve_of_few_points_is_whole(catalog, calibration, frames, tmp_path, document):
    document["Masks"] = [{"Oversampling": 1, "PixelPerRadialElement": 10, "qStart": 0.0, "qStop": 20.0}]
    raw = write(catalog, raw_documents(tmp_path, frames))
    (again,) = reduce_run(catalog, raw.start["uid"], Calibration.from_dict(document))
    found = read_curves(again)
    assert found.sizes["R0_q"] < 17
    assert found.R0_intensity.shape == (5, found.sizes["R0_q"])
    assert again.stop["exit_status"] == "success"


def test_run_of_frames_that_cannot_be_reached_is_a_failure_and_comes_before_the_good_ones(
    catalog, calibration, frames, tmp_path
):
    raw = write(catalog, raw_documents(tmp_path / "frames", frames))
    (good,) = reduce_run(catalog, raw.start["uid"], calibration)
    (tmp_path / "frames").rename(tmp_path / "moved")
    (lost,) = reduce_run(catalog, raw.start["uid"], calibration)
    assert lost.stop["exit_status"] == "fail"
    assert "5 of 5 frames failed" in lost.stop["reason"]
    assert [run.start["uid"] for run in reduced_runs(catalog, raw.start["uid"])] == [
        lost.start["uid"],
        good.start["uid"],
    ]


@pytest.mark.parametrize(("error", "status"), [(OSError("no more"), "fail"), (KeyboardInterrupt(), "abort")])
def test_run_that_is_interrupted_is_closed(catalog, calibration, frames, tmp_path, monkeypatch, error, status):
    raw = write(catalog, raw_documents(tmp_path, frames))
    real, calls = ReducedWriting.__call__, []

    def stumble(self: ReducedWriting, name: str, doc: dict[str, Any]) -> None:
        calls.append(name)
        if calls.count("event") == 3:
            calls.append("event")
            raise error
        real(self, name, doc)

    monkeypatch.setattr(ReducedWriting, "__call__", stumble)
    with pytest.raises(type(error)):
        reduce_run(catalog, raw.start["uid"], calibration)
    (run,) = reduced_runs(catalog, raw.start["uid"])
    assert run.stop["exit_status"] == status
    assert run.stop["num_events"] == {"primary": 2}
    assert "not reduced to its end" in run.stop["reason"]
    assert read_curves(run).frame_index.values.tolist() == [0, 1]


def test_run_without_images_is_told_of(catalog, calibration, caplog):
    run = compose_run()
    write(catalog, [("start", run.start_doc), ("stop", run.compose_stop())])
    with caplog.at_level(logging.WARNING):
        assert reduce_run(catalog, run.start_doc["uid"], calibration) == []
    assert "no images of any detector in it" in caplog.text


def test_reduced_run_is_no_raw_run(catalog, calibration, frames, tmp_path):
    raw = write(catalog, raw_documents(tmp_path, frames))
    (again,) = reduce_run(catalog, raw.start["uid"], calibration)
    with pytest.raises(CatalogError, match="wanted a raw run"):
        reduce_run(catalog, again.start["uid"], calibration)
