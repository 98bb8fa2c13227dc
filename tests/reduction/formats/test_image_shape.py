"""Rows and columns of images in files of any kind."""

from __future__ import annotations

from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest
import tifffile

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import image_shape

IMAGE = np.arange(60 * 80, dtype=np.int32).reshape(60, 80)


def write(path: Path) -> None:
    match path.suffix:
        case ".tif":
            tifffile.imwrite(path, IMAGE)
        case ".edf":
            fabio.edfimage.EdfImage(data=IMAGE).write(str(path))
        case ".cbf":
            fabio.cbfimage.CbfImage(data=IMAGE).write(str(path))
        case ".h5":
            with h5py.File(path, "w") as file:
                file["entry/data/data"] = np.stack([IMAGE] * 3)
                file["entry/mask"] = IMAGE > 5
                file["entry/numbers"] = np.arange(7)


@pytest.mark.parametrize("name", ["a.tif", "a.edf", "a.cbf", "a.h5"])
def test_shape_of_any_kind_of_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert image_shape(tmp_path / name) == (60, 80)


def test_dataset_is_named_where_there_are_several_shapes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"] = np.zeros((3, 60, 80)), np.zeros((5, 6))
    with pytest.raises(FrameError, match=r"a\.h5: wanted images of one shape, found one \(60, 80\), two \(5, 6\)"):
        image_shape(tmp_path / "a.h5")
    assert image_shape(f"{tmp_path}/a.h5::/two") == (5, 6)
    with pytest.raises(FrameError, match="wanted a dataset /three, found none of that name"):
        image_shape(f"{tmp_path}/a.h5::/three")


def test_real_nexus_file(shared_data: Path) -> None:
    assert image_shape(shared_data / "real" / "lambda_750k.nxs") == (516, 1554)


# fabio tells of what it cannot read by an ERROR in the log as well as by an exception.
@pytest.mark.logs_errors
def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(FrameError, match=r"a\.txt: wanted an image, found an unreadable file"):
        image_shape(tmp_path / "a.txt")
    with pytest.raises(FrameError, match=r"gone\.tif: wanted an image, found No such file"):
        image_shape(tmp_path / "gone.tif")
