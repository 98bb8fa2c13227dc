"""Masks of every format, in one orientation; what is said of bad ones."""

from __future__ import annotations

import bz2
import gzip
import resource
from collections.abc import Callable
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


SUFFIXES = [".msk", ".tif", ".edf", ".npy", ".h5"]
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("named", ["", "mask", ".msk", ".tif", ".npy", ".h5", ".edf", ".MSK", ".cbf", ".png"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_content_tells_the_format_whatever_the_name(tmp_path: Path, suffix: str, named: str, packed: str) -> None:
    write(tmp_path / f"written{suffix}")
    path = tmp_path / f"mask{named}{packed}"
    path.write_bytes(PACKERS[packed]((tmp_path / f"written{suffix}").read_bytes()))
    np.testing.assert_array_equal(read_mask(path), MASK)  # a file
    np.testing.assert_array_equal(read_mask(path.read_bytes(), path.name), MASK)  # its bytes
    if suffix != ".h5" or not named:  # which takes a process each
        np.testing.assert_array_equal(read_mask(path.read_bytes(), path.name, limit=MASK.size), MASK)  # a network
        np.testing.assert_array_equal(read_mask(path, limit=MASK.size), MASK)


@pytest.mark.parametrize("suffix", [".cbf", ".dat", ".cbf.gz"])
def test_other_formats_of_fabio_are_read_from_files_and_refused_from_strangers(tmp_path: Path, suffix: str) -> None:
    fabio.cbfimage.CbfImage(data=MASK.astype(np.int32)).write(str(tmp_path / "written.cbf"))
    content = (tmp_path / "written.cbf").read_bytes()
    path = tmp_path / f"mask{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    np.testing.assert_array_equal(read_mask(path), MASK)
    with pytest.raises(MaskError, match="wanted a mask in Fit2D, TIFF, EDF, NumPy or HDF5 format, found something els"):
        read_mask(path.read_bytes(), path.name, limit=MASK.size)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "?"])
def test_compressed_tiff_masks(tmp_path: Path, compression: str, layout: dict[str, Any], dtype: str) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, MASK.astype(dtype), compression=compression, photometric="minisblack", **layout)
    np.testing.assert_array_equal(read_mask(path), MASK)
    np.testing.assert_array_equal(read_mask(path.read_bytes(), limit=MASK.size), MASK)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_masks_that_unpack_to_too_much_are_refused_unread(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    bomb = pack(bytes(2**28))
    assert len(bomb) < 2**19
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MaskError, match=r"m\.npy: wanted a mask of at most 4800 pixels, found one that unpacks"):
        read_mask(bomb, "m.npy", limit=MASK.size)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # kilobytes
    for damaged in (pack(b"x" * 1000)[:20], pack(b"")):
        for limit in (None, MASK.size):
            with pytest.raises(MaskError, match=r"m\.npy: wanted a mask, found (a damaged|an empty) .*compressed"):
                read_mask(damaged, "m.npy", limit=limit)


def test_tiff_tiles_larger_than_the_mask_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((8, 8), "u1"), tile=(8192, 8192), compression="zlib")
    with pytest.raises(MaskError, match="wanted a TIFF file of strips or tiles not larger than it"):
        read_mask(tmp_path / "m.tif", limit=64)


def test_nan_in_a_mask_of_floats_is_masked(tmp_path: Path) -> None:
    values = np.where(MASK, np.nan, 0.0).astype("f4")
    np.save(tmp_path / "m.npy", values)
    tifffile.imwrite(tmp_path / "m.tif", values)
    for name in ("m.npy", "m.tif"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)
        np.testing.assert_array_equal(read_mask(tmp_path / name, limit=MASK.size), MASK)


@pytest.mark.parametrize("suffix", SUFFIXES)
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
    with pytest.raises(MaskError, match="wanted a mask of numbers, found values of type O8"):
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
    with pytest.raises(MaskError, match=r"^mask\.npy: wanted .* \(60, 80\).*cal\.json.*found \(80, 60\): its"):
        Reducer(calibration)


def test_unreadable_mask_names_its_entry(tmp_path: Path, document: dict[str, Any]) -> None:
    document["Masks"][0]["MaskFile"] = "gone.msk"
    with pytest.raises(MaskError, match=r"gone\.msk: .*MaskFile in Masks\[0\] of cal\.json"):
        Reducer(Calibration.from_dict(document, folder=tmp_path, where="cal.json"))
