"""Files of several images: an event for each, none lost and none twice, whatever happens in between."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from saxs_bluesky.sources import DirectorySource, Readiness, WatchSource
from tests.helpers.frame_files import write
from tests.helpers.source_listening import Listen


def write_stack(path: Path, numbers: range, *, mode: str = "w") -> None:
    with tifffile.TiffWriter(path, append=mode == "a") as tiff:
        for number in numbers:
            text = f"# Exposure_time {number + 1}.0 s\r\n"
            image = np.full((6, 8), number + 1, "i4")
            tiff.write(image, photometric="minisblack", metadata=None, description=text, contiguous=False)


def test_each_page_has_an_event_with_its_header(folder: Path, listen: Listen) -> None:
    write(folder / "a.tif")
    write_stack(folder / "stack.tif", range(3))
    listening = listen(DirectorySource(folder))
    listening.wait()
    keys = ("image_page", "image_pages", "exposure_time", "image_failure")
    assert listening.names == ["a.tif", "stack.tif", "stack.tif", "stack.tif"]
    assert [tuple(data[key] for key in keys) for data in listening.events] == [
        (0, 1, 2.5, ""),
        (0, 3, 1.0, ""),
        (1, 3, 2.0, ""),
        (2, 3, 3.0, ""),
    ]
    assert len({data["file_stamp"] for data in listening.events}) == 2
    assert listening.source.counters.pending == 0


def test_imagej_stack_is_as_many_events(folder: Path, listen: Listen) -> None:
    stack = np.ones((4, 6, 8), "f4")
    tifffile.imwrite(folder / "stack.tif", stack, imagej=True, metadata={"axes": "TYX"})
    listening = listen(DirectorySource(folder))
    listening.wait()
    assert [data["image_page"] for data in listening.events] == [0, 1, 2, 3]


def test_page_that_is_no_image_is_a_failure_of_its_own(folder: Path, listen: Listen) -> None:
    with tifffile.TiffWriter(folder / "mixed.tif") as tiff:
        for image, kind in ((np.zeros((6, 8, 3), "u1"), "rgb"), (np.ones((6, 8), "i4"), "minisblack")):
            tiff.write(image, photometric=kind, metadata=None, contiguous=False)
    listening = listen(DirectorySource(folder, readiness=Readiness(deadline=0.3)))
    listening.wait()
    first, second = listening.events
    assert re.search(r"mixed\.tif, page 0: wanted one grey image", first["image_failure"])
    assert (first["image_page"], second["image_page"], second["image_failure"]) == (0, 1, "")


@pytest.mark.logs_errors
def test_pages_in_front_of_the_end_of_a_file_that_stays_cut_short_are_taken(folder: Path, listen: Listen) -> None:
    write_stack(folder / "stack.tif", range(3))
    content = (folder / "stack.tif").read_bytes()
    (folder / "stack.tif").write_bytes(content[:-100])
    listening = listen(DirectorySource(folder, readiness=Readiness(deadline=0.3)))
    listening.wait()
    assert [bool(data["image_failure"]) for data in listening.events] == [False, False, True]


def test_pages_that_are_appended_make_a_new_content(folder: Path, listen: Listen) -> None:
    write_stack(folder / "stack.tif", range(2))
    listening = listen(WatchSource(folder))
    listening.until_events(2)
    write_stack(folder / "stack.tif", range(2, 3), mode="a")
    listening.until_events(5)
    listening.end()
    assert [(data["image_page"], data["image_pages"]) for data in listening.events] == [
        (0, 2),
        (1, 2),
        (0, 3),
        (1, 3),
        (2, 3),
    ]


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("taken", [1, 3, 4])
def test_source_goes_on_at_the_page_where_it_was_stopped(
    folder: Path, listen: Listen, taken: int, existing: bool
) -> None:
    write_stack(folder / "stack.tif", range(5))
    first = DirectorySource(folder)
    events = []
    for name, doc in first.documents(lambda: len(events) < taken):
        if name == "event":
            events.append(doc["data"])
        if len(events) == taken:
            first.stop()
    assert len(events) == taken
    second = WatchSource(folder, existing=existing)
    for path, stamp in first.accepted():
        second.remember(path, stamp)
    listening = listen(second)
    listening.until_events(5 - taken)
    listening.end()
    pages = [data["image_page"] for data in [*events, *listening.events]]
    assert pages == [0, 1, 2, 3, 4]


def test_skip_is_asked_for_the_file_with_the_number_of_its_images(folder: Path, listen: Listen) -> None:
    write(folder / "a.tif")
    write_stack(folder / "stack.tif", range(3))
    asked = []

    def skip(*arguments: object) -> bool:
        asked.append(arguments)
        return True

    listening = listen(DirectorySource(folder, skip=skip))
    listening.wait()
    assert asked == [(str(folder / "a.tif"),), (str(folder / "stack.tif"), 3)]
    assert listening.events == []
    assert listening.source.counters.skipped == 2
