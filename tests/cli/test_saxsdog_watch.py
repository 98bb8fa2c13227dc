"""``saxsdog`` on a folder that images come into: workers killed, the program killed, the catalog."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.reduction import write_frame
from tests.helpers.frame_files import HEADER
from tests.helpers.watching import Catalogued, Results, Saxsdog

Start = Callable[..., Saxsdog]


@pytest.fixture
def start(beamtime: Path) -> Iterator[Start]:
    started: list[Saxsdog] = []

    def begin(*options: str) -> Saxsdog:
        started.append(Saxsdog(beamtime, options))
        started[-1].start()
        return started[-1]

    yield begin
    for one in started:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def add(beamtime: Path, name: str, rng: np.random.Generator) -> Path:
    path = beamtime / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, rng.poisson(20, (60, 80)), HEADER)
    return path


def images(beamtime: Path) -> list[Path]:
    return sorted((beamtime / "data").rglob("*.tif"))


@pytest.mark.parametrize("options", [("-w",), ("-w", "--poll-only"), ("-w", "-t", "2")])
def test_images_become_curves_as_they_come(
    beamtime: Path, start: Start, rng: np.random.Generator, options: tuple[str, ...]
) -> None:
    results = Results(beamtime)
    saxsdog = start(*options)
    saxsdog.until(lambda: all(results.chi(image).exists() for image in images(beamtime)))
    add(beamtime, "later.tif", rng)
    add(beamtime, "new/deep/below.tif", rng)
    saxsdog.until(lambda: all(results.chi(image).exists() for image in images(beamtime)))
    assert saxsdog.stop() == 0
    for image in images(beamtime):
        results.assert_current(image)
    assert saxsdog.log.splitlines()[-1] == "5 images: 5 reduced, 0 skipped, 0 failed"
    assert set(results.listed().values()) == {1}
    assert sum(results.listed().values()) == 10  # two curves an image
    assert results.left_over() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_only_new_images_where_asked(
    beamtime: Path, start: Start, rng: np.random.Generator, number: signal.Signals
) -> None:
    results = Results(beamtime)
    saxsdog = start("-w", "-n", "-V")
    saxsdog.until(lambda: "watching" in saxsdog.log)
    new = add(beamtime, "new.tif", rng)
    saxsdog.until(lambda: results.chi(new).exists())
    assert saxsdog.stop(number) == 0
    assert list(results.listed()) == ["work/new.chi", "work/new_cS1.chi"]
    assert "1 images: 1 reduced, 0 skipped, 0 failed" in saxsdog.log


def test_image_that_is_overwritten_has_its_new_curve(beamtime: Path, start: Start, rng: np.random.Generator) -> None:
    results = Results(beamtime)
    saxsdog = start("-w", "-t", "2")
    image = beamtime / "data" / "a.tif"
    for count in range(2, 5):
        saxsdog.until(lambda count=count: results.chi(image).exists() and results.listed()["work/a.chi"] == count - 1)
        add(beamtime, "a.tif", rng)
    saxsdog.until(lambda: results.listed()["work/a.chi"] == 4)
    assert saxsdog.stop() == 0
    results.assert_current(image)


def test_image_that_fails_is_done_when_it_is_whole(beamtime: Path, start: Start, rng: np.random.Generator) -> None:
    results = Results(beamtime)
    whole = (beamtime / "data" / "a.tif").read_bytes()
    short = beamtime / "data" / "short.tif"
    short.write_bytes(whole[:-10])
    saxsdog = start("-w", "--deadline", "0.2")
    saxsdog.until(lambda: "short.tif: wanted an image that ends at byte" in saxsdog.log)
    short.write_bytes(whole)
    saxsdog.until(lambda: results.chi(short).exists())
    assert saxsdog.stop() == 1
    results.assert_current(short)
    assert "5 images: 4 reduced, 0 skipped, 1 failed" in saxsdog.log


def test_killed_workers_cost_no_image(beamtime: Path, start: Start, rng: np.random.Generator) -> None:
    results = Results(beamtime)
    saxsdog = start("-w", "-t", "2")
    saxsdog.until(lambda: len(saxsdog.workers) == 2)
    for number in range(60):
        add(beamtime, f"{number % 3}/work_{number:02d}.tif", rng)
        if number % 20 == 10:
            saxsdog.workers[0].kill()
    saxsdog.until(lambda: sum(results.listed().values()) >= 2 * 63)
    assert saxsdog.stop() == 0
    for image in images(beamtime):
        results.assert_current(image)
    assert set(results.listed().values()) == {1}
    assert "63 images: 63 reduced, 0 skipped, 0 failed" in saxsdog.log
    assert results.left_over() == []


@pytest.mark.parametrize("catalog", [False, True])
def test_after_a_crash_it_goes_on_where_it_was(
    beamtime: Path, start: Start, rng: np.random.Generator, catalog: bool
) -> None:
    results = Results(beamtime)
    options = ("-w", "-t", "2", *(("--catalog", str(beamtime / "catalog")) if catalog else ()))
    saxsdog = start(*options)
    number = 0
    for crash in range(4):
        for _ in range(25):
            add(beamtime, f"{number % 3}/{number:03d}.tif", rng)
            number += 1
        wanted = 15 + 40 * crash
        saxsdog.until(lambda wanted=wanted: saxsdog_lines(results) >= wanted)
        saxsdog.kill()
        saxsdog.start()
    saxsdog.until(lambda: saxsdog_lines(results) >= 2 * 103)
    time.sleep(0.5)  # for what would come twice
    assert saxsdog.stop() == 0
    for image in images(beamtime):
        results.assert_current(image)
    assert set(results.listed().values()) == {1}
    assert len(results.listed()) == 2 * 103
    assert results.left_over() == []
    if catalog:
        found = Catalogued.read(beamtime / "catalog")
        once = Counter(str(image) for image in images(beamtime))
        assert found.raw == once
        assert found.reduced == once
        assert found.failed == Counter()
        assert None not in found.stops


def saxsdog_lines(results: Results) -> int:
    return sum(results.listed().values())


def test_crash_is_forgotten_when_the_calibration_changes(
    beamtime: Path, start: Start, rng: np.random.Generator
) -> None:
    results = Results(beamtime)
    saxsdog = start("-w")
    saxsdog.until(lambda: saxsdog_lines(results) >= 6)
    saxsdog.kill()
    calibration = beamtime / "cal.json"
    calibration.write_text(calibration.read_text().replace("1.54", "1.24"))
    saxsdog.start()
    new = Results(beamtime)
    image = beamtime / "data" / "a.tif"
    first = results.chi(image).stat().st_mtime_ns
    saxsdog.until(lambda: results.chi(image).stat().st_mtime_ns != first and saxsdog_lines(results) >= 6)
    assert saxsdog.stop() == 0
    assert saxsdog.log.splitlines()[-1] == "3 images: 3 reduced, 0 skipped, 0 failed"
    for image in images(beamtime):
        new.assert_current(image)


def _remove_list(beamtime: Path) -> str:
    list_of(beamtime).unlink()
    return "the list is gone; curves that were listed before are not listed again"


def _move_results(beamtime: Path) -> str:
    (beamtime / "results").rename(beamtime / "results_old")
    return "the list is gone"


def _empty_list(beamtime: Path) -> str:
    list_of(beamtime).write_text("")
    return "bytes of the list, found 0; curves that were listed before are not listed again"


def _put_folder_in_place_of_list(beamtime: Path) -> str:
    list_of(beamtime).unlink()
    list_of(beamtime).mkdir()
    return "the list of curves cannot be read (Is a directory)"


def _leave_half_a_line(beamtime: Path) -> str:
    with list_of(beamtime).open("a") as file:
        file.write("work/half.chi, 1.0")
    return "the last line was cut short; its 18 bytes are removed"


def list_of(beamtime: Path) -> Path:
    return beamtime / "results" / "filelist_data.log"


@pytest.mark.parametrize(
    "harm", [_remove_list, _move_results, _empty_list, _put_folder_in_place_of_list, _leave_half_a_line]
)
def test_after_a_crash_it_goes_on_whatever_became_of_the_list(
    beamtime: Path, start: Start, rng: np.random.Generator, harm: Callable[[Path], str]
) -> None:
    results = Results(beamtime)
    saxsdog = start("-w")
    saxsdog.until(lambda: saxsdog_lines(results) >= 6)
    time.sleep(0.2)  # until the last is noted as done
    saxsdog.kill()
    warning = harm(beamtime)
    add(beamtime, "new.tif", rng)
    again = start()
    is_list = list_of(beamtime).is_file() or not list_of(beamtime).exists()
    assert again.wait() == (0 if is_list else 1)
    assert warning in again.log
    assert "Traceback" not in again.log
    for image in images(beamtime):
        results.assert_current(image)
    if is_list:
        listed = results.listed()
        assert (listed["work/new.chi"], listed["work/new_cS1.chi"]) == (1, 1)
        assert set(listed.values()) == {1}


def test_crash_is_forgotten_when_a_mask_has_another_content(beamtime: Path, start: Start) -> None:
    mask = np.zeros((60, 80), dtype=np.uint8)
    np.save(beamtime / "mask.npy", mask)
    calibration = beamtime / "cal.json"
    document = json.loads(calibration.read_text())
    document["Masks"][0]["MaskFile"] = "mask.npy"
    calibration.write_text(json.dumps(document))
    results = Results(beamtime)
    saxsdog = start("-w")
    saxsdog.until(lambda: saxsdog_lines(results) >= 6)
    saxsdog.kill()
    mask[30] = 1
    np.save(beamtime / "mask.npy", mask)
    saxsdog.start()
    image = beamtime / "data" / "a.tif"
    first = results.chi(image).stat().st_mtime_ns
    saxsdog.until(lambda: results.chi(image).stat().st_mtime_ns != first and saxsdog_lines(results) >= 6)
    assert saxsdog.stop() == 0
    assert saxsdog.log.splitlines()[-1] == "3 images: 3 reduced, 0 skipped, 0 failed"
    new = Results(beamtime)
    for image in images(beamtime):
        new.assert_current(image)


def test_worker_that_finds_another_mask_than_was_meant_makes_no_curves(beamtime: Path, start: Start) -> None:
    mask = np.zeros((60, 80), dtype=np.uint8)
    np.save(beamtime / "mask.npy", mask)
    calibration = beamtime / "cal.json"
    document = json.loads(calibration.read_text())
    document["Masks"][0]["MaskFile"] = "mask.npy"
    calibration.write_text(json.dumps(document))
    results = Results(beamtime)
    saxsdog = start("-w", "-t", "2")
    saxsdog.until(lambda: saxsdog_lines(results) >= 6)
    mask[30] = 1
    np.save(beamtime / "mask.npy", mask)
    for worker in saxsdog.workers:  # those that come in their place read the mask again
        worker.kill()
    shutil.copy(beamtime / "data" / "a.tif", beamtime / "data" / "d.tif")
    saxsdog.until(lambda: "changed after the reduction began" in saxsdog.log)
    assert saxsdog.stop() == 1
    assert not results.chi(beamtime / "data" / "d.tif").exists()


def test_second_program_on_the_same_folder_is_refused(beamtime: Path, start: Start) -> None:
    first = start("-w", "-V")
    first.until(lambda: "done" in first.log)
    second = start("-w")
    assert second.wait() == 2
    assert "the journal folder is used by another process" in second.log
    assert first.stop() == 0


def test_nothing_is_left_of_a_journal_after_a_clean_end(beamtime: Path, start: Start, state_folder: Path) -> None:
    saxsdog = start()
    assert saxsdog.wait() == 0
    assert [path.name for path in state_folder.rglob("*") if path.is_file()] == ["lock"]


def test_disk_that_is_full_costs_files_and_no_curve(beamtime: Path, start: Start) -> None:
    (beamtime / "work").symlink_to("/dev/full")  # no folder, and nothing can be written there
    saxsdog = start("--catalog", str(beamtime / "catalog"), "-n")
    assert saxsdog.wait() == 1
    assert "2 images: 2 reduced, 0 skipped, 0 failed, 2 not written" in saxsdog.log
    found = Catalogued.read(beamtime / "catalog")
    assert sum(found.reduced.values()) == 2
    assert found.failed == Counter()


def test_catalog_that_is_away_does_not_keep_it_from_its_end(beamtime: Path, start: Start, state_folder: Path) -> None:
    saxsdog = start("--catalog", "http://127.0.0.1:1", "-n")
    assert saxsdog.wait() == 1
    assert "2 images: 2 reduced, 0 skipped, 0 failed" in saxsdog.log
    assert list(state_folder.rglob("*.jsonl"))  # the runs wait there for the catalog


def test_second_program_that_would_write_the_same_curves_is_refused_whatever_its_journal(
    beamtime: Path, start: Start
) -> None:
    first = start("-w", "-V")
    first.until(lambda: "done" in first.log)
    second = start("-w", "-t", "1", "--journal", str(beamtime / "journal"))
    assert second.wait() == 2
    assert f"{beamtime}/data: its curves are written to the same place by another process (pid " in second.log
    before = (beamtime / "results" / "filelist_data.log").read_text()
    # To another place they work beside each other, and the list is not emptied under the first.
    third = start("-n", "-t", "1", "-R", "elsewhere")
    assert third.wait() == 0
    assert "the list is written by another process (pid " in third.log
    assert (beamtime / "results" / "filelist_data.log").read_text().startswith(before)
    assert first.stop() == 0


def test_crash_is_remembered_however_places_are_spelled(
    beamtime: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(beamtime)
    saxsdog = start("-w", "-t", "1", "--catalog", str(beamtime / "catalog"), "--journal", str(beamtime / "journal"))
    saxsdog.until(lambda: saxsdog_lines(Results(beamtime)) >= 6)
    time.sleep(0.5)
    saxsdog.kill()
    again = start("-w", "-t", "1", "--catalog", "./catalog/", "--journal", "journal/../journal", "-R", ".././work/")
    again.until(lambda: "watching" in again.log.splitlines()[-1] or "done" in again.log.splitlines()[-1])
    time.sleep(2)
    assert again.stop() == 0
    assert "0 reduced" in again.log.splitlines()[-1]
