"""Pictures of exposures and openings, before and after their clocks are synchronised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.dates import date2num

from saxs_bluesky.merge import Images, LogTable
from saxs_bluesky.plotting import plot_synchronisation, save_figure
from tests.helpers.beam_times import BeamTime, Plan, Series, carried_out


@pytest.fixture(scope="module")
def beam_time() -> BeamTime:
    return carried_out(Plan([Series(6, 1.0, 0.3, 20.0), Series(4, 10.0, 2.5)], shutter_jitter=0.0))


def drawn(axes: Axes) -> tuple[list[float], list[float]]:
    """Times of dots and of crosses, in days as Matplotlib counts them."""
    dots, crosses = axes.lines
    return date2num(dots.get_xdata()).tolist(), date2num(crosses.get_xdata()).tolist()


def test_crosses_lie_on_dots_after_synchronisation(beam_time: BeamTime):
    shutter = beam_time.shutter()
    figure = plot_synchronisation(beam_time.images(), shutter, replace(shutter, offset=-37.25))
    before, _, after, _ = figure.axes
    day = 86400
    dots, crosses = drawn(before)
    assert (np.array(crosses) - dots) * day == pytest.approx(np.full(10, -37.25), abs=0.002)
    dots, crosses = drawn(after)
    assert (np.array(crosses) - dots) * day == pytest.approx(np.zeros(10), abs=0.002)
    assert after.get_title() == "after synchronisation: Peak, offset -37.250 s"
    assert after.get_yscale() == "log"
    assert after.get_xlabel() == "Time of the images (UTC)"


def test_enlarged_part_shows_some_exposures():
    beam_time = carried_out(Plan([Series(100, 1.0, 0.5)]))
    shutter = beam_time.shutter()
    enlarged = plot_synchronisation(beam_time.images(), shutter, shutter).axes[3]
    begin, end = enlarged.get_xlim()
    shown = [begin <= time <= end for time in drawn(enlarged)[0]]
    assert sum(shown) == 10  # eight, and one on either side in the margins


def test_wall_clock_of_a_zone(beam_time: BeamTime):
    shutter = beam_time.shutter()
    figure = plot_synchronisation(beam_time.images(), shutter, shutter, zone="Europe/Vienna")
    utc = plot_synchronisation(beam_time.images(), shutter, shutter)
    assert np.subtract(drawn(figure.axes[0])[0], drawn(utc.axes[0])[0]) * 24 == pytest.approx(np.full(10, 2.0))
    assert figure.axes[2].get_xlabel() == "Time of the images (Europe/Vienna)"


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_files(beam_time: BeamTime, tmp_path: Path, suffix: str):
    shutter = beam_time.shutter()
    figure = plot_synchronisation(
        beam_time.images(), shutter, replace(shutter, offset=-37.25, drift=1e-5), title="$a_1"
    )
    assert save_figure(figure, tmp_path / f"sync.{suffix}").stat().st_size > 5000


def test_nothing_to_draw(tmp_path: Path):
    times = np.zeros(0, np.int64)
    images = Images(times, times, pd.DataFrame(), np.zeros(0, np.bool_))
    table = LogTable("Peak", times, pd.DataFrame({"Duration": np.zeros(0)}))
    save_figure(plot_synchronisation(images, table, table), tmp_path / "empty.png")


def test_log_without_durations(beam_time: BeamTime, tmp_path: Path):
    """Its entries are drawn at the median exposure."""
    shutter = beam_time.shutter()
    table = replace(shutter, columns=shutter.columns[["Ioni_avg"]])
    figure = plot_synchronisation(beam_time.images(), table, table)
    assert set(np.asarray(figure.axes[0].lines[1].get_ydata())) == {1.0}
    save_figure(figure, tmp_path / "sync.png")


def test_single_image(tmp_path: Path):
    beam_time = carried_out(Plan([Series(1, 1.0)]))
    save_figure(plot_synchronisation(beam_time.images(), beam_time.shutter(), beam_time.shutter()), tmp_path / "a.png")
