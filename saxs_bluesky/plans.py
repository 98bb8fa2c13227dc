"""Plans for SAXS: bluesky's own, with exposure time, baseline and monitored loggers as arguments.

Each can be given to a RunEngine and to bluesky-queueserver. The run they make is reduced like any
other; nothing here knows of the reduction.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
from bluesky.protocols import Movable, Readable
from bluesky.utils import Msg

from saxs_bluesky.errors import PlanError

Plan = Generator[Msg, Any, Any]
"""What a RunEngine runs: a generator of messages."""


def saxs_count(
    detectors: Sequence[Readable[Any]],
    num: int = 1,
    delay: float = 0.0,
    *,
    exposure_time: float | None = None,
    sample: str = "",
    baseline: Sequence[Readable[Any]] = (),
    monitors: Sequence[Readable[Any]] = (),
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Take frames of one sample.

    Parameters
    ----------
    detectors
        What is read for each point; those that have an ``exposure_time`` get it.
    num
        Number of points.
    delay
        From the beginning of one point to that of the next, s; 0: as fast as they come.
    exposure_time
        For each frame, s; None: as it is.
    sample
        Name of the sample; goes into the run's metadata.
    baseline
        Devices to read once before and once after.
    monitors
        Loggers to follow throughout, each in a stream of its own.
    md
        More metadata.

    Raises
    ------
    PlanError
        A number is out of range.
    """
    _check_number(num)
    _check_times(exposure_time, delay)
    plan = bp.count(detectors, num=num, delay=delay or 0.0, md=_metadata(saxs_count.__name__, sample, md))
    return (yield from _with_loggers(plan, detectors, exposure_time, baseline, monitors))


def saxs_scan(
    detectors: Sequence[Readable[Any]],
    motor: Movable[Any],
    start: float,
    stop: float,
    num: int,
    *,
    exposure_time: float | None = None,
    sample: str = "",
    baseline: Sequence[Readable[Any]] = (),
    monitors: Sequence[Readable[Any]] = (),
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Take a frame at each of ``num`` positions of a motor, from ``start`` to ``stop``.

    The positions are in the motor's unit, and go along into the reduced run; the other parameters are
    those of `saxs_count`.
    """
    _check_number(num)
    _check_times(exposure_time, 0.0)
    plan = bp.scan(detectors, motor, start, stop, num=num, md=_metadata(saxs_scan.__name__, sample, md))
    return (yield from _with_loggers(plan, detectors, exposure_time, baseline, monitors))


def saxs_time_series(
    detectors: Sequence[Readable[Any]],
    duration: float,
    period: float,
    *,
    exposure_time: float | None = None,
    sample: str = "",
    baseline: Sequence[Readable[Any]] = (),
    monitors: Sequence[Readable[Any]] = (),
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Follow a sample over time: a frame every ``period`` seconds, for ``duration`` seconds.

    A frame is taken at the beginning and then after each whole period; one that takes longer than the
    period delays the next. The other parameters are those of `saxs_count`.
    """
    if not (duration >= 0 and period > 0 and math.isfinite(duration / period)):
        raise PlanError(f"wanted a duration not below 0 and a period above 0 s, found {duration} and {period}")
    _check_times(exposure_time, period)
    num = math.floor(duration / period * (1 + 1e-9)) + 1
    plan = bp.count(detectors, num=num, delay=period, md=_metadata(saxs_time_series.__name__, sample, md))
    return (yield from _with_loggers(plan, detectors, exposure_time, baseline, monitors))


def _with_loggers(
    plan: Plan,
    detectors: Sequence[Readable[Any]],
    exposure_time: float | None,
    baseline: Sequence[Readable[Any]],
    monitors: Sequence[Readable[Any]],
) -> Plan:
    if exposure_time is not None:
        settable = [detector.exposure_time for detector in detectors if hasattr(detector, "exposure_time")]
        if not settable:
            names = ", ".join(detector.name for detector in detectors)
            raise PlanError(f"wanted a detector with an exposure_time to set, found none among {names}")
        for signal in settable:
            yield from bps.mv(signal, exposure_time)
    plan = bpp.monitor_during_wrapper(plan, [signal for logger in monitors for signal in _signals(logger)])
    return (yield from bpp.baseline_wrapper(plan, list(baseline)))


def _signals(logger: Readable[Any]) -> list[Any]:
    """Signals of a logger that can be monitored: itself if it is one, else those that it reads."""
    names = getattr(logger, "read_attrs", None)
    return [logger] if names is None else [getattr(logger, name) for name in names]


def _metadata(name: str, sample: str, md: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"plan_name": name, **({"sample": sample} if sample else {}), **(md or {})}


def _check_number(num: int) -> None:
    if num < 1:
        raise PlanError(f"num: wanted a number from 1 up, found {num}")


def _check_times(exposure_time: float | None, delay: float) -> None:
    if exposure_time is not None and not (exposure_time > 0 and math.isfinite(exposure_time)):
        raise PlanError(f"exposure_time: wanted a time above 0 s, found {exposure_time}")
    if not (delay >= 0 and math.isfinite(delay)):
        raise PlanError(f"delay: wanted a time not below 0 s, found {delay}")
    if exposure_time is not None and 0 < delay < exposure_time:
        raise PlanError(f"wanted an exposure_time that fits into {delay} s, found {exposure_time} s")
