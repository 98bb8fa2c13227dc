"""Files of a merge: each read back with the library that is made for it."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from saxs_bluesky.errors import OutputError
from saxs_bluesky.merge import Images, LogTable, Outputs, OutputSettings, join, write_outputs
from saxs_bluesky.merge import _outputs as outputs
from saxs_bluesky.merge._cell_texts import float_texts
from saxs_bluesky.merge._table_files import write_excel
from saxs_bluesky.reduction import write_frame
from saxs_bluesky.support.output_folders import LinkRule

NS = 1_000_000_000
TEN = 1_405_936_800 * NS  # 2014-07-21 10:00:00
ALL = ("csv", "json", "exel", "hdf", "parquet", "netcdf")


class BeamTime:
    """Four images in folders of their own, with curves and two logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "user1" / "run"
        paths = [self.folder / name for name in ("run1/a_00000.tif", "run1/a_1.x_00000.tif", "r.2/a_00000.tif")]
        paths.append(self.folder / "r.2/a_1.y_00000.tif")
        self.frames = paths
        for number, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_frame(path, np.full((4, 6), number, dtype=np.int32))
        columns = {
            "Time Measured (ImgLog)": [1.0, 1.0, np.nan, 10.0],
            "Exposure_time [s] (Img)": [1.0, 1.0, 1.0, 10.0],
            "N_excluded_pixels (Img)": [137, 137, 137, 137],
            "filepath (Img)": [str(path) for path in paths],
            "id (Img)": [f"h{hashlib.sha224(str(path.with_suffix('')).encode()).hexdigest()}" for path in paths],
            "date (Img)": pd.to_datetime(["2014-07-21 10:00:01", None, "2014-07-21 10:00:06", "2014-07-21 10:00:20"]),
            "Detector type": ["Pil1M", "Pil1M", None, '=1+1, "x"'],
        }
        end = TEN + np.array([1_000_000_000, 1_000_001_000, 5_500_000_000, 20_000_000_000])
        exposure = np.array([NS, NS, NS, 10 * NS])
        self.images = Images(end, exposure, pd.DataFrame(columns), np.array([True, True, False, True]))
        seconds = np.arange(-5, 30)
        self.tables = [
            LogTable("Peak", TEN + np.array([0, NS]), pd.DataFrame({"Duration": [1.0, 0.0]}), steps=True),
            LogTable(
                "Dlogger",
                TEN + seconds * NS - 37_250_000_000,
                pd.DataFrame({"Ioni  ": 1000.0 + seconds, "Sample/Name": pd.Series(["air"] * 35, dtype=object)}),
                offset=-37.25,
                units={"Ioni  ": "counts"},
            ),
        ]
        work = self.folder / "run1" / "work"
        work.mkdir()
        self.curves = [work / name for name in ("a_00000.chi", "a_00000_cS2.chi", "a_00000.json", "other_cR1.chi")]
        for path in self.curves:
            path.write_text(f"curve {path.name}\n")
        self.merged = join(self.images, self.tables)
        self.settings = OutputSettings(
            self.folder / "results" / "logs",
            "run",
            ALL,
            base_directory=folder,
            include_curves=True,
            include_frames=True,
        )

    def write(self, **changes: Any) -> Outputs:
        return write_outputs(
            self.merged,
            self.images,
            self.tables,
            replace(self.settings, **changes),
            curves=self.curves,
            frames=self.frames,
            log=["Merging datalogger files:"],
        )

    def file(self, name: str) -> Path:
        return self.settings.folder / name


@pytest.fixture
def beam_time(tmp_path: Path) -> BeamTime:
    return BeamTime(tmp_path)


@pytest.fixture
def written(beam_time: BeamTime) -> BeamTime:
    outputs = beam_time.write()
    assert not outputs.failures
    return beam_time


def values(table: pd.DataFrame) -> list[list[Any]]:
    """Cells with None where they are empty."""
    return [[None if pd.isna(cell) else cell for cell in row] for row in table.to_numpy(dtype=object).tolist()]


def test_all_files_are_there_and_no_other(written: BeamTime) -> None:
    assert sorted(path.name for path in written.settings.folder.iterdir()) == [
        "Dlogger.csv",
        "Dlogger_mergedt.csv",
        "Imagedata.csv",
        "Peak.csv",
        "run.csv",
        "run.hdf",
        "run.json",
        "run.nc",
        "run.parquet",
        "run.xlsx",
        "runJSON.txt",
        "runR.txt",
        "runR1.txt",
        "runS2.txt",
        "run_igor.csv",
        "runconsolidate_log.log",
    ]


def test_csv(written: BeamTime) -> None:
    table = pd.read_csv(written.file("run.csv"), index_col=0, parse_dates=["Unnamed: 0", "date (Img)"])
    assert ",2014-07-21 10:00:06," in written.file("run.csv").read_text()
    assert values(table) == values(written.merged.table)
    assert table.columns.tolist() == written.merged.table.columns.tolist()
    assert table.index.equals(written.merged.table.index.as_unit("us"))


# Header and two rows of a file that SAXSdog wrote.
DEPLOYED = """\
,Time Measured (ImgLog),Count_cutoff [counts] (Img),Gain_setting (Img),N_excluded_pixels (Img),Pixel_size [m] (Img),\
"Silicon sensor, thickness [m] (Img)",Tau [s] (Img),date (Img),File Name (Img),Duration (Peak),time_ave
2014-07-21 10:00:05.728500,3.455,1080457.0,autog (vrf = 1.000),137.0,0.000172,0.00045,0.0,2014-07-21 10:00:07,\
/home/det/Pil1M/user1/zero/zero_1M_00000.tif,3.456,
2014-07-21 10:01:57.499000,10.002,1080457.0,autog (vrf = 1.000),137.0,0.000172,0.00045,0.0,2014-07-21 10:02:02,\
/home/det/Pil1M/user1/run2/b_00005.tif,10.0,11.0
"""


def test_csv_is_the_deployed_one_to_the_byte(tmp_path: Path) -> None:
    text = tmp_path / "deployed.csv"
    text.write_text(DEPLOYED)
    table = pd.read_csv(text, index_col=0, parse_dates=True)
    table.index = table.index.as_unit("ns")
    no_images = Images(np.empty(0, np.int64), np.empty(0, np.int64), pd.DataFrame(), np.empty(0, bool))
    merged = replace(join(no_images, []), table=table)
    write_outputs(merged, no_images, [], OutputSettings(tmp_path, "run"))
    assert (tmp_path / "run.csv").read_text() == DEPLOYED
    igor = (tmp_path / "run_igor.csv").read_text()
    assert [line.partition(",")[0] for line in igor.splitlines()] == ["", "3488781605.7285004", "3488781717.4989996"]
    assert [line.partition(",")[2] for line in igor.splitlines()] == [
        line.partition(",")[2] for line in DEPLOYED.splitlines()
    ]


def test_times_in_csv_have_six_digits_always(beam_time: BeamTime) -> None:
    beam_time.write()
    lines = beam_time.file("Dlogger.csv").read_text().splitlines()
    assert lines[0] == "Time,Ioni   (Dlogger),Sample/Name (Dlogger)"
    assert lines[1] == "2014-07-21 09:59:17.750000,995.0,air"
    assert (
        beam_time.file("Imagedata.csv")
        .read_text()
        .splitlines()[1]
        .startswith("2014-07-21 10:00:01.000000,1.0,1.0,137,")
    )


def test_a_tables_file_is_shifted_by_its_own_offset_only(beam_time: BeamTime) -> None:
    beam_time.write(own_offsets={"Dlogger": -0.25})
    assert beam_time.file("Dlogger.csv").read_text().splitlines()[1].startswith("2014-07-21 09:59:18.000000,")


def test_igor(written: BeamTime) -> None:
    table = pd.read_csv(written.file("run_igor.csv"), index_col=0, parse_dates=["date (Img)"])
    assert table.index[0] == pytest.approx(1_405_936_800.5 + 2_082_844_800, abs=1e-6, rel=0)
    assert values(table) == values(written.merged.table)


def test_json_loses_no_row_of_the_same_millisecond(written: BeamTime) -> None:
    document = json.loads(written.file("run.json").read_text())
    assert list(document["time_ave"]) == ["1405936800500", "1405936800501", "1405936805000", "1405936815000"]
    assert document["date (Img)"]["1405936805000"] == 1405936806000
    table = pd.read_json(written.file("run.json"))
    table["date (Img)"] = pd.to_datetime(table["date (Img)"], unit="ms")
    assert values(table) == values(written.merged.table)
    assert table.index[0] == pd.Timestamp("2014-07-21 10:00:00.5")


def test_json_knows_no_infinity(beam_time: BeamTime) -> None:
    beam_time.merged.table["Ioni   (Dlogger)"] = [np.inf, -np.inf, 1e300, 1e-300]
    beam_time.write()
    document = json.loads(beam_time.file("run.json").read_text(), parse_constant=pytest.fail)
    assert list(document["Ioni   (Dlogger)"].values()) == [None, None, 1e300, 1e-300]


def test_excel(written: BeamTime) -> None:
    table = pd.read_excel(written.file("run.xlsx"), index_col=0)
    assert values(table) == values(written.merged.table)
    assert table.columns.tolist() == written.merged.table.columns.tolist()
    assert abs(table.index - written.merged.table.index).max() <= pd.Timedelta("1ms")


def test_text_in_excel_is_no_formula(written: BeamTime) -> None:
    sheet = openpyxl.load_workbook(written.file("run.xlsx")).active
    cell = sheet.cell(5, 8)
    assert (cell.value, cell.data_type) == ('=1+1, "x"', "s")
    assert sheet.cell(2, 1).is_date
    assert sheet.cell(4, 2).value is None


def test_excel_takes_what_xml_does_not() -> None:
    import io

    texts = ["a\x00b", "<&>", "\udc80", "x" * 40_000, "_x0041_", "  two  ", "tab\tline\n"]
    index = pd.DatetimeIndex([TEN] * len(texts))
    table = pd.DataFrame({"t\x01": pd.Series(texts, index, dtype=object)})
    file = io.BytesIO()
    write_excel(file, table)
    sheet = openpyxl.load_workbook(file).active
    found = [sheet.cell(row, 2).value for row in range(1, len(texts) + 2)]
    assert found == ["t\\x01", "a\\x00b", "<&>", "\\udc80", "x" * 32_767, "_x0041_", "  two  ", "tab\tline\n"]


def test_excel_says_how_many_rows_it_holds(beam_time: BeamTime) -> None:
    rows = 1_048_576
    beam_time.merged = replace(
        beam_time.merged, table=pd.DataFrame({"a": np.zeros(rows)}, index=pd.DatetimeIndex(np.arange(rows)))
    )
    outputs = beam_time.write(formats=("exel", "parquet"), most_timeline_cells=0)
    assert list(outputs.failures) == [beam_time.file("run.xlsx")]
    assert "wanted at most 1048575 rows" in outputs.failures[beam_time.file("run.xlsx")]
    assert beam_time.file("run.parquet").exists()


def test_hdf_table(written: BeamTime) -> None:
    with pd.HDFStore(written.file("run.hdf"), "r") as store:
        table = store["LogData"]
    assert values(table) == values(written.merged.table)
    assert table.index.equals(written.merged.table.index)


def test_hdf_curves_and_images_join_with_the_ids_of_the_table(written: BeamTime) -> None:
    with pd.HDFStore(written.file("run.hdf"), "r") as store:
        ids = store["LogData"]["id (Img)"].tolist()
        root = store.root
        graphs = root.Graphs
        assert sorted(graphs._v_children) == ["JSON", "R", "R1", "S2"]
        assert graphs.R[ids[0]].CHI.read() == b"curve a_00000.chi\n"
        assert graphs.S2[ids[0]].CHI.read() == b"curve a_00000_cS2.chi\n"
        assert graphs.JSON[ids[0]].JSON.read() == b"curve a_00000.json\n"
        assert graphs.S2[ids[0]]._v_title == str(written.curves[1])
        # Names with dots do not collide: the deployed program has one image of these four, and leaves out three.
        assert [root.Images[one][0, 0] for one in ids] == [0, 1, 2, 3]
        assert root.Images[ids[0]].dtype == np.int32
        assert len(set(ids)) == 4


def test_ids_are_the_deployed_ones_where_no_other_part_of_the_path_has_a_dot(written: BeamTime) -> None:
    path = str(written.frames[0])
    assert "." not in path.removesuffix(".tif")
    deployed = "h" + hashlib.sha224(path.partition(".")[0].encode()).hexdigest()
    with pd.HDFStore(written.file("run.hdf"), "r") as store:
        assert deployed in store.root.Images._v_children


def test_a_curve_without_image_is_counted_and_kept(beam_time: BeamTime) -> None:
    remarks = beam_time.write().remarks
    assert remarks == [
        f"1 curves belong to no image, the first is {beam_time.curves[3]}: they have ids of their own",
    ]
    with pd.HDFStore(beam_time.file("run.hdf"), "r") as store:
        (group,) = store.root.Graphs.R1._v_children.values()
        assert group.CHI.read() == b"curve other_cR1.chi\n"


def test_unreadable_images_and_curves_are_left_out_of_the_hdf_file(beam_time: BeamTime) -> None:
    beam_time.frames[1].write_bytes(b"no image")
    beam_time.curves[0].unlink()
    beam_time.curves[1].write_bytes(b"")
    outputs = beam_time.write()
    assert not outputs.failures
    text = "\n".join(outputs.remarks)
    assert f"{beam_time.frames[1]}: not in the HDF5 file: " in text
    assert f"{beam_time.curves[0]}: not in the HDF5 file: No such file or directory" in text
    assert f"{beam_time.curves[1]}: not in the HDF5 file: it is empty" in text
    with pd.HDFStore(beam_time.file("run.hdf"), "r") as store:
        assert len(store.root.Images._v_children) == 3


def test_parquet(written: BeamTime) -> None:
    table = pd.read_parquet(written.file("run.parquet"))
    assert values(table) == values(written.merged.table)
    assert table.index.equals(written.merged.table.index)
    schema = pyarrow.parquet.read_schema(written.file("run.parquet"))
    assert schema.field("Ioni   (Dlogger)").metadata[b"units"] == b"counts"
    assert schema.field("time").type == "timestamp[ns]"


def test_netcdf(written: BeamTime) -> None:
    table = written.merged.table
    with xr.open_dataset(written.file("run.nc"), engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"time": 4}
        assert pd.DatetimeIndex(dataset["time"].to_numpy()).equals(table.index)
        assert dataset["Ioni   (Dlogger)"].attrs["units"] == "counts"
        assert dataset["Exposure_time [s] (Img)"].attrs["units"] == "s"
        np.testing.assert_array_equal(dataset["Ioni   (Dlogger)"], table["Ioni   (Dlogger)"])
        np.testing.assert_array_equal(dataset["time_ave"], table["time_ave"])
        assert dataset["Sample_Name (Dlogger)"].attrs["long_name"] == "Sample/Name (Dlogger)"
        assert dataset["Detector type"].to_numpy().tolist() == ["Pil1M", "Pil1M", "", '=1+1, "x"']


def test_lists_hold_paths_below_the_base_directory(written: BeamTime) -> None:
    assert written.file("runS2.txt").read_text() == "/user1/run/run1/work/a_00000_cS2.chi\n"
    assert written.file("runJSON.txt").read_text() == "/user1/run/run1/work/a_00000.json\n"


def test_the_log_holds_what_was_said(beam_time: BeamTime) -> None:
    said: list[str] = []
    write_outputs(
        beam_time.merged, beam_time.images, beam_time.tables, beam_time.settings, log=["before"], say=said.append
    )
    lines = beam_time.file("runconsolidate_log.log").read_text().splitlines()
    assert lines == ["before", *said[:-1]]
    assert f"Write: {beam_time.file('run.csv')}" in lines


def test_all_rows_of_images_and_loggers(written: BeamTime) -> None:
    table = pd.read_csv(written.file("Dlogger_mergedt.csv"), index_col=0, parse_dates=True)
    assert table.columns.tolist() == written.merged.table.columns.tolist()[:-1]
    assert table.index.is_monotonic_increasing
    assert len(table) == 35 + 4 - 2  # two images stand at entries
    row = table.loc["2014-07-21 10:00:00.500001"]
    assert row["Ioni   (Dlogger)"] == 1000.0
    assert row["Duration (Peak)"] == 1.0
    assert row["Detector type"] == "Pil1M"
    assert pd.isna(table.loc[pd.Timestamp("2014-07-21 10:00:03"), "Detector type"])


def test_the_file_of_all_rows_is_left_out_where_it_would_be_large(beam_time: BeamTime) -> None:
    outputs = beam_time.write(most_timeline_cells=100)
    assert not beam_time.file("Dlogger_mergedt.csv").exists()
    assert outputs.remarks[-1].startswith("Dlogger_mergedt.csv is not written: it would have ")


def test_only_what_is_asked_for(beam_time: BeamTime) -> None:
    beam_time.write(formats=(), include_curves=False)
    assert not list(beam_time.settings.folder.glob("run.*"))
    assert beam_time.file("run_igor.csv").exists()


def test_no_name_leads_out_of_the_folder(beam_time: BeamTime, tmp_path: Path) -> None:
    beam_time.tables = [
        replace(table, name=name) for table, name in zip(beam_time.tables, ("../../x", "a\0b"), strict=True)
    ]
    beam_time.merged = join(beam_time.images, beam_time.tables)
    outputs = beam_time.write(base="../../../run")
    assert not outputs.failures
    assert {path.parent for path in outputs.files} == {beam_time.settings.folder}
    assert beam_time.file("_._.._x.csv").exists()
    assert beam_time.file("a_b.csv").exists()
    assert beam_time.file("_._.._.._run.csv").exists()


def test_two_files_never_have_one_name(beam_time: BeamTime) -> None:
    beam_time.tables = [
        replace(table, name=name) for table, name in zip(beam_time.tables, ("Run", "imagedata"), strict=True)
    ]
    beam_time.merged = join(beam_time.images, beam_time.tables)
    outputs = beam_time.write()
    names = [path.name.casefold() for path in outputs.files]
    assert len(set(names)) == len(names)
    assert pd.read_csv(beam_time.file("run.csv")).columns[-1] == "time_ave"
    assert "Run.csv is called Run_2.csv: another file of this merge has its name" in outputs.remarks


def test_links_do_not_lead_out(beam_time: BeamTime, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = tmp_path / "user1"
    (base / "run" / "results").symlink_to(outside)
    with pytest.raises(OutputError, match="leads out of"):
        beam_time.write(rule=LinkRule(base))
    assert not list(outside.iterdir())


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(beam_time: BeamTime, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    beam_time.settings.folder.mkdir(parents=True)
    for name in ("run.csv", "run.hdf", "run.nc"):
        beam_time.file(name).symlink_to(victim)
    assert not beam_time.write().failures
    assert victim.read_text() == "precious"
    assert not beam_time.file("run.hdf").is_symlink()


def test_a_format_that_fails_costs_no_other_and_leaves_what_was_there(
    beam_time: BeamTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    beam_time.write()
    before = beam_time.file("run.parquet").read_bytes()

    def full_disk(file: Any, *_: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(outputs, "write_parquet", full_disk)
    found = beam_time.write()
    assert found.failures == {beam_time.file("run.parquet"): "No space left on device"}
    assert beam_time.file("run.parquet").read_bytes() == before
    assert beam_time.file("run.nc") in found.files
    assert not list(beam_time.settings.folder.glob(".*"))
    assert "ERROR: " in beam_time.file("runconsolidate_log.log").read_text()


def test_writing_ends_when_it_is_told_to(beam_time: BeamTime) -> None:
    class AbortedError(Exception):
        pass

    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls >= 9:  # in the middle of the HDF5 file
            raise AbortedError

    with pytest.raises(AbortedError):
        write_outputs(
            beam_time.merged,
            beam_time.images,
            beam_time.tables,
            beam_time.settings,
            curves=beam_time.curves,
            frames=beam_time.frames,
            check=check,
        )
    assert not beam_time.file("run.hdf").exists()
    assert not list(beam_time.settings.folder.glob(".*"))


def test_a_folder_that_cannot_be_made_is_said(beam_time: BeamTime) -> None:
    (beam_time.folder / "results").write_text("a file")
    with pytest.raises(OutputError, match="results/logs: cannot be written to"):
        beam_time.write()


def test_no_images_at_all(tmp_path: Path) -> None:
    images = Images(np.empty(0, np.int64), np.empty(0, np.int64), pd.DataFrame({"a": []}), np.empty(0, bool))
    tables = [LogTable("Empty", np.empty(0, np.int64), pd.DataFrame({"V": np.empty(0)}))]
    outputs = write_outputs(join(images, tables), images, tables, OutputSettings(tmp_path, "run", ALL))
    assert not outputs.failures
    assert (tmp_path / "run.csv").read_text() == ",a,V (Empty),time_ave\n"
    assert pd.read_json(tmp_path / "run.json").empty
    assert pd.read_excel(tmp_path / "run.xlsx").empty
    assert len(pd.read_parquet(tmp_path / "run.parquet")) == 0


def test_names_that_are_no_utf_8(beam_time: BeamTime) -> None:
    beam_time.merged.table["Detector type"] = pd.Series(["a\udc80"] * 4, beam_time.merged.table.index, dtype=object)
    assert not beam_time.write().failures
    table = pd.read_csv(beam_time.file("run.csv"), index_col=0)
    assert table["Detector type"].tolist() == ["a\\udc80"] * 4


def test_columns_of_numbers_and_texts(beam_time: BeamTime) -> None:
    beam_time.merged.table["Detector type"] = pd.Series([1, 2.5, "x", None], dtype=object).to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not beam_time.write().failures
    assert pd.read_parquet(beam_time.file("run.parquet"))["Detector type"].tolist()[:3] == ["1", "2.5", "x"]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(), max_size=30))
def test_numbers_are_written_as_python_does(numbers: list[float]) -> None:
    texts = float_texts(np.array(numbers, dtype=np.float64)).to_pylist()
    assert texts == [None if number != number else repr(number) for number in numbers]
