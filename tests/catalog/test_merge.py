"""Merges of real runs from the catalog alone, against what their documents say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pandas as pd
import pytest
from bluesky.plans import count
from ophyd_async.core import StaticPathProvider, TriggerInfo, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.catalog import merge, merged_runs, read_curves, reduced_runs
from saxs_bluesky.devices import SimDiode, SimIonChamber, SimPilatus, SimShutter, SimThermometer
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.merge import LogTable, Method
from saxs_bluesky.plans import saxs_time_series
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.sources import DirectorySource
from tests.helpers.calibrations import small_document
from tests.helpers.measuring import Measurement, held_mean, measuring, previous

EXPOSURE = 0.25


@pytest.fixture(scope="module")
def measured(catalog_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A time series with monitored loggers: the catalog, the uid, and the documents."""
    from saxs_bluesky.catalog import open_catalog

    catalog = open_catalog(catalog_folder)
    shutter = SimShutter("shutter")
    shutter.set("open")
    ion = SimIonChamber("ion", period=0.05)
    diode = SimDiode("diode", shutter=shutter, period=0.07)
    thermometer = SimThermometer("thermometer", period=0.1)
    pilatus = SimPilatus("pilatus", tmp_path_factory.mktemp("frames"), detector="100K", real_time=True)
    with measuring(catalog, pilatus.calibration()) as measurement:
        plan = saxs_time_series(
            [pilatus],
            duration=1.2,
            period=0.4,
            exposure_time=EXPOSURE,
            sample="agbeh",
            baseline=[ion, shutter],
            monitors=[ion, diode, thermometer, shutter],
        )
        uid = measurement(plan)
        yield catalog, uid, measurement


def ends(measurement: Measurement) -> list[float]:
    return [
        doc["timestamps"]["pilatus_total"]
        for name, doc in measurement.documents
        if "pilatus_total" in doc.get("data", {})
    ]


def test_monitored_loggers_are_merged_from_the_catalog_alone(measured: Any, caplog: pytest.LogCaptureFixture) -> None:
    catalog, uid, measurement = measured
    merged = merge(catalog, uid)
    assert not caplog.records
    curves = read_curves(reduced_runs(catalog, uid)[-1])
    assert merged.sizes["frame"] == 4
    assert merged["R0_intensity"].equals(curves["R0_intensity"].assign_coords(merged["R0_intensity"].coords))
    for key, units in (("ion_current", "nA"), ("diode_current", "nA"), ("thermometer_temperature", "degC")):
        entries = measurement.entries(key)
        wanted = [held_mean(entries, end - EXPOSURE, end) for end in ends(measurement)]
        assert len(set(wanted)) == 4
        assert merged[key].to_numpy() == pytest.approx(wanted, rel=1e-6)
        assert merged[key].dims == ("frame",)
        assert merged[key].attrs["units"] == units
        assert key in merged.coords
    middles = [end - EXPOSURE / 2 for end in ends(measurement)]
    assert merged["time"].to_numpy().astype(np.int64) / 1e9 == pytest.approx(middles, abs=1e-6)
    assert merged["exposure_time"].to_numpy().tolist() == [EXPOSURE] * 4
    # It never changed, so no event tells of it: the descriptor does.
    assert merged["shutter_state"].to_numpy().tolist() == ["open"] * 4
    assert merged["shutter_state_baseline"].to_numpy().tolist() == ["open"] * 4
    first = next(
        doc["data"]["ion_current"] for name, doc in measurement.documents if "shutter_state" in doc.get("data", {})
    )
    assert merged["ion_current_baseline"].to_numpy().tolist() == [first] * 4
    assert merged["pilatus_total"].attrs["units"] == "counts"


def test_methods_and_offsets_are_those_asked_for(measured: Any) -> None:
    catalog, uid, measurement = measured
    logger = "ion_current_monitor"
    entries = measurement.entries("ion_current")
    middles = [end - EXPOSURE / 2 for end in ends(measurement)]
    merged = merge(catalog, uid, [logger], method="previous")
    assert merged["ion_current"].to_numpy().tolist() == [previous(entries, middle) for middle in middles]
    shifted = merge(catalog, uid, [logger], method={logger: "previous"}, offsets={logger: -0.1})
    assert shifted["ion_current"].to_numpy().tolist() == [previous(entries, middle - 0.1) for middle in middles]
    gone = merge(catalog, uid, [logger], offsets={logger: 1000.0}, tolerance=1.0)
    assert np.isnan(gone["ion_current"].to_numpy()).all()
    with pytest.raises(CatalogError, match="offsets: wanted names of loggers, ion_current_monitor, found ion"):
        merge(catalog, uid, [logger], offsets={"ion": 1.0})
    with pytest.raises(CatalogError, match=r"method: wanted one of auto, previous, .*, found 'guess'"):
        merge(catalog, uid, method="guess")


def test_merged_run_is_written_and_is_no_reduced_run(measured: Any) -> None:
    catalog, uid, _ = measured
    before = [run.start["uid"] for run in reduced_runs(catalog, uid)]
    merged = merge(catalog, uid, write=True)
    (run,) = merged_runs(catalog, uid)
    assert run.start["uid"] == merged.attrs["merged_run"]
    assert [one.start["uid"] for one in reduced_runs(catalog, uid)] == before
    start = run.start
    assert start["original_run_uid"] == start["sources"]["raw"] == uid
    assert start["sources"]["reduced"] == before
    assert (start["analysis_stage"], start["sample"], start["detector"]) == ("merge", "agbeh", "pilatus")
    table = run["primary"].read()
    for key in ("ion_current", "thermometer_temperature", "R0_I0"):
        assert table[key].to_numpy().tolist() == merged[key].to_numpy().tolist()
    assert table["shutter_state"].to_numpy().tolist() == ["open"] * 4
    assert run.stop["merge"]["images_without_log"] == {"count": 0, "listed": []}
    with pytest.raises(CatalogError, match="wanted a reduced run, found a merged one"):
        read_curves(run)
    with pytest.raises(CatalogError, match="wanted a raw run, found a merged one"):
        merge(catalog, run.start["uid"])


@pytest.fixture(scope="module")
def opened(catalog_folder: Path) -> Any:
    from saxs_bluesky.catalog import open_catalog

    return open_catalog(catalog_folder)


def small(shape: tuple[int, int] = (240, 320)) -> Calibration:
    document = small_document()
    document["Geometry"]["Imagesize"] = list(shape)
    return Calibration.from_dict(document)


def blobs(folder: Path, name: str = "det") -> SimBlobDetector:
    folder.mkdir(exist_ok=True)
    with init_devices():
        return SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), folder), name=name)


def test_images_of_ophyd_async_in_a_step_scan(opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ion = SimIonChamber("ion", period=0.03)
    with measuring(opened, small()) as measurement:
        detector = blobs(tmp_path)
        uid = measurement(bpp.monitor_during_wrapper(count([detector], 3), [ion.current]))
    merged = merge(opened, uid)
    times = [doc["time"] for name, doc in measurement.documents if name == "event" and doc["data"] == {}]
    assert "the exposure of det is not in the documents" in caplog.text
    assert merged["time"].to_numpy().astype(np.int64) / 1e9 == pytest.approx(times, abs=1e-6)
    entries = measurement.entries("ion_current")
    assert merged["ion_current"].to_numpy().tolist() == [previous(entries, time) for time in times]
    assert np.isnan(merged["exposure_time"].to_numpy()).all()
    assert merged["det-sum"].to_numpy().tolist() == sums(measurement)
    assert merged.sizes["R0_q"] > 5


def sums(measurement: Measurement) -> list[float]:
    """What the detector wrote beside its images."""
    uris = {doc["uri"] for name, doc in measurement.documents if name == "stream_resource"}
    found: list[float] = []
    for uri in sorted(uris):
        with h5py.File(uri.removeprefix("file://localhost")) as file:
            found += np.ravel(file["/entry/sum"][:]).tolist()
    return found


def test_images_of_a_flight_have_times_though_there_are_no_events(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ion = SimIonChamber("ion", period=0.03)

    def fly(detector: SimBlobDetector) -> Any:
        yield from bps.monitor(ion.current, name="ion_current_monitor")
        yield from bps.prepare(detector, TriggerInfo(number_of_events=4, livetime=0.2), wait=True)
        yield from bps.declare_stream(detector, name="main", collect=True)
        yield from bps.kickoff_all(detector, wait=True)
        yield from bps.collect_while_completing([detector], [detector], flush_period=0.05, stream_name="main")
        yield from bps.unmonitor(ion.current)

    with measuring(opened, small()) as measurement:
        detector = blobs(tmp_path)
        uid = measurement(bpp.stage_wrapper(bpp.run_wrapper(fly(detector)), [detector]))
    merged = merge(opened, uid, write=True)
    assert "stream main has no events: the times of its 4 images follow from" in caplog.text
    times = merged["time"].to_numpy().astype(np.int64) / 1e9
    begin, end = (doc["time"] for name, doc in measurement.documents if name in ("start", "stop"))
    assert (np.diff(times) > 0.05).all()
    assert begin < times[0] < times[-1] <= end
    entries = measurement.entries("ion_current")
    assert merged["ion_current"].to_numpy().tolist() == [previous(entries, time) for time in times]
    (run,) = merged_runs(opened, uid)
    assert run["primary"].read()["ion_current"].to_numpy().tolist() == merged["ion_current"].to_numpy().tolist()
    assert run.start["original_stream"] == "main"


def test_each_of_several_detectors_has_its_own_exposures(opened: Any, tmp_path: Path) -> None:
    saxs = SimPilatus("saxs", tmp_path, detector="100K", real_time=True)
    waxs = SimPilatus("waxs", tmp_path, detector="100K", real_time=True)
    ion = SimIonChamber("ion", period=0.03)
    waxs.exposure_time.put(0.1)
    saxs.exposure_time.put(0.3)
    with measuring(opened, {"saxs": saxs.calibration(), "waxs": waxs.calibration()}) as measurement:
        uid = measurement(bpp.monitor_during_wrapper(count([saxs, waxs], 2), [ion.current]))
    both = merge(opened, uid, write=True)
    entries = measurement.entries("ion_current")
    for name, exposure in (("saxs", 0.3), ("waxs", 0.1)):
        key = f"{name}_total"
        at = [doc["timestamps"][key] for kind, doc in measurement.documents if kind == "event" and key in doc["data"]]
        wanted = [held_mean(entries, end - exposure, end) for end in at]
        assert both[f"{name}_ion_current"].to_numpy() == pytest.approx(wanted, rel=1e-6)
        assert both[f"{name}_R0_intensity"].dims == (f"{name}_frame", f"{name}_R0_q")
        one = merge(opened, uid, detector=name)
        assert one["ion_current"].to_numpy().tolist() == both[f"{name}_ion_current"].to_numpy().tolist()
        assert one["R0_intensity"].dims == ("frame", "R0_q")
    assert {run.start["detector"] for run in merged_runs(opened, uid)} == {"saxs", "waxs"}
    with pytest.raises(CatalogError, match="wanted images of maxs in stream primary, found those of saxs, waxs"):
        merge(opened, uid, detector="maxs")


def test_loggers_may_be_another_run_or_a_table_of_files(opened: Any, tmp_path: Path) -> None:
    """A table's column of the same name as a stream's keeps its own."""
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", real_time=True)
    thermometer = SimThermometer("thermometer")
    with measuring(opened, pilatus.calibration()) as measurement:
        logger = measurement(count([thermometer], 3, delay=0.1))
        uid = measurement(count([pilatus], 2))
    end = [
        doc["timestamps"]["pilatus_total"]
        for name, doc in measurement.documents
        if "pilatus_total" in doc.get("data", {})
    ]
    times = np.round((np.arange(100.0) - 50 + end[0]) * 1e9).astype(np.int64)
    columns = pd.DataFrame({"Ioni": np.arange(100.0), "Note": ["a"] * 100})
    table = LogTable("Dlogger", times, columns, units={"Ioni": "nA"}, offset=0.0)
    merged = merge(opened, uid, [logger, table], tolerance={"primary": 600.0}, method={"Dlogger": "linear"})
    seen = [
        doc["data"]["thermometer_temperature"]
        for name, doc in measurement.documents
        if "thermometer_temperature" in doc.get("data", {})
    ]
    # Later than the last entry by more than the time between two.
    assert np.isnan(merged["thermometer_temperature"].to_numpy()).all()
    assert len(seen) == 3
    middles = merged["time"].to_numpy().astype(np.int64)
    assert merged["Ioni_Dlogger"].to_numpy() == pytest.approx((middles - times[0]) / 1e9, abs=1e-6)
    assert merged["Ioni_Dlogger"].attrs["long_name"] == "Ioni (Dlogger)"
    assert merged["Note_Dlogger"].to_numpy().tolist() == ["a", "a"]
    with pytest.raises(CatalogError, match="wanted a logger nobody, found neither a run of that uid"):
        merge(opened, uid, ["nobody"])


def test_images_that_were_not_reduced_are_merged_all_the_same(
    opened: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", real_time=True)
    ion = SimIonChamber("ion", period=0.05)
    with measuring(opened, {"another": pilatus.calibration()}) as measurement:
        plan = saxs_time_series([pilatus], duration=0.4, period=0.2, exposure_time=0.1, monitors=[ion])
        uid = measurement(plan)
    merged = merge(opened, uid)
    assert "were not reduced" in caplog.text
    wanted = [held_mean(measurement.entries("ion_current"), end - 0.1, end) for end in ends(measurement)]
    assert merged["ion_current"].to_numpy() == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(CatalogError, match="wanted images in stream other, found streams with images: primary"):
        merge(opened, uid, stream="other")


def test_run_that_goes_on_is_merged_as_far_as_it_is(opened: Any, tmp_path: Path) -> None:
    """The catalog knows no stop of it, and its reduction has none either."""
    pilatus = SimPilatus("pilatus", tmp_path, detector="100K", real_time=True)
    ion = SimIonChamber("ion", period=0.05)
    with measuring(opened, pilatus.calibration()) as measurement:
        plan = saxs_time_series([pilatus], duration=0.4, period=0.2, exposure_time=0.1, monitors=[ion])
        uid = measurement(plan)
    whole = merge(opened, uid)
    for run in (opened[uid], *reduced_runs(opened, uid)):
        run.replace_metadata(metadata={"start": dict(run.start)}, drop_revision=True)
    assert "stop" not in opened[uid].metadata
    assert merge(opened, uid)["ion_current"].to_numpy().tolist() == whole["ion_current"].to_numpy().tolist()


def test_images_of_files_have_the_times_of_their_headers(opened: Any, beamtime: Path) -> None:
    """Three files of 1 s each; a logger that counts the seconds up to the first image's end."""
    calibration = Calibration.from_file(beamtime / "cal.json")
    documents: list[Any] = []
    writer = CatalogWriter(opened)
    reduction = Reduction(calibration, [writer])
    for name, doc in DirectorySource(beamtime / "data").documents():
        documents.append((name, doc))
        writer(name, doc)
        reduction(name, doc)
    reduction.close()
    writer.close()
    rows = [doc["data"] for name, doc in documents if name == "event"]
    end = rows[0]["image_time"]
    times = np.round((np.arange(101.0) - 50 + end) * 1e9).astype(np.int64)
    table = LogTable("Clock", times, pd.DataFrame({"s": np.arange(101.0) - 50}), method=Method.LINEAR)
    merged = merge(opened, documents[0][1]["uid"], [table])
    assert merged.sizes["frame"] == 3
    exposures = np.array([row["exposure_time"] for row in rows])
    assert (exposures > 0).all()
    wanted = np.array([row["image_time"] for row in rows]) - end - exposures / 2
    assert merged["s_Clock"].to_numpy() == pytest.approx(wanted, abs=2e-6)
    assert merged["exposure_time"].to_numpy().tolist() == exposures.tolist()
    assert merged["image_path"].to_numpy().tolist() == [row["image_path"] for row in rows]
