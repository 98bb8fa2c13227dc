"""Documents of merged runs: valid, complete, and of any table that a merge makes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from event_model import DocumentNames, schema_validators

from saxs_bluesky import __version__
from saxs_bluesky.documents import MergeCounts, MergedRunComposer, clean_names, is_merged, merged_run
from saxs_bluesky.merge import Images, LogTable, Method, join

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND


def beam_time() -> tuple[Images, list[LogTable]]:
    """Four images of 1 s, every 2 s; a logger at 1 Hz with a gap, and a shutter that says words."""
    end = BEGIN + np.arange(1, 5) * 2 * SECOND
    columns = pd.DataFrame(
        {
            "Exposure_time [s] (Img)": [1.0, 1.0, np.nan, 1.0],
            "File Name (Img)": ["a.tif", "b.tif", "c.tif", None],
            "Gain (Img)": [1, 2, 3, 4],
        }
    )
    images = Images(end, np.full(4, SECOND), columns, np.array([True, False, True, True]), ("an image has no date",))
    seconds = np.array([0, 1, 2, 3, 8])
    logger = LogTable(
        "Dlogger",
        BEGIN + seconds * SECOND,
        pd.DataFrame({"Ioni    ": seconds + 100.0, "Temp °C": seconds / 10}),
        tolerance=1.0,
        offset=-0.25,
        method=Method.PREVIOUS,
        units={"Ioni    ": "nA"},
        remarks=("a line is no numbers",),
    )
    shutter = LogTable("2nd.shutter", np.array([BEGIN]), pd.DataFrame({"state": ["open"]}), steps=True)
    return images, [logger, shutter]


def documents(**more: Any) -> dict[str, list[dict[str, Any]]]:
    images, tables = beam_time()
    found: dict[str, list[dict[str, Any]]] = {}
    for name, doc in merged_run(join(images, tables), images, tables, **more):
        schema_validators[DocumentNames[name]].validate(doc)
        found.setdefault(name, []).append(doc)
    return found


def test_each_image_has_an_event_at_mid_exposure_with_all_columns() -> None:
    found = documents()
    assert [event["time"] for event in found["event"]] == [BEGIN / SECOND + 2 * n - 0.5 for n in (1, 2, 3, 4)]
    (descriptor,) = found["descriptor"]
    keys = descriptor["data_keys"]
    assert list(keys) == [
        "Exposure_time_s_Img", "File_Name_Img", "Gain_Img", "Ioni_Dlogger", "Temp_C_Dlogger", "state_2nd_shutter",
        "time_ave",
    ]  # fmt: skip
    assert keys["Ioni_Dlogger"]["original_name"] == "Ioni     (Dlogger)"
    assert (keys["Ioni_Dlogger"]["units"], keys["Exposure_time_s_Img"]["units"]) == ("nA", "s")
    assert descriptor["hints"]["Dlogger"]["fields"] == ["Ioni_Dlogger", "Temp_C_Dlogger"]
    values = [event["data"] for event in found["event"]]
    # Clock of the logger 0.25 s late: at 1.5 s it shows 1.25 s.
    assert [one["Ioni_Dlogger"] for one in values[:2]] == [101.0, 103.0]
    assert math.isnan(values[2]["Ioni_Dlogger"])
    assert math.isnan(values[2]["Exposure_time_s_Img"])
    assert [one["File_Name_Img"] for one in values] == ["a.tif", "b.tif", "c.tif", ""]
    assert {one["state_2nd_shutter"] for one in values} == {"open"}


def test_start_names_sources_methods_and_offsets() -> None:
    raw = {"uid": "raw", "time": 1.0, "scan_id": 7, "sample": "water", "detectors": ["pilatus"]}
    told = {"Output.Name": {"a/b": [1, {"c.d": 2}]}}
    (start,) = documents(
        raw_start=raw,
        reduced=["reduced"],
        configuration=told,
        sources=[{"files": ["dlogger.txt"]}, {"files": ["peak.txt"]}],
    )["start"]
    assert is_merged(start)
    assert (start["original_run_uid"], start["original_scan_id"], start["sample"]) == ("raw", 7, "water")
    assert "detectors" not in start
    assert start["sources"]["raw"] == "raw"
    assert start["sources"]["reduced"] == ["reduced"]
    logger, shutter = start["sources"]["loggers"]
    assert (logger["files"], logger["tolerance"], logger["entries"]) == (["dlogger.txt"], 1.0, 5)
    assert (shutter["name"], shutter["key"], shutter["steps"]) == ("2nd.shutter", "column_2nd_shutter", True)
    assert start["methods"] == {"Dlogger": "previous", "column_2nd_shutter": "auto"}
    assert start["offsets"] == {"Dlogger": -0.25, "column_2nd_shutter": 0.0}
    assert start["configuration"] == {"Output_Name": {"a_b": [1, {"c_d": 2}]}}
    assert start["provenance"] == {"software": "saxs-bluesky", "version": __version__}


def test_stop_counts_and_lists_what_found_no_counterpart() -> None:
    (stop,) = documents(logs_without_image=["lost.tif"] * 300)["stop"]
    told = stop["merge"]
    assert told["images_without_log"]["count"] == 3  # one is not in the detector's log; two have no value
    assert told["images_without_log"]["listed"][0] == "detector's log: b.tif"
    assert told["beyond_tolerance"]["count"] == 2
    assert told["beyond_tolerance"]["listed"][0] == "Dlogger: c.tif"
    assert told["logs_without_image"] == {"count": 300, "listed": ["lost.tif"] * 100}
    assert told["remarks"] == ["an image has no date", "a line is no numbers"]
    assert stop["reason"] == "3 images without log; 300 log entries without image; 2 rows beyond the tolerance"
    assert stop["num_events"] == {"primary": 4}


def test_images_of_no_run_make_a_merged_run_all_the_same() -> None:
    (start,) = documents()["start"]
    assert is_merged(start)
    assert "original_run_uid" not in start
    assert start["sources"]["raw"] is None


def test_run_without_images_has_no_events() -> None:
    run = MergedRunComposer(None, [], [])
    found = [run.start, run.describe(), *run.events(np.empty(0), {}), run.stop(MergeCounts())]
    assert [name for name, _ in found] == ["start", "descriptor", "stop"]
    assert found[-1][1]["reason"] == ""


def test_names_are_fit_for_documents_databases_and_python() -> None:
    assert clean_names(["Ioni         (Dlogger)", "ioni_dlogger", "T [°C]", "2theta", "a.b/c", "ts_x", "time", ""]) == [
        "Ioni_Dlogger",
        "ioni_dlogger_2",
        "T_C",
        "column_2theta",
        "a_b_c",
        "column_ts_x",
        "time_2",
        "column",
    ]
    long = clean_names(["x" * 200, "x" * 200])
    assert len(set(long)) == 2
    assert max(map(len, long)) <= 60
    assert clean_names(["frame"], taken=["frame"]) == ["frame_2"]
