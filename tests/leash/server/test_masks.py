"""Masks that may be hostile are read like others, in bounds."""

from __future__ import annotations

from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from fabio.fit2dmaskimage import Fit2dMaskImage

from saxs_bluesky.errors import MaskError
from saxs_bluesky.reduction import read_mask
from saxs_bluesky.reduction.formats import _bounded_masks

MASK = np.zeros((61, 83), bool)
MASK[:5] = True  # the top
MASK[30, 11] = True


def write(path: Path, dtype: str) -> None:
    values = MASK.astype(dtype)
    match path.suffix:
        case ".msk":
            Fit2dMaskImage(data=np.flipud(values).astype("u1")).write(str(path))
        case ".tif":
            tifffile.imwrite(path, values)
        case ".tiff":
            tifffile.imwrite(path, values, compression="zlib", byteorder=">")
        case ".edf":
            fabio.edfimage.EdfImage(data=values).write(str(path))
        case ".npy":
            np.save(path, np.asfortranarray(values))
        case ".h5":
            with h5py.File(path, "w") as file:
                file.create_dataset("entry/mask", data=values, compression=4, shuffle=True)
                file["entry/other"] = np.zeros(3)


@pytest.mark.parametrize("suffix", [".msk", ".tif", ".tiff", ".edf", ".npy", ".h5"])
@pytest.mark.parametrize("dtype", ["u1", "i4", "u2", "f4"])
def test_mask_is_the_same_as_without_a_limit(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = tmp_path / f"mask{suffix}"
    write(path, dtype)
    np.testing.assert_array_equal(read_mask(path), MASK)
    np.testing.assert_array_equal(read_mask(path, limit=61 * 83), MASK)
    np.testing.assert_array_equal(read_mask(path.read_bytes(), "some other name", limit=61 * 83), MASK)
    with pytest.raises(MaskError, match=r"at most 5062 pixels, found one of shape \(61, 83\)"):
        read_mask(path.read_bytes(), path.name, limit=61 * 83 - 1)


def test_mask_of_a_detector_is_read(shared_data: Path) -> None:
    path = shared_data / "pilatus1m.msk"
    np.testing.assert_array_equal(read_mask(path.read_bytes(), path.name, limit=1043 * 981), read_mask(path))


def test_dataset_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "masks.h5"
    with h5py.File(path, "w") as file:
        file["a/one"], file["a/two"] = MASK, ~MASK
    content = path.read_bytes()
    np.testing.assert_array_equal(read_mask(content, "masks.h5::/a/two", limit=10_000), ~MASK)
    with pytest.raises(MaskError, match="wanted one two-dimensional dataset, found a/one, a/two"):
        read_mask(content, "masks.h5", limit=10_000)
    with pytest.raises(MaskError, match="wanted a dataset /a, found none"):
        read_mask(content, "masks.h5::/a", limit=10_000)


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="wanted a mask file, found nothing there"):
        read_mask(tmp_path / "gone.msk", limit=10)


def test_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("m", shape=(60, 80), dtype="u1", chunks=(60, 80), compression=9)
        dataset.id.write_direct_chunk((0, 0), bytes(300_000))  # which could hold 300 MB
    with pytest.raises(MaskError, match="wanted a mask that is not compressed, or a little"):
        read_mask(path.read_bytes(), "bomb.h5", limit=4800)


def test_hdf5_is_read_in_its_own_process(tmp_path: Path) -> None:
    write(tmp_path / "mask.h5", "u1")
    content = (tmp_path / "mask.h5").read_bytes()
    np.testing.assert_array_equal(read_mask(content, "mask.h5", limit=61 * 83), MASK)
    with pytest.raises(MaskError, match=r"^mask.h5: wanted a mask of at most 9 pixels, found one of shape \(61, 83\)$"):
        read_mask(content, "mask.h5", limit=9)
    with pytest.raises(MaskError, match=r"^m h.h5: wanted a mask image, found an unreadable file"):
        read_mask(content[:200], "m\0h.h5", limit=9)


def test_hdf5_that_takes_too_long_is_refused_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mask.h5", "u1")
    monkeypatch.setattr(_bounded_masks, "_PATIENCE", 0.01)
    with pytest.raises(MaskError, match="found one that takes too long to read"):
        read_mask(tmp_path / "mask.h5", limit=61 * 83)


def test_hdf5_that_takes_too_much_of_the_processor_is_refused_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mask.h5", "u1")
    turns = "import resource\ndef _main():\n    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\n    while True: pass\n"
    (tmp_path / "turns_for_ever.py").write_text(turns)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(_bounded_masks, "__name__", "turns_for_ever")
    with pytest.raises(MaskError, match="found one that takes too long to read"):
        read_mask(tmp_path / "mask.h5", limit=61 * 83)


def test_crash_over_hdf5_is_one_of_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mask.h5", "u1")
    monkeypatch.setattr(_bounded_masks, "__name__", "faulthandler._sigsegv")
    with pytest.raises(MaskError, match=r"found an unreadable file \(HDF5\)"):
        read_mask(tmp_path / "mask.h5", limit=61 * 83)
