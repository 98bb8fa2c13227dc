"""Merges of real runs from the catalog alone, against what their documents say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.catalog import merge, merged_runs, read_curves, reduced_runs
from saxs_bluesky.devices import SimDiode, SimIonChamber, SimPilatus, SimShutter, SimThermometer
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.plans import saxs_time_series
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
