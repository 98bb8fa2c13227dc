"""One bad file among good ones, and one finder that fails: all others go on."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile

from saxs_bluesky.reduction import PilatusHeader, write_frame
from saxs_bluesky.sources import (
    DirectorySource,
    FileSource,
    FolderListing,
    FolderWatch,
    FoundFile,
    RawRunComposer,
    SourceSettings,
)
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from tests.helpers.frame_files import PILATUS_HEADER, write
from tests.helpers.source_listening import Listen


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def write_dated(path: Path, date_time: str) -> Path:
    tag = (306, "s", 0, date_time, True)
    tifffile.imwrite(path, np.ones((6, 8), np.int32), photometric="minisblack", metadata=None, extratags=[tag])
    return path


@pytest.mark.parametrize(
    "date_time",
    [
        *("0001:01:01 00:00:00", "9999:12:31 23:59:59", "0000:00:00 00:00:00", "1969:12:31 23:59:59"),
        *("2262:04:12 00:00:00", "2014:02:30 12:00:00", "2014:01:31 25:61:61", "yesterday"),
    ],
)
def test_image_whose_date_is_none_has_the_time_of_its_file(
    folder: Path, listen: Listen, zone: str, date_time: str
) -> None:
    write(folder / "a.tif")
    bad = write_dated(folder / "b.tif", date_time)
    write(folder / "c.tif")
    listening = listen(DirectorySource(folder))
    listening.wait()
    assert listening.names == ["a.tif", "b.tif", "c.tif"]
    assert listening.events[1]["image_time"] == bad.stat().st_mtime
    assert listening.events[1]["image_failure"] == ""
    assert listening.events[0]["image_time"] == datetime(2014, 1, 31, 12, 26, 52).timestamp()  # noqa: DTZ001


@pytest.mark.parametrize("year", [1970, 2038, 2261])
def test_date_at_the_ends_of_what_can_be_shown(folder: Path, listen: Listen, zone: str, year: int) -> None:
    write_dated(folder / "a.tif", f"{year}:07:01 12:00:00")
    listening = listen(DirectorySource(folder))
    listening.wait()
    assert listening.events[0]["image_time"] == datetime(year, 7, 1, 12).timestamp()  # noqa: DTZ001


def test_numbers_that_are_none_are_unknown(folder: Path, listen: Listen) -> None:
    entries = {"Exposure_time": "1e999 s", "Exposure_period": "-1e999 s", "Wavelength": "9" * 400 + " A"}
    write_frame(folder / "a.tif", np.ones((6, 8)), PilatusHeader(entries=entries, model="PILATUS\x1b[2J"))
    write(folder / "b.tif")
    listening = listen(DirectorySource(folder))
    listening.wait()
    bad = listening.events[0]
    assert all(math.isnan(bad[name]) for name in ("exposure_time", "exposure_period", "wavelength"))
    assert "\x1b" not in bad["detector_model"]
    assert "Infinity" not in json.dumps(bad)
    assert listening.names == ["a.tif", "b.tif"]


def test_file_whose_event_cannot_be_composed_is_a_failure(folder: Path, listen: Listen) -> None:
    """Whatever comes out of a header that nobody thought of."""

    class Odd(PilatusHeader):
        def time(self, _zone: object) -> None:
            raise OverflowError("date value out of range")

    class Finding(DirectorySource):
        def files(self, has_room: Callable[[], bool] = lambda: True) -> Iterator[FoundFile]:
            for file in super().files(has_room):
                odd = file.path.endswith("b.tif")
                yield FoundFile(file.path, file.stamp, file.size, file.modified, Odd() if odd else PILATUS_HEADER)

    for name in "abc":
        write(folder / f"{name}.tif")
    listening = listen(Finding(folder))
    listening.wait()
    assert listening.names == ["a.tif", "b.tif", "c.tif"]
    failures = [event["image_failure"] for event in listening.events]
    assert failures == ["", f"{folder / 'b.tif'}: unexpected OverflowError: date value out of range", ""]
    assert listening.events[1]["file_stamp"] != 0


def test_file_that_no_reader_expects_is_a_failure(
    folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saxs_bluesky.sources import _readiness as _ready

    read = _ready.read_header

    def read_or_fail(path: str, status: os.stat_result) -> object:
        if path.endswith("b.tif"):
            raise RecursionError("maximum recursion depth exceeded")
        return read(path, status)

    monkeypatch.setattr(_ready, "read_header", read_or_fail)
    for name in "abc":
        write(folder / f"{name}.tif")
    source = FileSource([FolderListing(SourceSettings(folder))], {}, readiness=_ready.Readiness(deadline=0.2))
    listening = listen(source)
    listening.wait()
    assert sorted(listening.names) == ["a.tif", "b.tif", "c.tif"]
    (failure,) = [event["image_failure"] for event in listening.events if event["image_failure"]]
    assert failure == f"{folder / 'b.tif'}: unexpected RecursionError: maximum recursion depth exceeded"


def test_question_whether_to_skip_that_fails_costs_no_image(
    folder: Path, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    def skip(path: str) -> bool:
        if path.endswith("b.tif"):
            raise ValueError("no such thing")
        return path.endswith("c.tif")

    for name in "abc":
        write(folder / f"{name}.tif")
    listening = listen(DirectorySource(folder, skip=skip))
    listening.wait()
    assert listening.names == ["a.tif", "b.tif"]
    assert f"{folder / 'b.tif'}: whether there is nothing to do for it is not known" in caplog.text


class Failing:
    """A finder that fails some times, and then finds a file."""

    announces = False
    exhausted = False
    next_look = 0.0

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.times, self.asked = path, times, 0

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:
        pass

    def find(self) -> Iterable[str]:
        self.asked += 1
        if self.asked <= self.times:
            raise MemoryError("out of memory")
        return [str(self.path)]

    def find_all(self) -> Iterable[str]:
        return self.find()

    def close(self) -> None:
        pass


def test_finder_that_fails_is_asked_again_and_the_others_go_on(
    folder: Path, tmp_path: Path, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(write(tmp_path / "elsewhere" / "late.tif"), times=1)
    finders = [failing, FolderWatch(SourceSettings(folder))]
    write(folder / "a.tif")
    begin = time.monotonic()
    listening = listen(FileSource(finders, {}))
    listening.until_events(2)
    listening.end()
    assert listening.names == ["a.tif", "late.tif"]
    assert "looking for files failed and is tried again: unexpected MemoryError: out of memory" in caplog.text
    assert time.monotonic() - begin > 0.9  # it is left alone for a second


def test_finder_that_fails_always_takes_no_processor(folder: Path, listen: Listen) -> None:
    failing = Failing(folder / "never.tif", times=10**9)
    listening = listen(FileSource([failing], {}))
    time.sleep(1.5)
    listening.end()
    assert failing.asked <= 3


def test_event_of_a_failed_file_has_a_text_that_does_nothing() -> None:
    run = RawRunComposer({})
    _, event = run.event(FoundFile("/data/\x1b[2J\udcff.tif", 1, 2, 3.0, None, "/data/\x1b[2J\udcff.tif: no image"))
    assert event["data"]["image_path"] == r"/data/\x1b[2J\udcff.tif"
    assert event["data"]["image_failure"] == r"/data/\x1b[2J\udcff.tif: no image"
