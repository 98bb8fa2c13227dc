"""The real Pilatus device when something goes wrong: each event has its own images, or the run fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pilatus_process import PilatusIOC, running_ioc
from tests.helpers.waiting import PATIENCE

SCRIPT = Path(__file__).parents[1] / "helpers" / "pilatus_faults.py"
FAULTS = (
    "num_images_changed",
    "paused",
    "aborted",
    "aborted_at_once",
    "frame_dropped",
    "frame_of_three_dropped",
    "write_failed",
    "first_write_of_three_failed",
    "slow_writes",
    "frame_taken_by_hand",
    "failure_passed_over",
    "failed_point_read",
    "no_folder",
    "setting_that_stays",
    "staged_twice",
    "error_of_before",
)


@dataclass
class Outcome:
    """What came of a scan."""

    documents: list[tuple[str, dict[str, Any]]]
    error: str
    state: str
    before: dict[str, str]
    after: dict[str, str]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [document for name, document in self.documents if name == kind]

    @property
    def stop(self) -> dict[str, Any]:
        (stop,) = self.of("stop")
        return stop

    def files(self) -> list[list[Path]]:
        """The files that each event names."""
        (resource,) = self.of("resource")
        folder, options = resource["root"] + resource["resource_path"], resource["resource_kwargs"]
        frames = options["frame_per_point"]
        points = {datum["datum_id"]: datum["datum_kwargs"]["point_number"] for datum in self.of("datum")}
        first = [points[event["data"]["pilatus_image"]] * frames for event in self.of("event")]
        return [
            [Path(options["template"] % (folder, options["filename"], number + i)) for i in range(frames)]
            for number in first
        ]

    def check_own_files(self) -> None:
        """Check that each event's files were written for it: after the event before, and before it."""
        (start,) = self.of("start")
        before = start["time"]
        for event, files in zip(self.of("event"), self.files(), strict=True):
            for file in files:
                assert before - 0.1 < file.stat().st_mtime < event["time"] + 0.1, f"{file} is of another event"
            before = event["time"]


def outcomes(lines: str) -> dict[str, Outcome]:
    found = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return {each.pop("name"): Outcome(**each) for each in found}


@pytest.fixture(scope="module")
def results(pilatus_ioc: PilatusIOC, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """The outcomes of all faults, each made by a real RunEngine, in one process."""
    folder = tmp_path_factory.mktemp("frames")
    finished = pilatus_ioc.run(SCRIPT, pilatus_ioc.prefix, str(folder), *FAULTS)
    found = outcomes(finished.stdout)
    assert list(found) == list(FAULTS), finished.stderr
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_events_have_their_own_files_whatever_happens(results, name) -> None:
    outcome = results[name]
    assert outcome.state == "idle"
    if outcome.of("event"):
        outcome.check_own_files()


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "error_of_before"])  # which changes them itself
def test_settings_are_as_before(results, name) -> None:
    assert results[name].after == results[name].before


@pytest.mark.parametrize(
    ("name", "events", "error"),
    [
        ("num_images_changed", 2, "pilatus: wanted num_images as it was at stage(), 1, found 2"),
        ("frame_dropped", 1, "the TIFF plugin TEST:PIL:TIFF1: did not get every frame"),
        ("frame_of_three_dropped", 1, "_000005.tif, found 2, and "),
        ("write_failed", 1, "_000001.tif: No space left on device': see whether the disk is full"),
        ("first_write_of_three_failed", 1, "_000003.tif: No space left on device': see whether the disk is full"),
        ("failed_point_read", 1, "the TIFF plugin TEST:PIL:TIFF1: did not get every frame"),
    ],
)
def test_point_without_its_files_fails_and_says_so(results, name, events, error) -> None:
    outcome = results[name]
    assert error in outcome.error
    assert (outcome.stop["exit_status"], len(outcome.of("event"))) == ("fail", events)
    assert outcome.stop["reason"] == outcome.error
    assert len(outcome.of("datum")) == events


@pytest.mark.parametrize(
    ("name", "events"), [("paused", 4), ("slow_writes", 3), ("frame_taken_by_hand", 4), ("error_of_before", 3)]
)
def test_scan_that_can_go_on_does(results, name, events) -> None:
    outcome = results[name]
    assert outcome.error == ""
    assert (outcome.stop["exit_status"], len(outcome.of("event"))) == ("success", events)


def test_plan_that_passes_a_failure_over_goes_on_with_the_next_file(results) -> None:
    outcome = results["failure_passed_over"]
    assert len(outcome.of("passed over")) == 1
    assert [datum["datum_kwargs"]["point_number"] for datum in outcome.of("datum")] == [0, 2]


@pytest.mark.parametrize("name", ["aborted", "aborted_at_once"])
def test_abort_in_mid_exposure_is_an_abort_and_stops_the_detector(results, name) -> None:
    outcome = results[name]
    assert (outcome.stop["exit_status"], outcome.of("event")) == ("abort", [])
    assert outcome.after["cam1:Acquire"] == "Done"


def test_setting_that_stays_is_named_and_keeps_no_other(results) -> None:
    outcome = results["setting_that_stays"]
    assert "pilatus: settings that the IOC did not take back: pilatus_tiff_enable to 'Disable'" in outcome.error
    (during,) = outcome.of("settings")
    assert {name for name, value in during.items() if value != outcome.before[name]} == {"TIFF1:EnableCallbacks"}


def test_detector_that_is_staged_twice_works_once_unstaged(results) -> None:
    outcome = results["staged_twice"]
    assert outcome.error == ""
    assert [refused["error"] for refused in outcome.of("refused")] == [
        "pilatus is staged already: call unstage() first"
    ]
    assert len(outcome.of("event")) == 2


def test_second_session_takes_the_detector_and_the_first_one_is_told(pilatus_ioc, tmp_path) -> None:
    first = pilatus_ioc.start(SCRIPT, pilatus_ioc.prefix, str(tmp_path), "first_session")
    second = pilatus_ioc.start(SCRIPT, pilatus_ioc.prefix, str(tmp_path), "second_session")
    with first, second:
        (of_first, told), (of_second, _) = first.communicate(timeout=PATIENCE), second.communicate(timeout=PATIENCE)
    one, two = outcomes(of_first)["first_session"], outcomes(of_second)["second_session"]
    assert "pilatus: wanted the TIFF plugin to write" in one.error
    assert "somebody else uses the detector TEST:PIL:" in one.error
    assert (one.stop["exit_status"], len(one.of("event"))) == ("fail", 2)
    assert "another session has staged the detector TEST:PIL: since" in told
    assert (two.error, two.stop["exit_status"], len(two.of("event"))) == ("", "success", 5)
    one.check_own_files()
    two.check_own_files()


@pytest.fixture
def mortal_ioc(tmp_path: Path) -> Iterator[PilatusIOC]:
    with running_ioc(tmp_path) as ioc:
        yield ioc


@pytest.mark.parametrize(
    "name", ["died", "died_between_points", pytest.param("died_before_the_reading", marks=pytest.mark.soak)]
)
def test_ioc_that_dies_is_the_first_that_is_told(mortal_ioc, tmp_path, name) -> None:
    begin = time.time()
    finished = mortal_ioc.run(SCRIPT, mortal_ioc.prefix, str(tmp_path), name)
    outcome = outcomes(finished.stdout)[name]
    since = outcome.error.split("disconnected since ")[1][:8]
    assert outcome.error.startswith(f"pilatus: the detector's IOC TEST:PIL: is disconnected since {since}")
    assert any(time.strftime("%H:%M:%S", time.localtime(begin + i)) == since for i in range(int(PATIENCE)))
    assert finished.stderr.startswith("pilatus: the detector's IOC TEST:PIL: is disconnected since")
    assert outcome.stop["exit_status"] == "fail"
    assert outcome.stop["reason"] == outcome.error
    assert "settings left as they were for the scan: pilatus_cam_acquire, " in finished.stderr


@pytest.mark.soak
def test_ioc_that_hangs_is_the_first_that_is_told(mortal_ioc, tmp_path) -> None:
    finished = mortal_ioc.run(SCRIPT, mortal_ioc.prefix, str(tmp_path), "froze")
    mortal_ioc.process.kill()
    outcome = outcomes(finished.stdout)["froze"]
    assert outcome.error.startswith("pilatus: the detector's IOC TEST:PIL: does not answer (")
    assert outcome.stop["exit_status"] == "fail"
    assert "settings left as they were for the scan: pilatus_cam_acquire, " in finished.stderr
