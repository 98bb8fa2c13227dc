"""The live merge under a real RunEngine: rows while the scan goes on, plots of them, and what may go wrong."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import matplotlib.pyplot as plt
import pytest
from bluesky import RunEngine
from bluesky.callbacks import LivePlot, LiveTable
from event_model import DocumentNames, compose_run, schema_validators
from ophyd_async.core import StaticPathProvider, TriggerInfo, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from saxs_bluesky.callbacks import CatalogWriter, LiveMerge, Reduction
from saxs_bluesky.catalog import merge, merged_runs, open_catalog
from saxs_bluesky.devices import SimDiode, SimIonChamber, SimPilatus, SimShutter, SimThermometer
from saxs_bluesky.errors import OutputError
from saxs_bluesky.plans import saxs_count, saxs_time_series
from saxs_bluesky.reduction import Calibration
from tests.helpers.calibrations import small_document
from tests.helpers.measuring import held_mean, previous
from tests.helpers.waiting import PATIENCE

EXPOSURE = 0.2


class Beamline:
    """A RunEngine with a detector, loggers, and a reduction whose sink is the live merge."""

    def __init__(self, folder: Path) -> None:
        self.pilatus = SimPilatus("pilatus", folder, detector="100K", real_time=True)
        self.loggers = [
            SimIonChamber("ion", period=0.05),
            SimDiode("diode", period=0.07),
            SimThermometer("thermometer", period=0.1),
            SimShutter("shutter"),
        ]
        self.engine = RunEngine({}, call_returns_result=False)
        self.raw: list[tuple[str, dict[str, Any]]] = []
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.engine.subscribe(lambda name, doc: self.raw.append((name, doc)))
        self.reduction = Reduction(self.pilatus.calibration(), [])

    def follow(self, live: LiveMerge) -> LiveMerge:
        live.sinks.append(lambda name, doc: self.rows.append((name, doc)))
        self.engine.subscribe(live)
        self.reduction.sinks.append(live)
        self.engine.subscribe(self.reduction)
        return live

    def series(self, **options: Any) -> Any:
        wanted = {"duration": 0.9, "period": 0.3, "exposure_time": EXPOSURE, "monitors": self.loggers} | options
        return saxs_time_series([self.pilatus], **wanted)

    def events(self) -> list[dict[str, Any]]:
        return [doc for name, doc in self.rows if name == "event"]

    def entries(self, key: str) -> list[tuple[float, float]]:
        descriptor = next(doc for name, doc in self.raw if name == "descriptor" and doc["name"] == f"{key}_monitor")
        told = descriptor["configuration"][key]
        sent = [doc for name, doc in self.raw if name == "event" and doc["descriptor"] == descriptor["uid"]]
        first = (told["timestamps"][key], told["data"][key])
        return [first, *((doc["timestamps"][key], doc["data"][key]) for doc in sent)]

    def ends(self) -> list[float]:
        key = "pilatus_total"
        return [doc["timestamps"][key] for name, doc in self.raw if name == "event" and key in doc["data"]]


@pytest.fixture
def beamline(tmp_path: Path) -> Iterator[Beamline]:
    found = Beamline(tmp_path)
    yield found
    found.reduction.close()
    found.engine.loop.call_soon_threadsafe(found.engine.loop.stop)
    found.engine._th.join()
    found.engine.loop.close()


def test_rows_come_while_the_scan_goes_on_and_have_the_true_values(beamline: Beamline) -> None:
    live = beamline.follow(LiveMerge(patience=1.0))
    during: list[int] = []
    beamline.engine.subscribe(lambda name, doc: during.append(live.merged), "stop")
    beamline.engine(beamline.series(sample="agbeh"))
    assert beamline.reduction.wait(PATIENCE)
    assert live.wait(PATIENCE)
    assert live.close(PATIENCE)
    for name, doc in beamline.rows:
        schema_validators[DocumentNames[name]].validate(doc)
    assert [name for name, _ in beamline.rows] == ["start", "descriptor", *["event"] * 4, "stop"]
    assert during[0] >= 1
    events = beamline.events()
    for key in ("ion_current", "diode_current", "thermometer_temperature"):
        wanted = [held_mean(beamline.entries(key), end - EXPOSURE, end) for end in beamline.ends()]
        assert [event["data"][key] for event in events] == pytest.approx(wanted, rel=1e-6)
    assert [event["time"] for event in events] == pytest.approx([end - EXPOSURE / 2 for end in beamline.ends()])
    assert [event["data"]["frame_index"] for event in events] == [0, 1, 2, 3]
    assert {event["data"]["shutter_state"] for event in events} == {"closed"}
    assert all(event["data"]["R0_I0"] > 0 and event["data"]["pilatus_total"] > 0 for event in events)
    start = beamline.rows[0][1]
    assert (start["sample"], start["analysis_stage"], start["detector"]) == ("agbeh", "merge", "pilatus")
    assert beamline.rows[-1][1]["merge"]["images_without_log"]["count"] == 0
    keys = beamline.rows[1][1]["data_keys"]
    assert keys["ion_current"]["units"] == "nA"
    assert "R0_intensity" not in keys
    assert (live.failed, live.sink_errors, live.merged) == (0, 0, 4)


def test_bluesky_s_table_and_plot_show_logged_quantities(beamline: Beamline) -> None:
    figure, axes = plt.subplots()
    plot = LivePlot("R0_I0", "ion_current", ax=axes)
    table = LiveTable(["ion_current", "R0_I0"])
    live = beamline.follow(LiveMerge([plot, table]))
    printed = io.StringIO()
    with redirect_stdout(printed):
        beamline.engine(beamline.series())
        assert beamline.reduction.wait(PATIENCE)
        live.close()
    events = beamline.events()
    (line,) = axes.get_lines()
    assert list(line.get_xdata()) == [event["data"]["ion_current"] for event in events]
    assert list(line.get_ydata()) == [event["data"]["R0_I0"] for event in events]
    assert printed.getvalue().count("\n|") >= 5
    assert "ion_current" in printed.getvalue()
    assert live.sink_errors == 0
    plt.close(figure)


def test_the_catalog_has_what_came_row_by_row(beamline: Beamline, catalog_folder: Path) -> None:
    catalog = open_catalog(catalog_folder)
    with_catalog = CatalogWriter(catalog)
    beamline.engine.subscribe(with_catalog)
    beamline.reduction.sinks.append(with_catalog)
    live = beamline.follow(LiveMerge([with_catalog]))
    (uid,) = beamline.engine(beamline.series())
    assert beamline.reduction.wait(PATIENCE)
    live.close()
    with_catalog.close()
    (run,) = merged_runs(catalog, uid)
    rows = run["primary"].read()
    later = merge(catalog, uid)
    for key in ("ion_current", "diode_current", "thermometer_temperature", "R0_I2", "exposure_time"):
        assert rows[key].to_numpy() == pytest.approx(later[key].to_numpy(), rel=1e-7)  # times are floats


def test_without_a_reduction_rows_are_made_of_the_raw_images(beamline: Beamline) -> None:
    rows: list[tuple[str, dict[str, Any]]] = []
    live = LiveMerge([lambda name, doc: rows.append((name, doc))], reduced=False)
    beamline.engine.subscribe(live)
    beamline.engine(beamline.series(duration=0.3))
    live.close()
    events = [doc for name, doc in rows if name == "event"]
    wanted = [held_mean(beamline.entries("ion_current"), end - EXPOSURE, end) for end in beamline.ends()]
    assert [event["data"]["ion_current"] for event in events] == pytest.approx(wanted)
    assert rows[-1][0] == "stop"
    assert rows[-1][1]["exit_status"] == "success"


def test_flight_without_events_is_merged_by_the_times_at_which_its_images_came(tmp_path: Path) -> None:
    document = small_document()
    document["Geometry"]["Imagesize"] = [240, 320]
    rows: list[tuple[str, dict[str, Any]]] = []
    live = LiveMerge([lambda name, doc: rows.append((name, doc))], patience=30.0)
    reduction = Reduction(Calibration.from_dict(document), [live])
    engine = RunEngine({}, call_returns_result=False)
    raw: list[tuple[str, dict[str, Any]]] = []
    for callback in (lambda name, doc: raw.append((name, doc)), live, reduction):
        engine.subscribe(callback)
    ion = SimIonChamber("ion", period=0.03)
    with init_devices():
        detector = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), name="det")

    def fly() -> Any:
        yield from bps.monitor(ion.current, name="ion_current_monitor")
        yield from bps.prepare(detector, TriggerInfo(number_of_events=3, livetime=0.2), wait=True)
        yield from bps.declare_stream(detector, name="main", collect=True)
        yield from bps.kickoff_all(detector, wait=True)
        yield from bps.collect_while_completing([detector], [detector], flush_period=0.05, stream_name="main")
        yield from bps.unmonitor(ion.current)

    engine(bpp.stage_wrapper(bpp.run_wrapper(fly()), [detector]))
    assert reduction.wait(PATIENCE)
    reduction.close()
    live.close()
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()
    events = [doc for name, doc in rows if name == "event"]
    assert len(events) == 3
    begin, end = (doc["time"] for name, doc in raw if name in ("start", "stop"))
    entries = [
        (doc["timestamps"]["ion_current"], doc["data"]["ion_current"])
        for name, doc in raw
        if name == "event" and "ion_current" in doc["data"]
    ]
    for event in events:
        assert begin < event["time"] <= end
        assert event["data"]["ion_current"] == previous(entries, event["time"])
    (remark, _) = rows[-1][1]["merge"]["remarks"]
    assert remark.startswith("3 images have no event")


def test_bad_sinks_and_documents_cost_nothing_else(beamline: Beamline, caplog: pytest.LogCaptureFixture) -> None:
    def bad(name: str, doc: dict[str, Any]) -> None:
        raise SystemExit(name)

    live = beamline.follow(LiveMerge([bad]))
    for name, doc in (("event", {}), ("event", {"data": None}), ("descriptor", {"uid": 1}), ("nonsense", {})):
        live(name, doc)
    live("stop", {"run_start": "unknown"})
    beamline.engine(beamline.series(duration=0.3))
    assert beamline.reduction.wait(PATIENCE)
    live.close()
    assert len(beamline.events()) == 2
    assert live.sink_errors == len(beamline.rows)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("failed on a start document" in text for text in warned) == 1
    assert sum("could not be understood" in text for text in warned) == 1


def test_run_that_is_open_when_the_merge_closes_has_all_its_rows(beamline: Beamline) -> None:
    live = beamline.follow(LiveMerge(patience=60.0, method="linear"))
    documents: list[tuple[str, dict[str, Any]]] = []
    beamline.engine(
        saxs_count([beamline.pilatus], 2, exposure_time=0.05, monitors=beamline.loggers[:1]), documents_of(documents)
    )
    beamline.reduction.wait(PATIENCE)
    live.close()
    again = LiveMerge([], patience=60.0, method="linear")
    rows: list[str] = []
    again.sinks.append(lambda name, doc: rows.append(name))
    run = reduced_of(beamline, documents)
    for name, doc in documents[:-1] + run[:-1]:
        again(name, doc)
    again.close()
    assert rows == ["start", "descriptor", "event", "event", "stop"]


def documents_of(found: list[tuple[str, dict[str, Any]]]) -> Any:
    return lambda name, doc: found.append((name, doc))


def reduced_of(beamline: Beamline, raw: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    reduction = Reduction(beamline.pilatus.calibration(), [documents_of(found)])
    for name, doc in raw:
        reduction(name, doc)
    reduction.close()
    return found


def test_reduced_run_of_an_unknown_raw_run_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    live = LiveMerge()
    start = {"uid": "b", "time": 1.0, "analysis_stage": "reduction", "original_run_uid": "a", "detector": "pilatus"}
    live("start", start)
    live.close()
    assert "the raw run a is not known" in caplog.text


def test_method_that_is_none_is_refused() -> None:
    with pytest.raises(OutputError, match=r"wanted a method of auto, .*, found 'guess'"):
        LiveMerge(method={"ion_current_monitor": "guess"})


def test_image_waits_for_the_log_and_no_longer_than_its_patience() -> None:
    """A logger at 1 Hz that goes on, one that ended: rows in order, linear between what came before and after."""
    rows: list[tuple[str, dict[str, Any]]] = []
    live = LiveMerge([lambda name, doc: rows.append((name, doc))], reduced=False, method="linear", patience=0.5)
    run = compose_run()
    images = run.compose_descriptor(
        name="primary",
        data_keys={"det": {"dtype": "array", "shape": [1, 4, 4], "source": "test", "external": "STREAM:"}},
        object_keys={"det": ["det"]},
    )
    logger = run.compose_descriptor(name="oven", data_keys={"t": {"dtype": "number", "shape": [], "source": "test"}})
    for doc in (run.start_doc, images.descriptor_doc, logger.descriptor_doc):
        live("start" if doc is run.start_doc else "descriptor", dict(doc))

    def log(time: float, value: float) -> None:
        live("event", dict(logger.compose_event(data={"t": value}, timestamps={"t": time}, time=time)))

    def image(time: float) -> None:
        live("event", dict(images.compose_event(data={}, timestamps={}, time=time, validate=False)))

    log(100.0, 1.0)
    image(100.25)
    log(101.0, 2.0)
    assert live.wait(PATIENCE)
    image(101.5)
    assert live.wait(PATIENCE)  # its patience ends
    live("stop", dict(run.compose_stop()))
    live.close()
    values = [doc["data"]["t"] for name, doc in rows if name == "event"]
    assert values[0] == 1.25
    assert values[1] == 2.0
    assert not math.isnan(values[1])
