"""The real Pilatus device against a soft IOC in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.reduction import read_frame

SCRIPT = Path(__file__).parents[1] / "helpers" / "run_plan.py"
SHAPE = (195, 487)


@pytest.fixture
def run(pilatus_ioc, documents):
    """Run plans in another process; their documents go to `documents`, and its errors are returned."""

    def run_plan(directory: Path, *options: str) -> str:
        finished = pilatus_ioc.run(SCRIPT, pilatus_ioc.prefix, str(directory), *options)
        for line in finished.stdout.splitlines():
            documents(*json.loads(line))
        return finished.stderr

    return run_plan


def test_count_gives_documents_whose_files_exist(run, documents, tmp_path) -> None:
    directory = tmp_path / "made" / "by" / "the_ioc"
    assert run(directory, "--triggers", "3", "1") == ""
    assert [stop["num_events"] for stop in documents.of("stop")] == [{"primary": 3}, {"primary": 1}]
    first, second = documents.of("resource")
    assert first["spec"] == "AD_TIFF"
    assert first["root"] + first["resource_path"] == f"{directory}/"
    filenames = [resource["resource_kwargs"]["filename"] for resource in (first, second)]
    assert first["resource_kwargs"] == {"template": "%s%s_%6.6d.tif", "filename": filenames[0], "frame_per_point": 1}
    paths = [directory / f"{filenames[0]}_{i:06d}.tif" for i in range(3)] + [directory / f"{filenames[1]}_000000.tif"]
    assert sorted(directory.iterdir()) == sorted(paths)
    assert [image.shape for image in documents.images()] == [(1, *SHAPE)] * 4
    np.testing.assert_array_equal(np.concatenate(documents.images()), [read_frame(path).image for path in paths])
    assert read_frame(paths[0]).header.exposure_time == 0.02


def test_descriptor_says_what_the_images_are(run, documents, tmp_path) -> None:
    assert run(tmp_path, "--frames", "2", "--triggers", "2") == ""
    (descriptor,) = documents.of("descriptor")
    assert descriptor["data_keys"] == {
        "pilatus_image": {
            "source": "PV:TEST:PIL:",
            "dtype": "array",
            "dtype_numpy": "<i4",
            "shape": [2, *SHAPE],
            "dims": ["frame", "y", "x"],
            "external": "FILESTORE:",
            "object_name": "pilatus",
        }
    }
    configuration = descriptor["configuration"]["pilatus"]["data"]
    assert configuration["pilatus_cam_acquire_time"] == 0.02
    assert configuration["pilatus_cam_acquire_period"] == pytest.approx(0.023)
    assert configuration["pilatus_cam_num_images"] == 2
    assert configuration["pilatus_cam_image_mode"] == 1  # Multiple
    images = documents.images()
    assert [image.shape for image in images] == [(2, *SHAPE)] * 2
    assert len({image.tobytes() for frames in images for image in frames}) == 4


def test_folder_that_the_ioc_cannot_make_is_named(run, documents, tmp_path) -> None:
    (tmp_path / "file").touch()
    errors = run(tmp_path / "file" / "frames")
    assert "OutputError: pilatus_tiff: wanted a folder where the IOC can write, found Path" in errors
    assert f"{tmp_path}/file/frames/ does not exist on IOC" in errors
    assert not documents.of("event")


def test_trigger_that_never_comes_fails_the_scan(run, documents, tmp_path) -> None:
    errors = run(tmp_path, "--external")
    assert "FailedStatus" in errors
    assert "failed to complete in specified timeout" in errors
    assert documents.of("stop")[0]["exit_status"] == "fail"
    documents.all.clear()
    assert run(tmp_path, "--triggers", "1") == ""  # and the detector is ready again
    assert len(documents.images()) == 1


MAKE = "from saxs_bluesky.devices import Pilatus; Pilatus('X:', name='pilatus', write_path_template={!r})"


@pytest.mark.parametrize(
    ("layer", "path", "error"),
    [
        ("dummy", "/data", "pilatus: wanted an EPICS library for X:, found neither pyepics nor caproto installed"),
        ("caproto", "data", "pilatus: wanted absolute paths of folders, found 'data'"),
    ],
)
def test_pilatus_that_cannot_be_made_says_why(layer, path, error) -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", MAKE.format(path)],
        env=os.environ | {"OPHYD_CONTROL_LAYER": layer},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stderr.splitlines()[-1] == f"saxs_bluesky.errors.SaxsError: {error}"
