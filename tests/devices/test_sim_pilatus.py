"""The simulated Pilatus under a real RunEngine: its documents, its files, its faults."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plan_stubs import collect, collect_while_completing, kickoff
from bluesky.plans import count, fly, grid_scan, scan
from bluesky.preprocessors import fly_during_wrapper, plan_mutator, run_decorator, stage_decorator
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from saxs_bluesky.devices import SampleProfile, SimPilatus, SimSampleStage
from saxs_bluesky.devices._frame_files import Hdf5File, TiffFiles
from saxs_bluesky.errors import OutputError, SaxsError
from saxs_bluesky.reduction import PilatusHeader, Reducer, read_frame
from saxs_bluesky.simulation import Spheres

SHAPE = (195, 487)
FORMATS = pytest.mark.parametrize("file_format", ["tif", "hdf5"])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., SimPilatus]:
    """Make a small detector that writes to ``tmp_path / "frames"``."""

    def make_one(**settings: Any) -> SimPilatus:
        return SimPilatus("pilatus", tmp_path / "frames", detector="100K", **settings)

    return make_one


def files(folder: Path) -> list[Path]:
    return sorted((folder / "frames").iterdir())


@FORMATS
@pytest.mark.parametrize("frames", [1, 2])
def test_every_event_has_its_frames_in_files(make, run_engine, documents, tmp_path, file_format, frames) -> None:
    pilatus = make(file_format=file_format)
    pilatus.num_images.set(frames).wait(1)
    run_engine(count([pilatus], 3))
    kinds = [name for name, _ in documents.all]
    assert kinds == ["start", "descriptor", "resource", "datum", "event", "datum", "event", "datum", "event", "stop"]
    assert documents.of("stop")[0]["num_events"] == {"primary": 3}
    images = documents.images()
    assert [image.shape for image in images] == [(frames, *SHAPE)] * 3
    totals = [event["data"]["pilatus_total"] for event in documents.of("event")]
    assert totals == [np.maximum(image, 0).sum() for image in images]
    if file_format == "tif":
        written = [read_frame(path).image for path in files(tmp_path)]
        np.testing.assert_array_equal(np.concatenate(images), written)
    else:
        assert len(files(tmp_path)) == 1


def test_descriptor_says_what_the_images_are(make, run_engine, documents) -> None:
    pilatus = make()
    pilatus.num_images.set(2).wait(1)
    pilatus.exposure_time.set(0.5).wait(1)
    run_engine(count([pilatus]))
    (descriptor,) = documents.of("descriptor")
    assert descriptor["data_keys"]["pilatus_image"] == {
        "source": "SIM:pilatus_image",
        "dtype": "array",
        "dtype_numpy": "<i4",
        "shape": [2, 195, 487],
        "dims": ["frame", "y", "x"],
        "external": "FILESTORE:",
        "object_name": "pilatus",
    }
    assert descriptor["data_keys"]["pilatus_total"]["units"] == "counts"
    assert descriptor["data_keys"]["pilatus_total"]["dtype"] == "integer"
    assert descriptor["hints"] == {"pilatus": {"fields": ["pilatus_total"]}}
    configuration = descriptor["configuration"]["pilatus"]
    assert configuration["data"] == {"pilatus_exposure_time": 0.5, "pilatus_num_images": 2}
    assert configuration["data_keys"]["pilatus_exposure_time"]["units"] == "s"


def test_tiff_resource_is_what_the_handler_wants(make, run_engine, documents, tmp_path) -> None:
    run_engine(count([make()], 2))
    (resource,) = documents.of("resource")
    assert resource["spec"] == "AD_TIFF"
    assert resource["root"] + resource["resource_path"] == f"{tmp_path}/frames/"
    filename = resource["resource_kwargs"]["filename"]
    assert resource["resource_kwargs"] == {"template": "%s%s_%06d.tif", "filename": filename, "frame_per_point": 1}
    assert [datum["datum_kwargs"] for datum in documents.of("datum")] == [{"point_number": 0}, {"point_number": 1}]
    assert [path.name for path in files(tmp_path)] == [f"{filename}_000000.tif", f"{filename}_000001.tif"]


def test_hdf5_resource_is_the_file(make, run_engine, documents, tmp_path) -> None:
    run_engine(count([make(file_format="hdf5")], 2))
    (resource,) = documents.of("resource")
    assert (resource["spec"], resource["resource_kwargs"]) == ("AD_HDF5", {"frame_per_point": 1})
    assert [Path(resource["root"], resource["resource_path"])] == files(tmp_path)


@FORMATS
def test_runs_do_not_touch_each_others_files(make, run_engine, documents, tmp_path, file_format) -> None:
    pilatus = make(file_format=file_format)
    run_engine(count([pilatus], 2))
    first = {path: path.read_bytes() for path in files(tmp_path)}
    run_engine(count([pilatus], 2))
    assert {path: path.read_bytes() for path in first} == first
    assert len(files(tmp_path)) == 2 * len(first)
    assert len(documents.of("resource")) == 2
    assert len({image.tobytes() for image in documents.images()}) == 4


def test_same_seed_gives_the_same_frames(run_engine, documents, tmp_path) -> None:
    for folder in ("one", "two"):
        run_engine(count([SimPilatus("pilatus", tmp_path / folder, detector="100K", seed=5)]))
    one, two = documents.images()
    np.testing.assert_array_equal(one, two)


def test_counts_follow_the_exposure_time_and_the_sample(make, run_engine, documents, tmp_path) -> None:
    pilatus = make()
    run_engine(count([pilatus]))
    pilatus.exposure_time.set(4.0).wait(1)
    run_engine(count([pilatus]))
    pilatus.sample = Spheres(brightness=0.0, background=0.0)
    run_engine(count([pilatus]))
    one, four, none = (event["data"]["pilatus_total"] for event in documents.of("event"))
    assert four / one == pytest.approx(4, rel=0.01)
    assert none == 0
    assert {read_frame(path).header.exposure_time for path in files(tmp_path)} == {1.0, 4.0}


def test_scan_of_the_stage_shows_the_profile_of_the_sample(make, run_engine, documents) -> None:
    stage, profile = SimSampleStage(name="sample"), SampleProfile(center=(0.5, 0.0), width=0.8)
    pilatus = make(sample_x=stage.x, sample_y=stage.y, profile=profile)
    run_engine(scan([pilatus], stage.x, -2, 3, 11))
    totals = np.array([event["data"]["pilatus_total"] for event in documents.of("event")])
    shares = np.array([profile.share(event["data"]["sample_x"], 0.0) for event in documents.of("event")])
    assert shares.max() == 1.0
    np.testing.assert_allclose(totals / totals.max(), shares, rtol=0.05)
    assert documents.of("descriptor")[0]["data_keys"]["sample_x"]["units"] == "mm"


def test_grid_scan_over_both_axes(make, run_engine, documents) -> None:
    stage = SimSampleStage(name="sample")
    pilatus = make(sample_x=stage.x, sample_y=stage.y)
    run_engine(grid_scan([pilatus], stage.y, -2, 2, 3, stage.x, -2, 2, 3))
    totals = [event["data"]["pilatus_total"] for event in documents.of("event")]
    assert np.argmax(totals) == 4
    assert len(documents.images()) == 9


@FORMATS
def test_flight_gives_an_event_a_frame(make, run_engine, documents, tmp_path, file_format) -> None:
    pilatus = make(file_format=file_format)
    pilatus.num_images.set(4).wait(1)
    run_engine(fly([pilatus]))
    run_engine(fly([pilatus]))
    assert [stop["num_events"] for stop in documents.of("stop")] == [{"pilatus_fly": 4}] * 2
    descriptor = documents.of("descriptor")[0]
    assert descriptor["name"] == "pilatus_fly"
    assert descriptor["data_keys"]["pilatus_image"]["shape"] == [1, *SHAPE]
    assert len(documents.of("resource")) == 2
    assert all(event["filled"] == {"pilatus_image": False} for event in documents.of("event"))
    images = documents.images()
    assert len({image.tobytes() for image in images}) == 8
    totals = [event["data"]["pilatus_total"] for event in documents.of("event")]
    assert totals == [np.maximum(image, 0).sum() for image in images]
    assert len(files(tmp_path)) == {"tif": 8, "hdf5": 2}[file_format]


def test_flight_can_be_collected_while_it_lasts(make, run_engine, documents) -> None:
    pilatus = make(real_time=True)
    pilatus.num_images.set(5).wait(1)
    pilatus.exposure_time.set(0.05).wait(1)

    @stage_decorator([pilatus])
    @run_decorator()
    def plan():
        yield from kickoff(pilatus, wait=True)
        yield from collect_while_completing([pilatus], [pilatus], flush_period=0.06)

    run_engine(plan())
    assert len(documents.images()) == 5  # the filler finds each datum before its event
    assert [event["seq_num"] for event in documents.of("event")] == [1, 2, 3, 4, 5]
    kinds = [name for name, _ in documents.all]
    assert kinds.index("event") < len(kinds) - 1 - kinds[::-1].index("datum")  # collected in several pieces


@pytest.mark.parametrize("collected", ["at_the_end", "meanwhile"])
def test_flight_beside_a_step_scan_has_a_stream_of_its_own(make, run_engine, documents, tmp_path, collected) -> None:
    flying = SimPilatus("waxs", tmp_path / "waxs", detector="100K")
    flying.num_images.set(4).wait(1)
    stage, stepping = SimSampleStage(name="sample"), make()
    plan = scan([stepping], stage.x, -1, 1, 3)
    if collected == "meanwhile":
        plan = collecting(plan, flying)
    run_engine(fly_during_wrapper(plan, [flying]))
    assert documents.of("stop")[0]["num_events"] == {"primary": 3, "waxs_fly": 4}
    assert [set(event["data"]) for event in documents.of("event", "waxs_fly")] == [{"waxs_total", "waxs_image"}] * 4
    assert [event["seq_num"] for event in documents.of("event", "primary")] == [1, 2, 3]
    totals = [event["data"]["waxs_total"] for event in documents.of("event", "waxs_fly")]
    assert totals == [np.maximum(image, 0).sum() for image in documents.images("waxs_image")]


def collecting(plan: Any, flyer: SimPilatus) -> Any:
    """The plan, with what the flyer has by then collected at each step."""

    def collect_too(message: Msg) -> Any:
        if message.command == "checkpoint":
            return None, collect(flyer)
        return None, None

    return plan_mutator(plan, collect_too)


def in_mid_exposure(engine: RunEngine, plan: Any, what: Callable[[], Any]) -> None:
    """Run a plan that is paused in mid-exposure, and do what comes then."""
    threading.Timer(0.3, engine.request_pause).start()
    with pytest.raises(RunEngineInterrupted):
        engine(plan)
    what()


def test_scan_that_is_paused_in_mid_exposure_takes_the_frame_again(make, run_engine, documents, tmp_path) -> None:
    pilatus = make(real_time=True)
    pilatus.exposure_time.set(0.8).wait(1)
    in_mid_exposure(run_engine, count([pilatus], 2), run_engine.resume)
    assert documents.of("stop")[0]["num_events"] == {"primary": 2}
    assert len(files(tmp_path)) == len(documents.of("datum")) == len(documents.images()) == 2


@pytest.mark.logs_errors  # the RunEngine logs that it aborts the run
def test_abort_after_a_pause_in_mid_exposure_tells_of_no_failure(make, run_engine, documents) -> None:
    pilatus = make(real_time=True)
    pilatus.exposure_time.set(60).wait(1)
    in_mid_exposure(run_engine, count([pilatus], 2), run_engine.abort)
    assert [(stop["exit_status"], stop["num_events"]) for stop in documents.of("stop")] == [("abort", {})]


def test_frame_before_is_not_read_as_that_of_a_trigger_that_goes_on_or_failed(make, tmp_path) -> None:
    pilatus = make(real_time=True)
    pilatus.exposure_time.set(0.01).wait(1)
    pilatus.stage()
    pilatus.trigger().wait(5)
    pilatus.read()
    pilatus.exposure_time.set(60).wait(1)
    status = pilatus.trigger()
    with pytest.raises(SaxsError, match=r"wanted trigger\(\) before read\(\), found no frame taken by it"):
        pilatus.read()
    pilatus.stop()
    with pytest.raises(SaxsError, match=r"cut off by stop\(\)"):
        status.wait(5)
    with pytest.raises(SaxsError, match=r"wanted trigger\(\) before read\(\), found no frame taken by it"):
        pilatus.read()
    pilatus.unstage()


def test_real_time_takes_its_time(make, run_engine, documents) -> None:
    pilatus = make(real_time=True)
    pilatus.exposure_time.set(0.2).wait(1)
    begin = time.monotonic()
    run_engine(count([pilatus], 2))
    assert time.monotonic() - begin > 0.4


def test_hdf5_is_readable_from_another_process_while_the_scan_goes_on(make, run_engine, documents, tmp_path) -> None:
    read = "import h5py, sys; print(h5py.File(sys.argv[1], 'r', swmr=True)['/entry/data/data'].shape[0])"
    seen = []

    def look(name: str, document: dict[str, Any]) -> None:
        (path,) = files(tmp_path)
        seen.append(subprocess.check_output([sys.executable, "-c", read, path], text=True).strip())

    run_engine(count([make(file_format="hdf5")], 2), {"event": look})
    assert seen == ["1", "2"]


def test_calibration_reduces_the_frames(make, run_engine, documents) -> None:
    pilatus = make()
    run_engine(count([pilatus]))
    calibration = pilatus.calibration()
    assert calibration.geometry.shape == SHAPE
    mask = calibration.load_mask(0)
    image = documents.images()[0][0]
    assert (image[mask] <= 0).mean() > 0.7  # shadow and gaps; the rim of the mask is lit
    curves = Reducer(calibration).reduce(image)
    assert [curve.name for curve in curves] == ["R0", "P1", "S2"]
    assert np.nanmax(curves[0].intensity) > 0


@pytest.mark.logs_errors  # the RunEngine logs that it aborts the run
@pytest.mark.parametrize("plan", [count, fly])
def test_directory_that_cannot_be_made_is_named_at_once(run_engine, documents, tmp_path, plan) -> None:
    (tmp_path / "file").touch()
    pilatus = SimPilatus("pilatus", tmp_path / "file" / "frames", detector="100K")
    with pytest.raises(OutputError, match=r"file/frames: wanted a folder to write frames to, found Not a directory"):
        run_engine(plan([pilatus]))


@pytest.mark.logs_errors  # the RunEngine logs that it aborts the run
@FORMATS
def test_directory_deleted_in_mid_scan_fails_the_scan(make, run_engine, documents, tmp_path, file_format) -> None:
    pilatus = make(file_format=file_format)

    def delete(name: str, document: dict[str, Any]) -> None:
        if document["seq_num"] == 2:
            shutil.rmtree(tmp_path / "frames")

    with pytest.raises(FailedStatus) as failure:
        run_engine(count([pilatus], 5), {"event": delete})
    assert isinstance(failure.value.__cause__, OutputError)
    assert "wanted to write a frame, found" in str(failure.value.__cause__)
    (stop,) = documents.of("stop")
    assert (stop["exit_status"], stop["num_events"]) == ("fail", {"primary": 2})

    documents.all.clear()
    run_engine(count([pilatus], 2))  # the directory is made again, and the device works
    assert len(documents.images()) == 2


@pytest.mark.logs_errors  # the RunEngine logs that it aborts the run
def test_flight_whose_directory_goes_fails_with_the_frames_it_had(make, run_engine, documents, tmp_path) -> None:
    pilatus = make(real_time=True)
    pilatus.exposure_time.set(0.03).wait(1)
    pilatus.num_images.set(50).wait(1)

    def take_away() -> None:
        while len(list(tmp_path.glob("frames/pilatus*"))) < 2:
            time.sleep(0.01)
        (tmp_path / "frames").rename(tmp_path / "gone")

    thief = threading.Thread(target=take_away, daemon=True)
    thief.start()
    with pytest.raises(FailedStatus) as failure:
        run_engine(fly([pilatus]))
    thief.join(5)
    assert isinstance(failure.value.__cause__, OutputError)
    assert 2 <= len(documents.of("event")) < 50
    assert len(documents.of("event")) == len(documents.of("datum"))


def test_point_that_failed_can_be_tried_again(make, documents, tmp_path) -> None:
    pilatus = make()
    pilatus.num_images.set(2).wait(1)
    pilatus.stage()
    shutil.rmtree(tmp_path / "frames")
    status = pilatus.trigger()
    with pytest.raises(OutputError):
        status.wait(5)
    (tmp_path / "frames").mkdir()
    pilatus.trigger().wait(5)
    asset_documents = dict(pilatus.collect_asset_docs())
    pilatus.unstage()
    assert asset_documents["datum"]["datum_kwargs"] == {"point_number": 1}
    assert [path.name[-10:] for path in files(tmp_path)] == ["000002.tif", "000003.tif"]


def test_unstage_cuts_off_a_long_exposure(make) -> None:
    pilatus = make(real_time=True)
    pilatus.exposure_time.set(60).wait(1)
    pilatus.stage()
    status = pilatus.trigger()
    with pytest.raises(SaxsError, match="pilatus: the last exposure is not over"):
        pilatus.trigger()
    begin = time.monotonic()
    pilatus.unstage()
    with pytest.raises(SaxsError, match=r"pilatus: wanted 60 s of exposure, found it cut off by unstage\(\)"):
        status.wait(5)
    assert time.monotonic() - begin < 5
    assert not [thread for thread in threading.enumerate() if "exposure" in thread.name]


def test_orders_out_of_turn_are_refused(make) -> None:
    pilatus = make()
    with pytest.raises(SaxsError, match=r"wanted stage\(\) before trigger\(\)"):
        pilatus.trigger()
    with pytest.raises(SaxsError, match=r"wanted trigger\(\) before read\(\)"):
        pilatus.read()
    with pytest.raises(SaxsError, match=r"wanted kickoff\(\) before complete\(\)"):
        pilatus.complete()
    pilatus.stage()
    pilatus.num_images.set(3).wait(1)
    with pytest.raises(SaxsError, match=r"wanted num_images as it was at stage\(\), 1, found 3"):
        pilatus.trigger()
    pilatus.unstage()


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "long", None])
def test_exposure_time_that_is_none_is_refused(make, value) -> None:
    with pytest.raises(SaxsError, match="pilatus_exposure_time: wanted a number of at least 1e-06 s, found"):
        make().exposure_time.put(value)


@pytest.mark.parametrize("value", [0, 1.5, "2"])
def test_number_of_images_that_is_none_is_refused(make, value) -> None:
    with pytest.raises(SaxsError, match="pilatus_num_images: wanted a whole number of at least 1, found"):
        make().num_images.put(value)


def test_unknown_detector_and_format_are_refused(tmp_path) -> None:
    with pytest.raises(SaxsError, match=r"pilatus: wanted detector to be one of 100K, .*, found '3M'"):
        SimPilatus("pilatus", tmp_path, detector="3M")
    with pytest.raises(SaxsError, match="pilatus: wanted file_format to be one of tif, hdf5, found 'cbf'"):
        SimPilatus("pilatus", tmp_path, file_format="cbf")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [TiffFiles, Hdf5File])
def test_no_file_is_overwritten(tmp_path, kind) -> None:
    image = np.zeros((2, 3), dtype=np.int32)
    files_of_one, files_of_another = kind(tmp_path, "same"), kind(tmp_path, "same")
    files_of_one.write(0, image, PilatusHeader())
    with pytest.raises(OutputError, match="same"):
        files_of_another.write(0, image, PilatusHeader())
    files_of_one.close()


def test_nothing_is_written_before_the_first_frame(make, tmp_path) -> None:
    pilatus = make(file_format="hdf5")
    pilatus.stage()
    pilatus.unstage()
    assert files(tmp_path) == []
    assert list(pilatus.collect_asset_docs()) == []


def test_relative_directory_stays_where_it_was_named(tmp_path, monkeypatch, run_engine: RunEngine) -> None:
    monkeypatch.chdir(tmp_path)
    pilatus = SimPilatus("pilatus", "frames", detector="100K")
    monkeypatch.chdir("/")
    run_engine(count([pilatus]))
    assert len(files(tmp_path)) == 1
