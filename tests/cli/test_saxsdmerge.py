"""``saxsdmerge`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from saxs_bluesky.catalog import close_catalog, open_catalog
from saxs_bluesky.cli.main import main as simulate
from saxs_bluesky.cli.saxsdmerge import main
from saxs_bluesky.plotting import can_open_windows
from tests.helpers.merging import configuration, copy_beam_time

LOGS = ["logs/peakinteg.log", "logs/datalogger.log"]


@pytest.fixture
def beam_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert simulate(["simulate", ".", "--logs", "--detector", "100K", "--frames", "8"]) == 0
    return tmp_path


def table(path: str) -> pd.DataFrame:
    return pd.read_csv(path, index_col=0)


def is_synchronised(path: str) -> bool:
    """True if every image has the open shutter's duration, and the current that was logged when it was taken."""
    merged = table(path)
    return bool((merged["Duration (Peak)"] == 1.0).all() and merged["Ioni (Dlogger)"].between(110, 121).all())


@pytest.mark.parametrize("clocks", [["--auto"], ["-a"], ["-l"], ["-1"], ["-t", "37.25"]])
def test_clocks_are_synchronised(beam_time: Path, clocks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*clocks, "-b", "images", *LOGS]) == 0
    assert is_synchronised("merged.csv")
    assert "merged.csv: written" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "offset"), [("-37.25", -37.25), ("-1", -1.0), ("1e1", 10.0)])
def test_offset_by_hand_may_be_negative(
    beam_time: Path, seconds: str, offset: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-t", seconds, "-b", "images", *LOGS]) == 0
    assert f"{offset:.3f}" in capsys.readouterr().err  # in the table of clocks


def test_zero_image_is_called_as_one_says(beam_time: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-z", "-b", "images", *LOGS]) == 2
    assert "zero_1M_00000.tif" in capsys.readouterr().err
    assert not Path("merged.csv").exists()
    assert main(["-z", "--zeroname", "behenate_00000", "-b", "images", *LOGS]) == 0
    assert is_synchronised("merged.csv")


def test_clocks_that_are_not_synchronised_are_not_guessed(beam_time: Path) -> None:
    assert main(["-b", "images", *LOGS]) == 0
    assert not is_synchronised("merged.csv")


@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".json", pd.read_json),
        (".hdf", lambda path: pd.read_hdf(path, "LogData")),
        (".xlsx", lambda path: pd.read_excel(path, index_col=0)),
        (".parquet", pd.read_parquet),
    ],
)
def test_suffix_chooses_the_format(beam_time: Path, suffix: str, read: object) -> None:
    assert main(["-l", "-b", "-o", f"out/table{suffix}", "images", *LOGS]) == 0
    assert len(read(f"out/table{suffix}")) == 8  # type: ignore[operator]
    assert not Path("out/table.csv").exists()
    assert Path("out/table_igor.csv").exists()


def test_old_excel_suffix_is_written_as_the_new_one(beam_time: Path) -> None:
    assert main(["-l", "-b", "-o", "table.xls", "images", *LOGS]) == 0
    assert len(pd.read_excel("table.xlsx", index_col=0)) == 8


def test_images_and_curves_are_included(beam_time: Path) -> None:
    assert main(["-l", "-b", "-f", "-c", "-o", "table.hdf", "images", *LOGS]) == 0
    with pd.HDFStore("table.hdf", "r") as store:
        ids = set(store["LogData"]["id (Img)"])
        images = {node._v_name for node in store.root.Images}
    assert images == ids


def test_picture_is_drawn_into_a_file(beam_time: Path) -> None:
    assert main(["-a", "--plot", "clocks.png", "images", *LOGS]) == 0
    assert Path("clocks.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(can_open_windows(), reason="there is a display")
def test_without_a_display_the_table_is_written_and_the_way_out_said(
    beam_time: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-l", "images", *LOGS]) == 0
    assert "no display to open a window on; --plot FILE" in capsys.readouterr().out


def test_merged_run_is_recorded_in_a_catalog(beam_time: Path) -> None:
    assert main(["-l", "-b", "--catalog", "catalog", "images", *LOGS]) == 0
    run = open_catalog("catalog")[-1]
    start = run.metadata["start"]
    assert start["analysis_stage"] == "merge"
    assert [one["name"] for one in start["sources"]["loggers"]] == ["Peak", "Dlogger"]
    assert run.metadata["stop"]["num_events"]["primary"] == 8
    close_catalog("catalog")


def test_configuration_names_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy_beam_time(tmp_path / "base")
    document = configuration("first")
    document["LogDataTables"][0]["Files"] = [{"LocalPath": "base/logs/peakinteg.log"}]
    Path("mergeconf.json").write_text(json.dumps(document))
    assert main(["-b", "-C", "mergeconf.json", "--base", "base", "base/user1/run"]) == 0
    assert len(table("base/user1/run/results/logs/run.csv")) == 20


def test_what_is_left_out_is_said_and_the_rest_is_merged(beam_time: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("images/behenate_00003.tif").write_bytes(b"no image at all")
    assert main(["-l", "-b", "images", *LOGS]) == 1
    error = capsys.readouterr().err
    assert "saxsdmerge: not done:" in error
    assert "behenate_00003.tif" in error
    assert len(table("merged.csv")) == 7


def test_bad_line_of_a_log_is_named(beam_time: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("logs/datalogger.log")
    lines = path.read_text().splitlines()
    lines[3] = "noon" + lines[3][lines[3].index("\t") :]
    path.write_text("\n".join(lines) + "\n")
    assert main(["-l", "-b", "images", *LOGS]) == 1
    not_done = [line for line in capsys.readouterr().err.splitlines() if "not done" in line]
    assert len(not_done) == 1
    assert "datalogger.log" in not_done[0]
    assert "line 4" in not_done[0]
    assert len(table("merged.csv")) == 8


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["images"], "wanted logs to merge with, or a configuration"),
        (["-C", "conf.json", "images", "a.log"], "the configuration names the logs"),
        (["-C", "absent.json", "images"], "absent.json: wanted a merge configuration, found No such file"),
        (["-o", "table.txt", "images", *LOGS], "table.txt: wanted a name that ends in .csv"),
        (["absent", *LOGS], "absent: wanted the folder of the images, found none"),
        (["images", "absent.log"], "absent.log: wanted a log file, found none"),
        (["-l", "-z", "images", *LOGS], "not allowed with"),
    ],
)
def test_wrong_usage_is_said(
    beam_time: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["-b", *arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    assert reason in capsys.readouterr().err
