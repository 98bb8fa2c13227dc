"""Masks of every format, in one orientation; what is said of bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from fabio.fit2dmaskimage import Fit2dMaskImage

from saxs_bluesky.errors import MaskError
from saxs_bluesky.reduction import Calibration, Reducer, read_mask

MASK = np.zeros((60, 80), bool)
MASK[:5] = True  # the top
MASK[30, 11] = True


def write(path: Path) -> None:
    match path.suffix:
        case ".msk":
            Fit2dMaskImage(data=np.flipud(MASK).astype(np.uint8)).write(str(path))
        case ".tif":
            tifffile.imwrite(path, MASK.astype(np.uint8) * 255)
        case ".edf":
            fabio.edfimage.EdfImage(data=MASK.astype(np.int32)).write(str(path))
        case ".npy":
            np.save(path, MASK)
        case ".h5":
            with h5py.File(path, "w") as file:
                file["entry/mask"] = MASK.astype(np.int8)
                file["entry/other"] = np.zeros(3)


@pytest.mark.parametrize("suffix", [".msk", ".tif", ".edf", ".npy", ".h5"])
def test_every_format_gives_the_same_mask(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    write(path)
    np.testing.assert_array_equal(read_mask(path), MASK)
    np.testing.assert_array_equal(read_mask(path.read_bytes(), path.name), MASK)


def test_dataset_of_an_hdf5_file_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "masks.h5"
    with h5py.File(path, "w") as file:
        file["a/one"], file["a/two"] = MASK, ~MASK
    np.testing.assert_array_equal(read_mask(f"{path}::/a/two"), ~MASK)
    with pytest.raises(MaskError, match="wanted one two-dimensional dataset, found a/one, a/two; name it as"):
        read_mask(path)
    with pytest.raises(MaskError, match="wanted a dataset /a/three, found none"):
        read_mask(f"{path}::/a/three")


# fabio tells of what it cannot read by an ERROR in the log as well as by an exception.
@pytest.mark.logs_errors
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.msk", b"", "wanted a mask, found an empty file"),
        ("text.tif", b"this is no image", "found an unreadable file"),
        ("text.msk", b"this is no mask", "found an unreadable file"),
        ("text.npy", b"this is no array", "found an unreadable file"),
        ("text.h5", b"this is no HDF5", "found an unreadable file"),
        ("text.unknown", b"this is nothing", "found an unreadable file"),
    ],
)
def test_unreadable_masks_are_named_with_the_reason(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MaskError, match=message) as caught:
        read_mask(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_absent_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"gone\.msk: wanted a mask file, found nothing there"):
        read_mask(tmp_path / "gone.msk")


def test_stack_is_no_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", np.zeros((2, 3, 4)))
    with pytest.raises(MaskError, match=r"wanted a mask of shape \(rows, columns\), found shape \(2, 3, 4\)"):
        read_mask(tmp_path / "stack.npy")


def test_pickled_array_is_not_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.array([[print]]), allow_pickle=True)
    with pytest.raises(MaskError, match="unreadable"):
        read_mask(tmp_path / "mask.npy")


def test_mask_path_is_relative_to_the_calibration(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "masks").mkdir()
    write(tmp_path / "masks" / "mask.tif")
    document["Masks"][0]["MaskFile"] = "masks/mask.tif"
    calibration = Calibration.from_dict(document, folder=tmp_path)
    np.testing.assert_array_equal(calibration.load_mask(0), MASK)


def test_mask_of_the_wrong_shape_is_refused_by_name(tmp_path: Path, document: dict[str, Any]) -> None:
    np.save(tmp_path / "mask.npy", MASK.T)
    document["Masks"][0]["MaskFile"] = "mask.npy"
    calibration = Calibration.from_dict(document, folder=tmp_path, where="cal.json")
    with pytest.raises(MaskError, match=r"^mask\.npy: wanted a mask of shape \(60, 80\).*cal\.json.*found \(80, 60\)"):
        Reducer(calibration)


def test_unreadable_mask_names_its_entry(tmp_path: Path, document: dict[str, Any]) -> None:
    document["Masks"][0]["MaskFile"] = "gone.msk"
    with pytest.raises(MaskError, match=r"gone\.msk: .*MaskFile in Masks\[0\] of cal\.json"):
        Reducer(Calibration.from_dict(document, folder=tmp_path, where="cal.json"))
