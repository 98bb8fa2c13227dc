"""The simulated loggers: as baseline, monitored, and gone when nobody listens."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from bluesky.plan_stubs import mv, sleep
from bluesky.plans import count
from bluesky.preprocessors import SupplementalData
from bluesky.utils import FailedStatus
from ophyd.utils import ReadOnlyError

from saxs_bluesky.devices import SimDiode, SimIonChamber, SimShutter, SimThermometer
from saxs_bluesky.errors import SaxsError
from tests.helpers.waiting import until

QUANTITIES = pytest.mark.parametrize(
    ("device", "signal", "units", "value", "spread"),
    [
        (SimIonChamber, "current", "nA", 120.0, 2.0),
        (SimDiode, "current", "nA", 75.0, 2.0),
        (SimThermometer, "temperature", "degC", 25.0, 0.3),
    ],
)


def logger_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("logger")]


@QUANTITIES
def test_values_are_realistic_and_have_units(device, signal, units, value, spread) -> None:
    logger = device("logger")
    values = [logger.read()[f"logger_{signal}"]["value"] for _ in range(100)]
    assert np.abs(np.array(values) - value).max() < spread
    assert len(set(values)) == 100
    description = logger.describe()[f"logger_{signal}"]
    assert (description["units"], description["dtype"]) == (units, "number")
    assert logger.hints == {"fields": [f"logger_{signal}"]}
    assert not logger_threads()


def test_same_seed_gives_the_same_noise() -> None:
    one, two, other = (SimThermometer("thermometer", seed=seed) for seed in (1, 1, 2))
    assert one.temperature.get() == pytest.approx(two.temperature.get(), abs=1e-4)
    assert one.temperature.get() != pytest.approx(other.temperature.get(), abs=1e-4)


def test_baseline_and_monitors_stand_beside_the_scan(run_engine, documents) -> None:
    ion_chamber, thermometer = SimIonChamber("ion", period=0.02), SimThermometer("thermometer", period=0.02)
    shutter = SimShutter("shutter")
    diode = SimDiode("diode", shutter=shutter)
    supplemental = SupplementalData(
        baseline=[ion_chamber, diode, thermometer, shutter], monitors=[ion_chamber.current, thermometer.temperature]
    )
    run_engine.preprocessors.append(supplemental)
    run_engine(count([diode], 2, delay=0.2))
    counted = documents.of("stop")[0]["num_events"]
    assert (counted["primary"], counted["baseline"]) == (2, 2)
    baseline = documents.of("event", "baseline")[0]["data"]
    assert set(baseline) == {
        "ion_current", "diode_current", "thermometer_temperature", "shutter_state", "shutter_duration",
    }  # fmt: skip
    assert baseline["shutter_state"] == "closed"
    for key in ("ion_current", "thermometer_temperature"):
        stream = f"{key}_monitor"
        events = documents.of("event", stream)
        assert len(events) == counted[stream] > 4
        times = [event["timestamps"][key] for event in events]
        assert times == sorted(times)
        assert times[-1] - times[0] > 0.1
        assert len({event["data"][key] for event in events}) > 4
    assert not logger_threads()
    assert len(documents.of("event", "ion_current_monitor")) == counted["ion_current_monitor"]


def test_monitored_shutter_tells_how_long_it_was_open(run_engine, documents) -> None:
    shutter = SimShutter("shutter")
    run_engine.preprocessors.append(SupplementalData(monitors=[shutter.state, shutter.duration]))

    def expose(detectors):
        yield from mv(shutter, "open")
        yield from sleep(0.1)
        yield from mv(shutter, "closed")

    run_engine(count([], 2, per_shot=expose))
    states = [event["data"]["shutter_state"] for event in documents.of("event", "shutter_state_monitor")]
    assert states[-4:] == ["open", "closed", "open", "closed"]
    durations = documents.of("event", "shutter_duration_monitor")[-2:]
    assert all(0.1 <= event["data"]["shutter_duration"] < 2 for event in durations)


def test_shutter_knows_two_states_only() -> None:
    shutter = SimShutter("shutter")
    with pytest.raises(SaxsError, match='shutter: wanted "open" or "closed", found \'ajar\''):
        shutter.set("ajar")
    shutter.set("closed").wait(1)
    assert shutter.duration.get() == 0.0


def test_diode_behind_a_closed_shutter_is_dark() -> None:
    shutter = SimShutter("shutter")
    diode = SimDiode("diode", shutter=shutter)
    assert 0 <= diode.current.get() < 0.2
    shutter.set("open").wait(1)
    assert diode.current.get() > 70


@pytest.mark.logs_errors  # the RunEngine logs that it aborts the run
def test_what_a_logger_measures_cannot_be_set(run_engine) -> None:
    thermometer = SimThermometer("thermometer")
    with pytest.raises(ReadOnlyError):
        thermometer.temperature.put(40.0)
    with pytest.raises(FailedStatus):
        run_engine(mv(thermometer.temperature, 40.0))


def test_thread_lives_from_the_first_subscriber_to_the_last() -> None:
    temperature = SimThermometer("thermometer", period=0.01).temperature
    heard: dict[str, list[float]] = {"one": [], "two": []}
    one = temperature.subscribe(lambda value, **_: heard["one"].append(value))
    two = temperature.subscribe(lambda value, **_: heard["two"].append(value), run=False)
    assert logger_threads() == ["thermometer_temperature logger"]
    until(lambda: min(map(len, heard.values())) > 3)
    temperature.unsubscribe(one)
    silent = len(heard["one"])
    until(lambda: len(heard["two"]) > silent + 3)
    assert len(heard["one"]) == silent
    temperature.unsubscribe(two)
    assert not logger_threads()
    temperature.subscribe(lambda **_: None)
    assert logger_threads()
    temperature.destroy()
    assert not logger_threads()


def test_subscriber_that_reads_and_leaves_from_its_callback() -> None:
    temperature = SimThermometer("thermometer", period=0.01).temperature
    readings = []

    def read_thrice(**_: object) -> None:
        readings.append(temperature.read())
        if len(readings) == 3:
            temperature.clear_sub(read_thrice)

    temperature.subscribe(read_thrice)
    until(lambda: not logger_threads())
    assert len(readings) == 3


def test_subscription_that_is_refused_leaves_no_thread() -> None:
    temperature = SimThermometer("thermometer").temperature
    with pytest.raises(KeyError):
        temperature.subscribe(lambda **_: None, event_type="no such event")
    assert not logger_threads()
