"""Whole merges: what the deployed program is right about, and what it should have said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge import LogSource, MergeJob, MergeResult, MergeSettings, carry_out, output_place
from tests.helpers.merging import DATA, configuration, copy_beam_time, deployed_answer

PEAK = ["Duration (Peak)", "Ioni_avg (Peak)", "Diode_avg (Peak)"]
LOGGED = ["Ioni         (Dlogger)", "Diode        (Dlogger)", "Temp (Dlogger)"]
AVERAGED = "time_ave"


class BeamTime:
    """The synthetic beam time, merged as a configuration says."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "base"
        self.images = copy_beam_time(self.base)
        self.said: list[str] = []

    def merge(self, document: dict[str, Any], **changes: Any) -> MergeResult:
        settings = MergeSettings.from_dict(document, "mergeconf")
        folder, name = output_place(self.images, settings.output_name)
        job = MergeJob(
            document=document,
            settings=settings,
            images=self.images,
            logs=[
                [LogSource(self.base.joinpath(*file.remote), file.name) for file in table.files]
                for table in settings.tables
            ],
            folder=folder,
            name=name,
            within=self.base,
        )
        self.said.clear()
        return carry_out(replace(job, **changes), self.said.append)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.images / "results" / name, index_col=0)


@pytest.fixture
def beam_time(tmp_path: Path) -> BeamTime:
    return BeamTime(tmp_path)


def deployed(scenario: str, name: str = "run.csv") -> pd.DataFrame:
    return pd.read_csv(DATA / "deployed" / scenario / name, index_col=0)


def of_images(table: pd.DataFrame, base: Path) -> pd.DataFrame:
    """The columns of a deployed table that tell of images, with the paths and ids that they have here."""
    table = table.drop(columns=[*PEAK, *LOGGED, AVERAGED], errors="ignore").copy()
    paths = table["filepath (Img)"].str.replace("BASE", str(base))
    table["filepath (Img)"] = paths
    table["id (Img)"] = [image_id(path, base) for path in paths]
    return table


def image_id(path: str, base: Path) -> str:
    """As in the deployed tables, but a dot ends the name only where the suffix begins."""
    return "h" + hashlib.sha224(str(Path(path).with_suffix("")).encode()).hexdigest()


def seconds(table: pd.DataFrame) -> np.ndarray:
    """Mid-exposure, in seconds after 10:00:00."""
    return (pd.DatetimeIndex(table.index) - pd.Timestamp("2014-07-21 10:00:00")).total_seconds().to_numpy()


def openings() -> tuple[np.ndarray, np.ndarray]:
    """Times after 10:00:00 and durations in the shutter's log, by the images' clock: openings and closings."""
    log = pd.read_csv(DATA / "base" / "logs" / "peakinteg.log", sep="\t")
    return (log["Time"] - 3488781566.75 + 4.0).to_numpy(), log["Duration"].to_numpy()


def expected(table: pd.DataFrame, shift: float = 0.0) -> pd.DataFrame:
    """What the loggers said at the images: ``Ioni = 1000 + s`` and so on, in a row of each whole second s at s + 0.5.

    Parameters
    ----------
    table
        The merged table.
    shift
        Seconds by which the logs stand later than the truth.
    """
    middle = seconds(table) - shift
    times, durations = openings()
    entry = np.searchsorted(np.round(times, 6), np.round(middle, 6), side="right") - 1
    exposure = table["Time Measured (ImgLog)"].fillna(table["Exposure_time [s] (Img)"]).to_numpy()
    is_long = exposure >= 5
    whole = np.where(is_long, middle - 0.5, np.floor(np.round(middle - 0.5, 6)))
    measured = np.where(np.isin(whole, (25, 26)), 24, whole)  # the thermometer said nothing for two seconds
    return pd.DataFrame(
        {
            PEAK[0]: durations[entry],
            PEAK[1]: np.round(1000 + times[entry], 3),
            PEAK[2]: np.round(500 + times[entry] / 2, 3),
            LOGGED[0]: 1000 + whole,
            LOGGED[1]: 2000 - whole,
            LOGGED[2]: 25 + measured / 100,
            AVERAGED: np.where(is_long, exposure, np.nan),
        },
        index=table.index,
    )


@pytest.mark.parametrize(("scenario", "shift"), [("hand", 0.0), ("first", 0.001), ("zero", 0.001)])
def test_table_is_the_deployed_one_where_that_is_right_and_else_the_truth(
    beam_time: BeamTime, scenario: str, shift: float
) -> None:
    result = beam_time.merge(configuration(scenario))
    table, wanted = beam_time.table("logs/run.csv"), deployed(scenario)
    assert list(table.columns) == list(wanted.columns)
    # Images with the same time stand in the order of their names.
    places = {"c_00000.tif": "2014-07-21 10:02:19.875000", "c_00001.tif": "2014-07-21 10:02:19.875001"}
    names = wanted["filename (Img)"]
    wanted.index = pd.Index([places.get(name, index) for name, index in zip(names, wanted.index, strict=True)])
    wanted = wanted.sort_index()
    # The deployed program fills cells that a header does not have by interpolation.
    images = of_images(wanted, beam_time.base)
    images.loc[images["filename (Img)"] == "a_00006.tif", "Wavelength [A] (Img)"] = np.nan
    pd.testing.assert_frame_equal(table[images.columns], images, check_dtype=False)
    truth = expected(table, shift)
    pd.testing.assert_frame_equal(table[[*PEAK, *LOGGED, AVERAGED]], truth[[*PEAK, *LOGGED, AVERAGED]], rtol=1e-9)
    assert result.shift == pytest.approx(0.0 if scenario == "hand" else 37.251, abs=1e-9)


def test_result_is_what_windows_draw(beam_time: BeamTime) -> None:
    result = beam_time.merge(configuration("first"))
    answer = deployed_answer("first")
    assert result.exposures == answer["syncplot"]["Images"]
    # Deployed servers lose up to a millisecond in seconds since 1904.
    assert list(result.openings.values()) == list(answer["syncplot"]["Shutter"].values())
    assert np.allclose([*map(int, result.openings)], [*map(int, answer["syncplot"]["Shutter"])], rtol=0, atol=1)
    assert result.shift_text == "0 days 00:00:37.251000"
    assert {
        kind: [str(path).replace(str(beam_time.base), "BASE") for path in paths]
        for kind, paths in result.curves.items()
    } == answer["fileslist"]


def test_offsets_by_hand_add_and_do_not_count_where_the_clocks_are_synchronised(beam_time: BeamTime) -> None:
    first = configuration("first")
    beam_time.merge(first)
    wanted = beam_time.table("logs/run.csv")
    result = beam_time.merge(first | {"TimeOffset": 100.0})
    pd.testing.assert_frame_equal(beam_time.table("logs/run.csv"), wanted)
    assert result.shift == pytest.approx(137.251)
    hand = configuration("hand", TimeOffset=-37.0)
    for table in hand["LogDataTables"]:
        table["TimeOffset"] = -0.25
    beam_time.merge(hand)
    moved = beam_time.table("logs/run.csv")
    beam_time.merge(configuration("hand"))
    pd.testing.assert_frame_equal(moved, beam_time.table("logs/run.csv"))


def test_clocks_are_found_by_correlation(beam_time: BeamTime) -> None:
    document = configuration("hand", TimeOffset=0.0)
    document["LogDataTables"][0]["Correlate"] = True
    result = beam_time.merge(document)
    assert result.shift == pytest.approx(37.25, abs=0.5)
    assert result.estimate is not None
    assert result.estimate.sure


def test_first_and_zero_image_exclude_each_other(beam_time: BeamTime) -> None:
    document = configuration("zero")
    document["LogDataTables"][0]["FirstImageCorrelation"] = True
    with pytest.raises(MergeError, match="FirstImageCorrelation and ZeroImageCorrelation"):
        beam_time.merge(document)


def test_files_are_named_as_deployed_ones(beam_time: BeamTime) -> None:
    beam_time.merge(configuration("hand"))
    written = {path.name for path in (beam_time.images / "results" / "logs").iterdir()}
    assert written >= {"run.csv", "run_igor.csv", "Imagedata.csv", "Peak.csv", "Dlogger.csv", "runR.txt", "runR1.txt"}
    assert written >= {"runS2.txt", "runJSON.txt", "runconsolidate_log.log"}
    for name in ("runR.txt", "runR1.txt", "runS2.txt", "runJSON.txt"):
        text = (beam_time.images / "results" / "logs" / name).read_text()
        assert text == (DATA / "deployed" / "hand" / name).read_text()
    beam_time.merge(configuration("output_name"))
    assert (beam_time.images / "results" / "runmerged.csv").exists()


def test_tables_of_logs_and_images_are_the_deployed_ones(beam_time: BeamTime) -> None:
    beam_time.merge(configuration("hand"))
    for name in ("Peak.csv", "Dlogger.csv"):
        table, wanted = beam_time.table(f"logs/{name}"), deployed("hand", name)
        off = pd.DatetimeIndex(table.index) - pd.DatetimeIndex(wanted.index)
        assert abs(off.total_seconds()).max() < 4e-7  # seconds since 1904 as floating-point numbers
        pd.testing.assert_frame_equal(table.reset_index(drop=True), wanted.reset_index(drop=True))
    table, wanted = beam_time.table("logs/Imagedata.csv"), deployed("hand", "Imagedata.csv")
    wanted = of_images(wanted, beam_time.base).set_index("filename (Img)").sort_index()
    pd.testing.assert_frame_equal(table.set_index("filename (Img)").sort_index(), wanted, check_dtype=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(LogDataTables=[]),
        lambda document: document["LogDataTables"].pop(1),
        lambda document: document["LogDataTables"].reverse(),
        lambda document: document["LogDataTables"][1].update(Name="Other"),
    ],
    ids=["no table", "shutter only", "shutter last", "another name"],
)
def test_any_tables_in_any_order_are_merged(beam_time: BeamTime, change: Callable[[dict[str, Any]], object]) -> None:
    """Each of these is an error in the deployed program."""
    document = configuration("hand")
    change(document)
    beam_time.merge(document)
    assert len(beam_time.table("logs/run.csv")) == 20


def test_foreign_log_is_named_and_all_images_are_merged(beam_time: BeamTime) -> None:
    (beam_time.images / "run1" / "notes.log").write_text("first line\nbeam lost at noon today\n")
    result = beam_time.merge(configuration("hand"))
    assert len(beam_time.table("logs/run.csv")) == 20
    assert any("notes.log" in problem for problem in result.problems)
    assert any("notes.log" in line for line in beam_time.said)


def test_path_with_number_and_word_is_a_path(beam_time: BeamTime) -> None:
    image = beam_time.images / "run1" / "a_00000.tif"
    content = image.read_bytes()
    text = b"Image_path: /home/det/Pil1M/user1/run1/"
    changed = b"Image_path: /home/2014 user/1/user1/ru/"
    assert len(text) == len(changed)
    assert text in content
    image.write_bytes(content.replace(text, changed))
    beam_time.merge(configuration("hand"))
    table = beam_time.table("logs/run.csv").set_index("filename (Img)")
    assert table.loc["a_00000.tif", "Image_path (Img)"] == "/home/2014 user/1/user1/ru/"


def test_log_that_cannot_be_read_costs_its_table_only(beam_time: BeamTime) -> None:
    (beam_time.base / "logs" / "datalogger_1.log").write_text("no\ttimes\nat\tall\n")
    (beam_time.base / "logs" / "datalogger_2.log").write_text("")
    result = beam_time.merge(configuration("hand"))
    table = beam_time.table("logs/run.csv")
    assert list(table.columns)[-4:] == [*PEAK, AVERAGED]
    assert any("Dlogger" in problem and "datalogger_1.log" in problem for problem in result.problems)


def test_clocks_are_not_guessed_where_the_shutter_cannot_be_read(beam_time: BeamTime) -> None:
    (beam_time.base / "logs" / "peakinteg.log").write_text("")
    with pytest.raises(MergeError, match=r"peakinteg\.log"):
        beam_time.merge(configuration("first"))
    assert not (beam_time.images / "results" / "logs" / "run.csv").exists()


def test_folder_without_images_is_an_error(beam_time: BeamTime) -> None:
    for path in [*beam_time.images.rglob("*.tif")]:
        path.unlink()
    with pytest.raises(MergeError, match="wanted images to merge, found none"):
        beam_time.merge(configuration("hand"))
