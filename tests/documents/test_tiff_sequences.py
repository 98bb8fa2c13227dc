"""Sequences of TIFF files in documents: each index leads to its frames, whatever a file holds of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from saxs_bluesky.documents import TiffFrame, load
from saxs_bluesky.documents._resources import from_stream_datum
from saxs_bluesky.errors import FrameError

SEQUENCE = "multipart/related;type=image/tiff"
FRAMES = np.arange(12 * 4 * 5, dtype=np.int32).reshape(12, 4, 5)


def write_files(folder: Path, pages: int, number: int = 12) -> None:
    """Files of so many pages each; the last may be shorter."""
    for index, first in enumerate(range(0, number, pages)):
        with tifffile.TiffWriter(folder / f"img_{index:04d}.tif") as tiff:
            for image in FRAMES[first : min(first + pages, number)]:
                tiff.write(image, photometric="minisblack", metadata=None, contiguous=False)


def resource(folder: Path, mimetype: str = SEQUENCE, **parameters: Any) -> dict[str, Any]:
    if mimetype == SEQUENCE and "files" not in parameters:
        parameters["template"] = "img_{:04d}.tif"
    return {"uri": f"file://localhost{folder}", "mimetype": mimetype, "parameters": parameters}


@pytest.mark.parametrize(
    ("pages", "frames", "parameters"),
    [
        (1, 1, {}),
        (1, 3, {}),
        (1, 1, {"chunk_shape": (1, 4, 5)}),
        (1, 3, {"chunk_shape": [1, 4, 5], "join_method": "concat"}),
        (1, 3, {"chunk_shape": (1, 4, 5), "join_method": "stack"}),
        (3, 3, {"chunk_shape": (3, 4, 5), "join_method": "concat"}),
        (3, 3, {"chunk_shape": (3, 4, 5), "join_method": "stack"}),
        (3, 3, {"chunk_shape": (1, 3, 4, 5), "join_method": "stack"}),
        (6, 3, {"chunk_shape": (2, 3, 4, 5), "join_method": "stack"}),
        (3, 3, {"join_method": "stack"}),
        (1, 3, {"join_method": "stack", "multiplier": 3}),
        (2, 6, {"chunk_shape": (2, 4, 5), "join_method": "concat"}),
        (4, 1, {"chunk_shape": (4, 4, 5), "join_method": "concat"}),
        (4, 2, {"chunk_shape": (4, 4, 5)}),
        (4, 1, {"chunk_shape": (4,), "join_method": "concat"}),
        (5, 1, {"chunk_shape": (5, 4, 5)}),  # the last file is shorter
        (3, 3, {"chunk_shape": (2, 4, 5)}),  # neither fits: a file for each index
        (3, 6, {"files_per_datum": 2}),
    ],
)
def test_each_frame_is_found(tmp_path: Path, pages: int, frames: int, parameters: dict[str, Any]) -> None:
    write_files(tmp_path, pages)
    described = resource(tmp_path, **parameters)
    # In two parts, as a detector tells of them.
    indices = 12 // frames
    references = [
        *from_stream_datum(described, 0, indices // 2, frames),
        *from_stream_datum(described, indices // 2, indices, frames),
    ]
    assert len(references) == 12
    for reference, image in zip(references, FRAMES, strict=True):
        assert isinstance(reference, TiffFrame)
        np.testing.assert_array_equal(load(reference, 0).image, image)


def test_list_of_files_with_pages(tmp_path: Path) -> None:
    write_files(tmp_path, 4)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    found = from_stream_datum(resource(tmp_path, files=files[:2], chunk_shape=(4, 4, 5)), 0, 12, 1)
    for reference, image in zip(found[:8], FRAMES, strict=False):
        assert isinstance(reference, TiffFrame)
        np.testing.assert_array_equal(load(reference, 0).image, image)
    # What is missing costs no other.
    assert found[8:] == [f"{tmp_path}: wanted file 2 (from 0), found a list of 2"] * 4


def test_one_file_of_many_pages(tmp_path: Path) -> None:
    write_files(tmp_path, 12)
    for start, stop, frames in ((0, 12, 1), (0, 4, 3)):
        found = from_stream_datum(resource(tmp_path / "img_0000.tif", "image/tiff"), start, stop, frames)
        for reference, image in zip(found, FRAMES, strict=True):
            assert isinstance(reference, TiffFrame)
            np.testing.assert_array_equal(load(reference, 0).image, image)


def test_file_with_more_images_than_documents_say_is_a_failure(tmp_path: Path) -> None:
    write_files(tmp_path, 3)
    (reference, *_) = from_stream_datum(resource(tmp_path, chunk_shape=(1, 4, 5)), 0, 4, 1)
    assert isinstance(reference, TiffFrame)
    with pytest.raises(FrameError, match=r"img_0000\.tif: wanted a file of one image as its documents say, found 3"):
        load(reference, 0)


@pytest.mark.parametrize(
    "parameters", [{"chunk_shape": (0, 4, 5)}, {"chunk_shape": ("a", 4, 5)}, {"files_per_datum": "many"}]
)
def test_parameters_without_sense_are_refused(tmp_path: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match="wanted sizes"):
        from_stream_datum(resource(tmp_path, **parameters), 0, 1, 1)
