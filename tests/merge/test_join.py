"""Join of images and logs: equal to a slow, obvious one, and true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saxs_bluesky.merge import Images, Lack, LogTable, Method, image_values, join
from tests.helpers.merge_reference import NS, value_at_image

TEN = 1_405_936_800 * NS  # 2014-07-21 10:00:00


def images_of(*exposures: tuple[float, float], logged: bool = True) -> Images:
    """Images of (start, length), seconds after ten."""
    start = np.array([TEN + round(start * NS) for start, _ in exposures], dtype=np.int64)
    length = np.array([round(length * NS) for _, length in exposures], dtype=np.int64)
    order = np.argsort(start + length, kind="stable")
    columns = pd.DataFrame({"File Name (Img)": [f"a_{number:05}.tif" for number in range(len(order))]})
    return Images((start + length)[order], length[order], columns, np.full(len(order), logged))


def log(columns: dict[str, Any], times: Any, name: str = "Dlogger", **options: Any) -> LogTable:
    """A logger with entries at seconds after ten."""
    ns = np.array([TEN + round(float(time) * NS) for time in times], dtype=np.int64)
    return LogTable(name, ns, pd.DataFrame(columns, index=range(len(ns))), **options)


def column(table: LogTable, images: Images) -> list[Any]:
    """The first logged column at images; missing values are None."""
    merged = join(images, [table]).table
    return [None if pd.isna(value) else value for value in merged[f"{table.columns.columns[0]} ({table.name})"]]


# What is true


SECONDS = np.arange(-20, 200) + 0.5
IONI = 1000.0 + SECONDS


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        (Method.PREVIOUS, [1010.5, 1030.5]),
        (Method.NEAREST, [1010.5, 1031.5]),
        (Method.LINEAR, [1010.95, 1031.2]),
        (Method.MEAN, [1010.5, 1031.2]),  # 0.5 s is shorter than the logging interval
        (Method.AUTO, [1010.5, 1030.5]),
    ],
)
def test_each_method_gives_the_truth_within_the_loggers_resolution(method, wanted):
    images = images_of((10.7, 0.5), (29.7, 3.0))
    assert column(log({"Ioni": IONI}, SECONDS, method=method), images) == pytest.approx(wanted, abs=1e-9)


def test_long_exposures_get_the_mean_over_the_exposure():
    # 49.5 to 59.5 s: the deployed program gave 1156.27
    merged = join(images_of((49.5, 10.0), (70.0, 4.9)), [log({"Ioni": IONI}, SECONDS)]).table
    assert merged["Ioni (Dlogger)"].tolist() == pytest.approx([1054.5, 1071.5])
    assert merged["time_ave"].tolist()[0] == 10.0
    assert np.isnan(merged["time_ave"].iloc[1])


def test_a_mean_weighs_by_time():
    # A pulse of 1 s within 10 s, logged densely where it changes: the mean of the entries would be 50.
    table = log({"V": [0.0, 0.0, 100.0, 100.0, 0.0, 0.0]}, [0, 5, 5.001, 5.999, 6.0, 20], method=Method.MEAN)
    assert column(table, images_of((1, 10.0)))[0] == pytest.approx(9.99, abs=1e-9)


def test_a_mean_keeps_its_digits_after_days_of_large_values():
    times = np.arange(0, 10 * 86400.0)
    values = np.full(len(times), 1e12)
    values[-100:] = 1e-3
    assert column(log({"V": values}, times, method=Method.MEAN), images_of((times[-50], 10.0))) == [1e-3]


def test_a_mean_of_a_constant_is_the_constant():
    table = log({"V": [25.3] * 100}, np.arange(100), method=Method.MEAN)
    assert column(table, images_of((10.25, 7.5), (40.1, 33.3))) == pytest.approx([25.3, 25.3], rel=1e-15)


def test_steps_are_never_blurred():
    # Opening of 1 s at 20 s, closing at 21 s: the deployed program gave a Duration of 0.624.
    shutter = log({"Duration": [1.0, 0.0, 10.0, 0.0]}, [20, 21, 40, 50], "Peak", steps=True)
    assert column(shutter, images_of((20.0, 1.0), (40.0, 10.0), (70.0, 1.0))) == [1.0, 10.0, 0.0]


def test_steps_with_a_mean_get_that_of_what_was_held():
    shutter = log({"Open": [1.0, 0.0]}, [20, 25], "Peak", steps=True, method=Method.MEAN)
    assert column(shutter, images_of((22.0, 1.0), (20.0, 20.0))) == [1.0, 0.25]


def test_nothing_is_extrapolated():
    images = images_of((9.4, 1.0), (10.0, 1.0), (12.4, 1.0), (12.6, 1.0))
    for method in (Method.PREVIOUS, Method.LINEAR, Method.NEAREST):
        table = log({"V": [1.0, 2.0, 3.0]}, [10, 11, 12], method=method)
        values = column(table, images)
        assert values[0] is None
        assert values[2:] == [3.0, None], method


def test_a_mean_needs_the_log_for_the_whole_exposure():
    table = log({"V": [1.0] * 5}, [10, 11, 12, 13, 14], method=Method.MEAN)
    assert column(table, images_of((9.9, 2.0), (10.0, 2.0), (13.0, 2.0), (13.1, 2.0))) == [None, 1.0, 1.0, None]


def test_each_column_uses_its_own_entries():
    table = log({"A": [1.0, 2.0, 3.0, 4.0], "B": [1.0, np.nan, np.nan, 4.0]}, [10, 11, 12, 13], method=Method.LINEAR)
    merged = join(images_of((12.0, 0.0)), [table]).table
    assert merged.iloc[0].tolist()[1:3] == [3.0, 3.0]


def test_of_entries_at_the_same_time_the_last_counts():
    table = log({"A": [1.0, 2.0, 5.0], "B": [1.0, np.nan, 5.0]}, [10, 10, 20], method=Method.PREVIOUS)
    assert join(images_of((10.0, 2.0)), [table]).table.iloc[0].tolist()[1:3] == [2.0, 1.0]


def test_the_offset_is_subtracted_from_the_log():
    table = log({"V": [1.0, 2.0]}, [-27.25, -17.25], offset=-37.25, steps=True)
    assert column(table, images_of((9.9, 0.0), (10.0, 0.0), (20.0, 0.0))) == [None, 1.0, 2.0]


@pytest.mark.parametrize("method", list(Method))
def test_texts_are_taken_from_the_previous_entry_or_the_nearest(method):
    table = log({"Sample": ["air", None, "water"]}, [0, 10, 12], method=method, steps=True)
    assert column(table, images_of((6.0, 11.0))) == ["water" if method is Method.NEAREST else "air"]


def test_tolerance_in_each_method():
    times, values = [0, 10, 11, 12], [0.0, 10.0, 11.0, 12.0]
    images = images_of((2.0, 0.0), (5.0, 0.0), (9.0, 0.0), (10.0, 0.0), (10.5, 0.0))
    at = {
        method: column(log({"V": values}, times, method=method, tolerance=3.0), images)
        for method in (Method.PREVIOUS, Method.NEAREST, Method.LINEAR)
    }
    assert at[Method.PREVIOUS] == [0.0, None, None, 10.0, 10.0]
    assert at[Method.NEAREST] == [0.0, None, 10.0, 10.0, 10.0]
    assert at[Method.LINEAR] == [None, None, None, 10.0, 10.5]


def test_steps_hold_for_the_tolerance():
    table = log({"V": [1.0, 2.0]}, [0, 100], steps=True, tolerance=30.0)
    assert column(table, images_of((29.0, 1.0), (40.0, 0.0), (125.0, 0.0), (140.0, 0.0))) == [1.0, None, 2.0, None]


# What the table looks like


def test_columns_stand_in_order_and_numbers_are_floats():
    images = images_of((0, 1), (2, 1))
    images.columns["N_excluded_pixels (Img)"] = [137, 138]
    tables = [log({"Duration": [1]}, [0], "Peak"), log({"Ioni  ": [1], "Note": ["x"]}, [0])]
    table = join(images, tables).table
    assert table.columns.tolist() == [
        "File Name (Img)",
        "N_excluded_pixels (Img)",
        "Duration (Peak)",
        "Ioni   (Dlogger)",
        "Note (Dlogger)",
        "time_ave",
    ]
    assert table.drop(columns=["File Name (Img)", "Note (Dlogger)"]).dtypes.eq(np.float64).all()
    assert table["Note (Dlogger)"].dtype == object


def test_rows_stand_at_mid_exposure_of_the_images_zone():
    images = images_of((0, 1), (2.0, 3.455))
    assert join(images, []).table.index.tolist() == [
        pd.Timestamp("2014-07-21 10:00:00.5"),
        pd.Timestamp("2014-07-21 10:00:03.727500"),
    ]
    vienna = join(images, [], zone="Europe/Vienna").table.index
    assert vienna[0] == pd.Timestamp("2014-07-21 12:00:00.5")
    assert str(vienna.dtype) == "datetime64[ns]"


def test_rows_are_sorted_by_mid_exposure_though_images_are_by_their_ends():
    images = images_of((9, 1), (0, 12))
    merged = join(images, [log({"V": np.arange(40.0)}, range(40))])
    assert merged.order.tolist() == [1, 0]
    assert merged.table["File Name (Img)"].tolist() == ["a_00001.tif", "a_00000.tif"]
    assert merged.table["V (Dlogger)"].tolist() == [6.0, 9.0]
    assert merged.table["time_ave"].tolist()[0] == 12.0


def test_names_that_are_taken_get_a_number():
    tables = [log({"V": [1.0]}, [0], steps=True), log({"V": [2.0]}, [0], steps=True)]
    table = join(images_of((0, 1)), tables).table
    assert table.columns.tolist() == ["File Name (Img)", "V (Dlogger)", "V (Dlogger).1", "time_ave"]
    assert table.iloc[0, 1:3].tolist() == [1.0, 2.0]


def test_the_report_says_which_rows_have_no_value_and_why():
    images = images_of((-5, 1), (0, 1), (3, 1), (20, 1), (50, 1))
    images.logged[2] = False
    table = log({"V": [1.0, 2.0, 3.0], "W": [np.nan, np.nan, 3.0]}, [0, 1, 21], tolerance=2.5)
    merged = join(images, [table, log({"V": []}, [], "Empty")])
    report, empty = merged.reports
    assert {lack: rows.tolist() for lack, rows in report.lacking.items()} == {
        Lack.BEFORE_FIRST: [0],
        Lack.AFTER_LAST: [4],
        Lack.BEYOND_TOLERANCE: [3],
    }
    assert report.without.tolist() == [0, 3, 4]
    assert report.empty_cells == {"V (Dlogger)": 3, "W (Dlogger)": 5}
    assert empty.lacking[Lack.NO_ENTRIES].tolist() == [0, 1, 2, 3, 4]
    assert merged.unlogged.tolist() == [2]


def test_no_image_no_row():
    merged = join(images_of(), [log({"V": [1.0]}, [0])])
    assert merged.table.shape == (0, 3)
    assert str(merged.table.index.dtype) == "datetime64[ns]"


def test_a_table_of_times_only_is_no_obstacle():
    assert join(images_of((0, 1)), [log({}, [0, 1])]).table.shape == (1, 2)


# Equal to the obvious way


@st.composite
def tables(draw: st.DrawFn) -> LogTable:
    rows = draw(st.integers(0, 12))
    step = draw(st.sampled_from([1, NS // 3, NS, 7 * NS]))
    times = np.sort(np.array(draw(st.lists(st.integers(0, 20), min_size=rows, max_size=rows)), dtype=np.int64)) * step
    number = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
    columns = {
        "full": np.array(draw(st.lists(number, min_size=rows, max_size=rows)), dtype=np.float64),
        "gaps": np.array(draw(st.lists(number | st.just(np.nan), min_size=rows, max_size=rows)), dtype=np.float64),
        "text": pd.Series(
            draw(st.lists(st.none() | st.sampled_from("abc"), min_size=rows, max_size=rows)), dtype=object
        ),
    }
    return LogTable(
        "T",
        times + TEN,
        pd.DataFrame(columns, index=range(rows)),
        offset=draw(st.sampled_from([0.0, -1.25, 3.0])),
        method=draw(st.sampled_from(list(Method))),
        tolerance=draw(st.none() | st.sampled_from([0.0, 0.5, 1.0, 7.0, 30.0])),
        steps=draw(st.booleans()),
    )


@st.composite
def exposures(draw: st.DrawFn) -> tuple[Any, Any]:
    """Starts and ends; times fall on entries, between them, before and after them."""
    step = draw(st.sampled_from([1, NS // 6, NS, 5 * NS]))
    count = draw(st.integers(0, 8))
    start = draw(st.lists(st.integers(-10, 60), min_size=count, max_size=count))
    length = draw(st.lists(st.sampled_from([0, 1, 2, 5, 8, 30]), min_size=count, max_size=count))
    starts = TEN + np.array(start, dtype=np.int64) * step
    return starts, starts + np.array(length, dtype=np.int64) * step


@settings(max_examples=400, deadline=None)
@given(tables(), exposures())
def test_equal_to_the_reference(table, times):
    start, end = times
    found = image_values(table, start, end)
    averaged = np.zeros(len(start), dtype=bool)
    for position in range(3):
        for row in range(len(start)):
            wanted, mean = value_at_image(table, position, int(start[row]), int(end[row]))
            value = found.columns.iloc[row, position]
            averaged[row] |= mean
            if wanted is None:
                assert pd.isna(value)
            elif isinstance(wanted, str):
                assert value == wanted
            else:
                assert value == pytest.approx(wanted, rel=1e-9, abs=1e-6)
    assert found.averaged.tolist() == averaged.tolist()
    has_value = found.columns.notna().any(axis=1).to_numpy()
    assert not (has_value & (found.lacks == Lack.NO_ENTRIES)).any()
