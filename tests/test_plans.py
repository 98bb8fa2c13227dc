"""The plans under a real RunEngine: points, metadata, loggers, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from ophyd.sim import motor

from saxs_bluesky.devices import SimIonChamber, SimPilatus, SimThermometer
from saxs_bluesky.errors import PlanError
from saxs_bluesky.plans import saxs_count, saxs_scan, saxs_time_series


@pytest.fixture
def engine() -> RunEngine:
    return RunEngine({})


@pytest.fixture
def pilatus(tmp_path: Path) -> SimPilatus:
    return SimPilatus(name="pilatus", directory=tmp_path, detector="100K")


@pytest.fixture
def documents(engine: RunEngine) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    engine.subscribe(lambda name, doc: found.setdefault(name, []).append(doc))
    return found


def streams(documents: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    names = {doc["uid"]: doc["name"] for doc in documents["descriptor"]}
    counts = dict.fromkeys(names.values(), 0)
    for event in documents["event"]:
        counts[names[event["descriptor"]]] += 1
    return counts


def test_count_sets_the_exposure_time_and_names_the_sample(
    engine: RunEngine, pilatus: SimPilatus, documents: Any
) -> None:
    engine(saxs_count([pilatus], 2, exposure_time=0.25, sample="buffer", md={"operator": "me"}))
    assert pilatus.exposure_time.get() == 0.25
    (start,) = documents["start"]
    assert (start["plan_name"], start["sample"], start["operator"]) == ("saxs_count", "buffer", "me")
    assert streams(documents) == {"primary": 2}


def test_scan_reads_the_motor(engine: RunEngine, pilatus: SimPilatus, documents: Any) -> None:
    engine(saxs_scan([pilatus], motor, -1, 1, 3))
    assert [event["data"]["motor"] for event in documents["event"]] == [-1, 0, 1]
    assert documents["start"][0]["hints"]["dimensions"] == [(["motor"], "primary")]


@pytest.mark.parametrize(("duration", "period", "frames"), [(0.3, 0.1, 4), (0.0, 1.0, 1), (0.25, 0.1, 3)])
def test_time_series_takes_a_frame_each_period(
    engine: RunEngine, pilatus: SimPilatus, documents: Any, duration: float, period: float, frames: int
) -> None:
    engine(saxs_time_series([pilatus], duration, period))
    times = [event["time"] for event in documents["event"]]
    assert len(times) == frames
    # From the start, since the first frame may be late on a busy machine.
    assert times[-1] - documents["start"][0]["time"] >= (frames - 1) * period


@pytest.fixture
def loggers() -> tuple[SimThermometer, SimIonChamber]:
    return SimThermometer(name="sample_temperature"), SimIonChamber(name="i0")


def test_loggers_run_along(engine: RunEngine, pilatus: SimPilatus, documents: Any, loggers: Any) -> None:
    thermometer, chamber = loggers
    engine(saxs_time_series([pilatus], 1.0, 0.5, baseline=[thermometer], monitors=[chamber]))
    counts = streams(documents)
    assert counts["baseline"] == 2
    assert counts["primary"] == 3
    (monitored,) = [name for name in counts if name not in ("baseline", "primary")]
    assert "i0" in monitored
    assert counts[monitored] >= 2


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda d: saxs_count(d, 0), "num: wanted a number from 1 up, found 0"),
        (lambda d: saxs_count(d, delay=-1), "delay: wanted a time not below 0 s, found -1"),
        (lambda d: saxs_count(d, exposure_time=0), "exposure_time: wanted a time above 0 s, found 0"),
        (lambda d: saxs_scan(d, motor, 0, 1, 0), "num: wanted a number from 1 up, found 0"),
        (lambda d: saxs_time_series(d, 10, 0), "wanted a duration not below 0 and a period above 0 s"),
        (lambda d: saxs_time_series(d, 10, 1, exposure_time=2), "wanted an exposure_time that fits into 1 s"),
        (lambda d: saxs_count([motor], exposure_time=1), "exposure_time to set, found none among motor"),
    ],
)  # fmt: skip
@pytest.mark.logs_errors  # the RunEngine's own
def test_nonsense_is_refused_before_anything_moves(
    engine: RunEngine, pilatus: SimPilatus, documents: Any, plan: Any, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        engine(plan([pilatus]))
    assert documents == {}
