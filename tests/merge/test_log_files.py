"""Log files of loggers, well-formed and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge import Epoch, LogSource, LogTable, TableSettings, read_log, read_logs
from saxs_bluesky.merge import _log_files as log_files

START = 3488781543_250000000 - 2_082_844_800 * 10**9  # 09:59:03.25 on 2014-07-21
GOOD = "Time\tIoni        \tTemp\n3488781543.250\t980.0\t24.8\n3488781544.250\t981.0\t\n3488781545.250\t982.0\t24.82\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, *contents: str | bytes) -> list[LogSource]:
    sources = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.log"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        sources.append(LogSource(path, path.name))
    return sources


def read(folder: Path, *contents: str | bytes, name: str = "Dlogger", **other: Any) -> LogTable:
    return read_log(write(folder, *contents), TableSettings(name, **other))


def seconds(table: LogTable) -> list[float]:
    """Of the entries, after the first of ``GOOD``."""
    return ((table.times - START) / 1e9).tolist()


def test_deployed_log_keeps_the_names_of_its_columns_with_their_blanks(folder: Path) -> None:
    table = read(folder, GOOD)
    assert table.times[0] == START
    assert list(table.columns) == ["Ioni        ", "Temp"]
    assert table.columns.dtypes.tolist() == [np.float64, np.float64]
    np.testing.assert_array_equal(table.columns["Temp"], [24.8, np.nan, 24.82])
    assert (table.steps, table.offset, table.remarks) == (False, 0.0, ())


def test_first_column_is_the_time_whatever_it_is_called(folder: Path) -> None:
    assert seconds(read(folder, GOOD.replace("Time\t", "x\t"))) == [0, 1, 2]


def test_offsets_add(folder: Path) -> None:
    (source,) = write(folder, GOOD)
    assert read_log([source], TableSettings("a", offset=-0.25), -37.0).offset == -37.25


def test_unix_epoch(folder: Path) -> None:
    table = read(folder, "Time\tBath\n1405936762.750\t18.00\n", epoch=Epoch.UNIX)
    assert str(table.times.view("M8[ns]")[0]) == "2014-07-21T09:59:22.750000000"


def test_seconds_since_1904_are_those_of_the_wall_clock(folder: Path) -> None:
    table = read(folder, GOOD, zone=ZoneInfo("Europe/Vienna"))
    assert table.times[0] == START - 2 * 3600 * 10**9


def test_wall_clock_goes_back_at_the_end_of_daylight_saving(folder: Path) -> None:
    lines = [
        "2014-10-26 02:59:58\t1", "2014-10-26 02:59:59\t2", "2014-10-26 02:00:00\t3", "2014-10-26 02:00:01\t4",
    ]  # fmt: skip
    table = read(folder, "\n".join(["Time\tA", *lines, ""]), zone=ZoneInfo("Europe/Vienna"))
    assert np.diff(table.times).tolist() == [10**9] * 3
    assert "4 times lie in the hour that clocks in Europe/Vienna show twice" in table.remarks[-1]


def test_files_are_appended_and_sorted(folder: Path) -> None:
    later = GOOD.replace("34887815", "34887816")
    table = read(folder, later, GOOD)
    assert seconds(table) == [0, 1, 2, 100, 101, 102]
    assert [remark for remark in table.remarks if "gap" not in remark] == []


def test_column_of_some_files_is_missing_in_the_others(folder: Path) -> None:
    table = read(folder, GOOD, "Time\tTemp\tDoor\n3488781546.250\t1\topen\n")
    assert list(table.columns) == ["Ioni        ", "Temp", "Door"]
    assert table.columns["Door"].tolist() == [None, None, None, "open"]
    assert table.columns.iloc[3, 0] is not None
    assert np.isnan(table.columns.iloc[3, 0])
    assert "Dlogger: column 'Door' is missing in some of the files" in table.remarks


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (GOOD.replace("\t", ";").replace(" ", ""), "separated by semicolons"),
        (GOOD.replace("\t", ",").replace(" ", ""), "separated by commas"),
        (GOOD.replace("\t\n", "\tnan\n").replace("\t", "   "), "separated by blanks"),
        (GOOD.replace(".", ","), "decimal commas"),
        (GOOD.replace(".", ",").replace("\t", ";").replace(" ", ""), "separated by semicolons"),
        (GOOD.replace("\t\n", "\tnan\n").replace(".", ",").replace("\t", "  "), "separated by blanks"),
        ("\ufeff" + GOOD, None),
        (GOOD.replace("\n", "\r\n"), None),
        (GOOD.replace("\n", "\r"), None),
        (GOOD.encode("utf-16"), "UTF-16"),
        (GOOD.encode() + b"\0" * 100, "100 zero bytes at the end"),
        ("Logger 5, started by hand\n\n-----\n" + GOOD, None),
        ("# " + GOOD, None),
        (GOOD.rstrip("\n"), None),
        (GOOD.replace("\n", "\t\n"), None),
        ("\n" + GOOD.replace("\n", "\n\n"), None),
        (GOOD.replace("3488781544.250\t", "3.48878154425E9\t"), None),
        (
            "Time\tIoni        \tTemp\n21.07.2014 09:59:03.25\t980.0\t24.8\n2014-07-21T09:59:04.25\t981\t\n"
            "2014/07/21 09:59:05.25\t982.0\t24.82\n",
            "the times are dates",
        ),
        (
            "Date,Time,Ioni,Temp\n2014-07-21,09:59:03.25,980.0,24.8\n2014-07-21,09:59:04.25,981,\n"
            "2014-07-21,09:59:05.25,982.0,24.82\n",
            "dates in two columns",
        ),
        (
            "2014-07-21 09:59:03.25,980.0,24.8\n2014-07-21 09:59:04.25,981,\n2014-07-21 09:59:05.25,982.0,24.82\n",
            "there is no header",
        ),
        (
            "No\tIoni\tTime\tTemp\n1\t980.0\t3488781543.250\t24.8\n2\t981.0\t3488781544.250\t\n"
            "3\t982.0\t3488781545.250\t24.82\n",
            "the times are taken from column 3, 'Time'",
        ),
        (
            "Door\tTime\tIoni\tTemp\nopen\t3488781543.250\t980.0\t24.8\nopen\t3488781544.250\t981.0\t\n"
            "shut\t3488781545.250\t982.0\t24.82\n",
            "the times are taken from column 2, 'Time'",
        ),
        (
            '"Time","Ioni","Temp"\n"3488781543.250","980.0","24.8"\n3488781544.250,981,\n3488781545.25,982,"24.82"\n',
            "commas",
        ),
    ],
)  # fmt: skip
def test_layouts(folder: Path, content: str | bytes, remark: str | None) -> None:
    table = read(folder, content)
    assert seconds(table) == [0, 1, 2]
    names = {name.strip(): name for name in table.columns}
    ioni, temp = (names["Ioni"], names["Temp"]) if "Ioni" in names else list(table.columns)
    assert table.columns[ioni].tolist() == [980, 981, 982]
    np.testing.assert_array_equal(table.columns[temp], [24.8, np.nan, 24.82])
    assert set(names) - {"Ioni", "Temp"} <= {"No", "Door", "Column 2", "Column 3"}
    if remark is None:
        assert table.remarks == ()
    else:
        assert any(remark in line for line in table.remarks), table.remarks


def test_latin_1(folder: Path) -> None:
    table = read(folder, "Time\tTemp [°C]\tProbe\n3488781543.25\t24.8\tMüller\n".encode("latin-1"))
    assert table.columns["Probe"].tolist() == ["Müller"]
    assert table.units == {"Temp [°C]": "°C"}
    assert "Latin-1" in table.remarks[0]


def test_names_that_stand_twice_or_are_empty(folder: Path) -> None:
    table = read(folder, "Time\tA\tA\t\t\n3488781543.25\t1\t2\t3\t\n")
    assert list(table.columns) == ["A", "A.1", "Unnamed: 3"]


def test_lines_that_are_no_entries_are_named(folder: Path) -> None:
    bad = (
        GOOD + "3488781546.25\t1\n" + "\n" + "12:00\t1\t1\n" + "\t1\t1\n" + "\0\0\0\0\n" + GOOD
        + "3488781547.25\t1\t1\t1\n" + "3488781548.25\t983.0\t24.83\n"
    )  # fmt: skip
    table = read(folder, bad)
    assert seconds(table) == [0, 1, 2, 5]
    text = "; ".join(table.remarks)
    assert "Dlogger: 0.log: the header stands again in line 10" in text
    assert (
        "5 lines are left out: line 5, wanted 3 cells, found 2; line 7, column 1: wanted a time in seconds, found "
        "'12:00'; line 8, column 1: wanted a time in seconds, found ''; and 2 more"
    ) in text


def test_times_that_are_years_away_are_left_out(folder: Path) -> None:
    table = read(folder, GOOD + "0.000\t1\t1\n")
    assert seconds(table) == [0, 1, 2]
    assert "line 5, column 1: wanted a time near the others, found '0.000'" in table.remarks[0]


def test_cells_that_are_no_numbers_are_missing(folder: Path) -> None:
    many = "".join(f"{3488781543 + i}.25\t{i}\t1\n" for i in range(200))
    table = read(folder, "Time\tA\tB\n" + many + "3488781743.25\tOL\t1\n3488781744.25\t7\t-1.#IND\n")
    assert np.isnan(table.columns["A"][200])
    assert table.columns["A"][201] == 7
    assert np.isnan(table.columns["B"][201])
    assert table.remarks == (
        "Dlogger: 0.log: column 'A': 1 cell is no number and counted as missing, the first in line 202: 'OL'",
    )


def test_column_of_texts(folder: Path) -> None:
    table = read(folder, "Time\tDoor\tKey\n3488781543.25\topen\t\n3488781544.25\t\t\n3488781545.25\tshut\t5\n")
    assert table.columns["Door"].tolist() == ["open", None, "shut"]
    assert table.columns["Key"].dtype == np.float64
    assert table.remarks == ()


@pytest.mark.parametrize(
    "half", ["3488781546.250\t98", "34887815", "3488781546.250\t983.0\t2", "3488781546.250\t983.0\t"]
)
def test_half_last_line_of_a_log_that_is_being_written(folder: Path, half: str) -> None:
    table = read(folder, GOOD + half)
    assert seconds(table) == [0, 1, 2]
    assert f"the last line is left out, which is only half written: {half!r}" in table.remarks[0]


def test_unsorted_times_and_jumps_back_are_said(folder: Path) -> None:
    table = read(folder, "Time\tA\n3488781545.25\t3\n3488781543.25\t1\n3488781544.25\t2\n")
    assert (seconds(table), table.columns["A"].tolist()) == ([0, 1, 2], [1, 2, 3])
    assert table.remarks == (
        "Dlogger: 0.log: the times go back 1 time, most at line 3: by 2.000 s; the entries are sorted by time",
    )


def test_of_equal_times_the_last_value_of_each_column_stays(folder: Path) -> None:
    one = "Time\tA\tB\n3488781543.25\t1\tx\n3488781543.25\t2\t\n3488781544.25\t3\t\n"
    table = read(folder, one, "Time\tC\n3488781544.25\t7\n3488781545.25\t8\n")
    assert seconds(table) == [0, 1, 2]
    np.testing.assert_array_equal(table.columns["A"], [2, 3, np.nan])
    assert table.columns["B"].tolist() == ["x", None, None]
    np.testing.assert_array_equal(table.columns["C"], [np.nan, 7, 8])
    assert any("2 entries have the time of the one before" in remark for remark in table.remarks)


def test_gaps_are_said_of_logs_that_are_no_steps(folder: Path) -> None:
    content = "Time\tA\n" + "".join(f"{3488781543 + i + (500 if i > 5 else 0)}.25\t{i}\n" for i in range(10))
    assert read(folder, content).remarks == (
        "Dlogger: 1 gap of more than 20 s, the longest 501 s from 2014-07-21 09:59:08 UTC on",
    )
    table = read(folder, content, name="Peak")
    assert (table.steps, table.remarks) == (True, ())


def test_wrong_epoch_is_said(folder: Path) -> None:
    (remark,) = read(folder, "Time\tBath\n1405936762.750\t18.00\n").remarks
    assert "by its TimeEpoch Mac the log begins at 1948-07-20 09:59:22: is it another epoch?" in remark


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "0.log: the file is empty"),
        ("\n\n", "0.log: the file is empty"),
        ("Time\tA\n", "0.log: the file holds a header and no entries"),
        (
            "some text\nwithout times\n",
            "0.log: line 2, column 1: wanted a time in seconds or a date, found 'without times'; no line begins",
        ),
        ("Time\tA\n3488781543.25\t1", None),
        ("Time\tA\n9999999999\t1\n", "the file holds no entry; 1 line is left out: line 2, column 1: wanted a time"),
    ],
)
def test_file_that_gives_nothing(folder: Path, content: str, text: str | None) -> None:
    if text is None:
        assert len(read(folder, content).times) == 1
        return
    with pytest.raises(MergeError, match=f"^table Dlogger: .*{text}"):
        read(folder, content)
    # It costs no other.
    table = read(folder, content, GOOD)
    assert seconds(table) == [0, 1, 2]
    assert text in table.remarks[0]


def test_absent_files_and_folders_cost_no_other(folder: Path) -> None:
    (source,) = write(folder, GOOD)
    absent = LogSource(folder / "absent.log", "logs/absent.log")
    table = read_log([absent, source], TableSettings("Dlogger"))
    assert seconds(table) == [0, 1, 2]
    assert table.remarks == ("Dlogger: logs/absent.log: the log cannot be read: No such file or directory",)
    said: list[str] = []
    logs = read_logs(
        [(TableSettings("A"), [absent]), (TableSettings("B"), [source]), (TableSettings("C"), [])], 1, said.append
    )
    assert [table.name for table in logs.tables] == ["B"]
    assert list(map(str, logs.errors)) == [
        "table A: logs/absent.log: the log cannot be read: No such file or directory",
        "table C: wanted at least one file, found none",
    ]
    assert (logs.tables[0].offset, said) == (1, ["logs/absent.log", "0.log"])


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_blocks_make_no_difference(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A log with bad lines anywhere, read at once and in blocks of a few bytes."""
    lines = data.draw(
        st.lists(
            st.one_of(
                st.tuples(st.integers(0, 99), st.integers(0, 9)).map(
                    lambda n: f"{3488781543 + n[0]}.25\t{n[1]}\tx{n[1]}"
                ),
                st.sampled_from(
                    ["", "Time\tA\tB", "3488781543.25\tOL\t", "x\t1\t2", "1\t2", "\t\t", "3488781543.5\t1\t2\t3"]
                ),
            ),
            max_size=30,
        )
    )
    folder = tmp_path_factory.mktemp("blocks")
    content = "\n".join(["Time\tA\tB", "3488781543.25\t1\tx", *lines, "3488781543.25\t1\tx", ""])
    whole = read(folder, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "_BLOCK", data.draw(st.integers(1, 100)))
        parts = read(folder, content)
    assert (parts.times == whole.times).all()
    assert parts.columns.equals(whole.columns)
    assert parts.remarks == whole.remarks


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200) | st.text(alphabet='0123456789.,;\t \n-:eTime"#', max_size=200).map(str.encode))
def test_any_content_is_read_or_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        table = read(tmp_path_factory.mktemp("any"), content)
    except MergeError:
        return
    assert (np.diff(table.times) > 0).all()
    assert len(table.columns) == len(table.times) > 0
