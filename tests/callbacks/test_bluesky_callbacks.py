"""Bluesky's own callbacks on the documents of reduced runs, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import event_model
import matplotlib.pyplot as plt
import numpy as np
import pytest
from bluesky.callbacks import LiveTable
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.callbacks.mpl_plotting import LivePlot

MakeRun = Callable[..., Any]
HINTED = [f"R0_{name}" for name in ("I0", "I1", "I2", "correlation_length")]


@pytest.fixture(autouse=True)
def no_windows_left() -> Iterator[None]:
    yield
    plt.close("all")


def test_documents_are_valid_and_hint_the_integral_parameters(make_run: MakeRun) -> None:
    documents = make_run(motor=True, failing=2).documents
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    assert documents[1][1]["hints"]["R0"] == {"fields": HINTED}


@pytest.mark.parametrize("motor", [False, True])
def test_live_table(make_run: MakeRun, motor: bool) -> None:
    lines: list[str] = []
    table = LiveTable(["stage_x"] * motor + ["R0_I0", "R0_correlation_length"], out=lines.append)
    run = make_run(motor=motor, failing=1)
    run.feed(table)
    rows = [line for line in lines if line.startswith("|") and "seq_num" not in line]
    assert len(rows) == 5
    assert "nan" in rows[1]
    assert f"{run.curves[4][0].integral.I0:.3f}" in rows[4]


@pytest.mark.parametrize("x", ["stage_x", "time", None])
def test_live_plot(make_run: MakeRun, x: str | None) -> None:
    run = make_run(motor=True, failing=1)
    plot = LivePlot("R0_I2", x)
    run.feed(plot)
    (line,) = plot.ax.lines
    wanted = [curves[0].integral.I2 if curves else np.nan for curves in run.curves]
    np.testing.assert_array_equal(line.get_ydata(), wanted)
    if x == "stage_x":
        np.testing.assert_array_equal(line.get_xdata(), [0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(("motor", "failing"), [(False, None), (True, 1)])
def test_best_effort_callback(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], motor: bool, failing: int | None
) -> None:
    best_effort = BestEffortCallback()
    run = make_run(motor=motor, failing=failing)
    run.feed(best_effort)
    (number,) = plt.get_fignums()
    axes = plt.figure(number).axes
    assert [one.get_ylabel() for one in axes] == HINTED
    for one, parameter in zip(axes, ("I0", "I1", "I2", "correlation_length"), strict=True):
        wanted = [getattr(curves[0].integral, parameter) if curves else np.nan for curves in run.curves]
        np.testing.assert_array_equal(one.lines[0].get_ydata(), wanted)
    table = capsys.readouterr().out
    assert table.count("\n|") >= 6
    assert ("stage_x" in table) == motor
    if motor:
        assert axes[-1].get_xlabel() == "stage_x"


def test_best_effort_callback_finds_the_peak(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    best_effort = BestEffortCallback()
    make_run([""] * 7, motor=True, sizes=[0.2, 0.5, 1, 2, 1, 0.5, 0.2]).feed(best_effort)
    assert best_effort.peaks["max"]["R0_I0"][0] == 0.75
