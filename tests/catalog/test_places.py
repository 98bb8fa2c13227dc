from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves, reduce_run, reduced_runs
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.reduction import Calibration
from tests.helpers.runs import raw_documents, reduced, write


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed catalog; tests copy or move it."""
    folder = tmp_path_factory.mktemp("places") / "catalog"
    open_catalog(folder)
    close_catalog(folder)
    return folder


@pytest.fixture
def opened() -> Iterator[Callable[..., Any]]:
    """Open catalogs that are closed at the end."""
    folders: list[Path] = []

    def open_it(folder: Path, **options: Any) -> Any:
        folders.append(folder)
        return open_catalog(folder, **options)

    yield open_it
    for folder in folders:
        close_catalog(folder)


def test_moved_folder_is_read_and_a_copy_leaves_the_original_alone(written, opened, reducer, frames, tmp_path):
    original = tmp_path / "arrays" / "original"  # "arrays" is a name in the address, too
    shutil.copytree(written, original)
    run = write(opened(original), reduced(reducer, frames, "raw-moved"))
    expected = read_curves(run)
    close_catalog(original)

    copied = tmp_path / "a copy"
    shutil.copytree(original, copied)
    catalog = opened(copied)
    uid = run.start["uid"]
    assert expected.identical(read_curves(catalog[uid]))
    held = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()}
    assert not [path for path in held if path.startswith(str(original))]
    catalog.delete_contents([uid], recursive=True, external_only=False)
    assert uid not in catalog
    close_catalog(copied)

    moved = original.rename(tmp_path / "moved")
    catalog = opened(moved)
    assert expected.identical(read_curves(catalog[uid]))
    again = write(catalog, reduced(reducer, frames[:2], "raw-after"))
    assert read_curves(again).sizes["frame"] == 2
    assert not original.exists()


def test_arrays_that_were_not_copied_along_are_told_of(written, opened, reducer, frames, tmp_path, caplog):
    original = tmp_path / "original"
    shutil.copytree(written, original)
    write(opened(original), reduced(reducer, frames, "raw-left"))
    close_catalog(original)
    copied = tmp_path / "copied"
    shutil.copytree(original, copied, ignore=shutil.ignore_patterns("R0_*"))
    with caplog.at_level(logging.WARNING, "saxs_bluesky"):
        opened(copied)
    assert f"are not in the folder but at another place, such as file://localhost{original}/arrays" in caplog.text


def test_moved_frames_are_read_through_a_root_map(written, opened, document, frames, tmp_path):
    folder = tmp_path / "catalog"
    shutil.copytree(written, folder)
    catalog = opened(folder)
    uid = write(catalog, raw_documents(tmp_path / "raid" / "day", frames)).start["uid"]
    calibration = Calibration.from_dict(document)
    (before,) = reduce_run(catalog, uid, calibration)
    (tmp_path / "raid").rename(tmp_path / "archive")
    with pytest.raises(CatalogError, match="wanted absolute folders"):
        opened(folder, root_map={"raid": "archive"})
    catalog = opened(folder, root_map={tmp_path / "raid": tmp_path / "archive"})

    np.testing.assert_array_equal(catalog[uid]["primary"]["pilatus_image"].read()[:, 0], frames)
    (resource,) = [doc for name, doc in catalog[uid].documents() if name == "stream_resource"]
    assert "/archive/day/" in resource["uri"]
    (after,) = reduce_run(catalog, uid, calibration)
    assert after.stop["exit_status"] == "success"
    np.testing.assert_array_equal(read_curves(after).R0_intensity, read_curves(before).R0_intensity)
    assert read_curves(after).image_path.values[4] == str(tmp_path / "archive" / "day" / "frame_00004.tif")
    assert reduced_runs(catalog, uid)[-1].start["uid"] == after.start["uid"]


def test_group_may_write_to_all_that_is_and_will_be(written, opened, reducer, frames, tmp_path):
    folder = tmp_path / "catalog"
    shutil.copytree(written, folder)
    before = os.umask(0o077)
    try:
        try:
            catalog = opened(folder, group=True)
        except CatalogError as error:
            pytest.skip(str(error))
        write(catalog, reduced(reducer, frames, "raw-group"))
        close_catalog(folder)
        write(opened(folder, group=True), reduced(reducer, frames, "raw-group-again"))
    finally:
        os.umask(before)
    found = [folder, *folder.rglob("*")]
    assert len(found) > 20
    assert [path for path in found if path.suffix == ".db-wal"]
    for path in found:
        mode = path.stat().st_mode
        needed = stat.S_IRGRP | stat.S_IWGRP | (stat.S_IXGRP | stat.S_ISGID if path.is_dir() else 0)
        assert mode & needed == needed, f"{path}: {stat.filemode(mode)}"


_WRITE = """
import sys
import numpy as np
from saxs_bluesky.catalog import close_catalog, open_catalog
from saxs_bluesky.catalog.run_writer import RunWriter, normalized
from event_model import compose_run

catalog = open_catalog(sys.argv[1])
for _ in range(int(sys.argv[2])):
    run = compose_run()
    key = {"dtype": "array", "dtype_numpy": "<f8", "shape": [20], "source": "test"}
    keys = {"curve": key, "x": key | {"dtype": "number", "shape": []}}
    bundle = run.compose_descriptor(name="primary", data_keys=keys)
    writer = RunWriter(catalog)
    sink = normalized(writer)
    sink("start", run.start_doc)
    sink("descriptor", bundle.descriptor_doc)
    for number in range(4):
        stamps = {"curve": 1.0, "x": 1.0}
        data = {"curve": np.full(20, float(number)), "x": float(number)}
        sink("event", bundle.compose_event(data=data, timestamps=stamps, validate=False))
        writer.flush()
    sink("stop", run.compose_stop())
close_catalog(sys.argv[1])
"""


def test_processes_that_write_to_one_folder_wait_for_each_other(written, opened, reducer, frames, tmp_path):
    folder = tmp_path / "catalog"
    shutil.copytree(written, folder)
    catalog = opened(folder)
    # They try nothing again, so they must see no lock at all.
    others = [
        subprocess.Popen([sys.executable, "-c", _WRITE, str(folder), "6"], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    run = write(catalog, reduced(reducer, frames, "raw-beside")[:-1])
    while any(other.poll() is None for other in others):
        assert read_curves(run).sizes["frame"] == 4
    assert [other.communicate()[1] for other in others] == ["", ""]
    assert [other.returncode for other in others] == [0, 0]
    runs = [run for run in catalog.values() if "original_run_uid" not in run.start]
    assert len(runs) == 12
    for run in runs:
        assert run["primary"].read()["x"].values.tolist() == [0, 1, 2, 3]
