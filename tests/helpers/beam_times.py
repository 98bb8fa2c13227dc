"""Beam times that never were: images, a shutter's log and a data logger, all with known truth.

Two clocks: the images' (taken as the true one) and the loggers', which is off and drifts. A signal is known at every
time, so what a merge says of an image can be compared with what was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saxs_bluesky.merge import Images, LogTable, Times
from saxs_bluesky.reduction import PilatusHeader, write_frame

NS = 1_000_000_000
START = 1_405_936_800 * NS  # 2014-07-21 10:00:00 UTC
MAC_EPOCH = -2_082_844_800 * NS  # 1904-01-01 00:00:00
DETECTORS = {"Pil1M": "a", "Pil100k": "w"}  # and how their file names begin
DST_END = 1_414_284_600 * NS  # 2014-10-26 00:50:00 UTC: in Vienna, summer time ends ten minutes later


@dataclass(frozen=True)
class Series:
    """Images one after the other: their number and exposure, the dead time after each, the pause after the last."""

    count: int
    exposure: float
    dead: float = 0.1
    pause: float = 10.0
    #: Seconds, standard deviation: how much the dead time varies (motors between images); 0: the detector's own timer.
    jitter: float = 0.0
    #: The shutter stays closed.
    dark: bool = False


@dataclass(frozen=True)
class Plan:
    """What a beam time is made of; times in seconds, shares between 0 and 1."""

    series: Sequence[Series]
    seed: int = 0
    start: int = START
    #: IANA name: in which wall clock images and loggers of the epoch 1904 are written.
    zone: str = "UTC"
    #: Logger clock minus image clock at ``start``, and by how much it grows in a second.
    offset: float = -37.25
    drift: float = 0.0
    #: Between opening and the start of the exposure: the mean, and the standard deviation.
    latency: float = 0.0
    shutter_jitter: float = 0.001
    #: Of images that stand in the detector's log; the others have the whole seconds of their header.
    logged: float = 1.0
    #: Of openings: without a row, with two rows.
    missing: float = 0.0
    duplicated: float = 0.0
    #: Openings without image, by chance within the whole time; and before the first image, of 0.5 s each.
    foreign: int = 0
    alignment: int = 0
    detectors: Sequence[str] = ("Pil1M",)
    #: Of the data logger, between two entries, and how long it runs before the first image and after the last.
    interval: float = 1.0
    margin: float = 60.0


@dataclass(frozen=True, eq=False)
class BeamTime:
    """A plan that was carried out.

    ``exposures`` has a row for each image: detector, path below the folder, start and exposure (ns by the images'
    clock), whether the detector's log has it, and whether the shutter opened. ``openings`` has all openings: start and
    duration (ns by the images' clock), and whether the shutter's log has them once, twice or not.
    """

    plan: Plan
    exposures: pd.DataFrame
    openings: pd.DataFrame

    def offset_at(self, times: Times) -> NDArray[np.float64]:
        """The true offset in seconds at times by the images' clock."""
        return self.plan.offset + self.plan.drift * (times - self.plan.start) / NS

    def logger_clock(self, times: Times) -> Times:
        """What the loggers' clock shows at times by the images' clock."""
        grown = np.rint(self.plan.drift * (times - self.plan.start)).astype(np.int64)
        return times + round(self.plan.offset * NS) + grown

    def image_clock(self, times: Times) -> Times:
        """The images' clock when the loggers' clock shows ``times``."""
        since = times - round(self.plan.offset * NS) - self.plan.start
        return self.plan.start + np.rint(since / (1 + self.plan.drift)).astype(np.int64)

    @cached_property
    def end(self) -> int:
        """When the last exposure ended, ns by the images' clock."""
        return int((self.exposures["start"] + self.exposures["exposure"]).max())

    def signals(self, times: Times) -> dict[str, NDArray[np.float64]]:
        """The true values of the data logger's columns at times by the images' clock."""
        seconds = (times - self.plan.start) / NS
        return {
            "Ioni": 1000 + seconds,
            "Diode": 2000 - seconds / 2,
            "Temp": 25 + 5 * np.sin(seconds / 600),
        }

    def images(self, detectors: Sequence[str] = ("Pil1M",)) -> Images:
        """The images as they are read: ends of the log to ms, else whole seconds, equal ones 1 us apart."""
        taken = self.exposures[self.exposures["detector"].isin(list(detectors))]
        logged = taken["logged"].to_numpy(dtype=bool)
        end = (taken["start"] + taken["exposure"]).to_numpy(dtype=np.int64)
        end = np.where(logged, _rounded(end, NS // 1000), end // NS * NS)
        order = np.lexsort((taken["path"].to_numpy(dtype=str), end))
        exposure = taken["exposure"].to_numpy(dtype=np.int64)[order]
        end, logged, taken = end[order], logged[order], taken.iloc[order]
        columns = pd.DataFrame(
            {
                "Time Measured (ImgLog)": np.where(logged, exposure / NS, np.nan),
                "Exposure_time [s] (Img)": exposure / NS,
                "File Name (Img)": taken["path"].to_numpy(dtype=object),
                "Detector type": taken["detector"].to_numpy(dtype=object),
            }
        )
        return Images(end=_apart(end), exposure=exposure, columns=columns, logged=logged)

    def shutter(self, name: str = "Peak") -> LogTable:
        """The shutter's log: an entry at each opening, with its duration, and one of duration 0 at its end."""
        rows = self.openings.loc[self.openings.index.repeat(self.openings["rows"])]
        opened = rows["start"].to_numpy(dtype=np.int64)
        closed = opened + rows["duration"].to_numpy(dtype=np.int64)
        image_times = np.concatenate([opened, closed])
        durations = np.concatenate([rows["duration"].to_numpy(dtype=np.float64) / NS, np.zeros(len(rows))])
        times = _rounded(self.logger_clock(image_times), NS // 1000)
        order = np.argsort(times, kind="stable")
        columns = {"Duration": durations, "Ioni_avg": self.signals(image_times)["Ioni"]}
        return LogTable(name, times[order], pd.DataFrame(columns).iloc[order].reset_index(drop=True), steps=True)

    def logger(self, name: str = "Dlogger") -> LogTable:
        """The data logger: entries at a fixed interval of its own clock."""
        margin = round(self.plan.margin * NS)
        first, last = self.logger_clock(np.array([self.plan.start - margin, self.end + margin]))
        step = round(self.plan.interval * NS)
        times = np.arange(first // step * step + step // 4, last, step, dtype=np.int64)
        return LogTable(name, times, pd.DataFrame(self.signals(self.image_clock(times))))

    def write(self, folder: Path) -> None:
        """Write all as files: ``run`` with images and the detector's logs, ``logs`` with the loggers'."""
        self._write_images(folder / "run")
        self._write_detector_logs(folder / "run")
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._write_table(folder / "logs" / "peakinteg.log", self.shutter(), {"Duration": "%.4f", "Ioni_avg": "%.3f"})
        formats = {"Ioni": "%.4f", "Diode": "%.4f", "Temp": "%.5f"}
        self._write_table(folder / "logs" / "datalogger.log", self.logger(), formats)

    def _write_images(self, folder: Path) -> None:
        ends = pd.DatetimeIndex(wall_clock(self.exposures["start"] + self.exposures["exposure"], self.plan.zone))
        for row, end in zip(self.exposures.to_dict("records"), ends, strict=True):
            path = folder / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            entries = {
                "Exposure_time": f"{row['exposure'] / NS:.7f} s",
                "Exposure_period": f"{row['exposure'] / NS + 0.1:.7f} s",
                "Threshold_setting": "4000 eV",
                "Image_path": _detector_folder(row["path"]),
                "Wavelength": "1.54 A",
            }
            model = "PILATUS3 1M, S/N 10-0120"
            write_frame(
                path,
                np.full((4, 6), 7),
                PilatusHeader(date_time=f"{end:%Y:%m:%d %H:%M:%S}", model=model, entries=entries),
            )

    def _write_detector_logs(self, folder: Path) -> None:
        logged = self.exposures[self.exposures["logged"]]
        for name, rows in logged.groupby(logged["path"].map(_folder)):
            ends = pd.DatetimeIndex(wall_clock(rows["start"] + rows["exposure"], self.plan.zone))
            lines = [
                f"{exposure / NS:10.4f} {exposure / NS:10.4f} {end.isoformat(timespec='milliseconds')} "
                f"{_detector_folder(path)}{Path(path).name}"
                for exposure, end, path in zip(rows["exposure"], ends.round("ms"), rows["path"], strict=True)
            ]
            head = [f"Image acquisition log of {name}", "-" * 60]
            (folder / str(name) / f"{Path(str(name)).name}.log").write_text("\n".join([*head, *lines, ""]))

    def _write_table(self, path: Path, table: LogTable, formats: dict[str, str]) -> None:
        seconds = (wall_clock(table.times, self.plan.zone) - MAC_EPOCH) // (NS // 1000)
        texts = {"Time": [f"{ms // 1000}.{ms % 1000:03d}" for ms in seconds]}
        texts |= {name: [text % value for value in table.columns[name]] for name, text in formats.items()}
        pd.DataFrame(texts).to_csv(path, sep="\t", index=False)


def carried_out(plan: Plan) -> BeamTime:
    """Take the images of a plan."""
    random = np.random.default_rng(plan.seed)
    starts, exposures, dark = _taken(plan, random)
    count = len(starts)
    paths = [
        f"{detector}/run{1 + index // 500}/{prefix}_{index:05d}.tif"
        for detector, prefix in DETECTORS.items()
        for index in range(count)
    ]
    frame = pd.DataFrame(
        {
            "detector": np.repeat(list(DETECTORS), count),
            "path": [path.removeprefix("Pil1M/") for path in paths],
            "start": np.tile(starts, len(DETECTORS)),
            "exposure": np.tile(exposures, len(DETECTORS)),
            "logged": random.random(count * len(DETECTORS)) < plan.logged,
            "opened": np.tile(~dark, len(DETECTORS)),
        }
    )
    frame = frame[frame["detector"].isin(list(plan.detectors))].reset_index(drop=True)
    return BeamTime(plan, frame, _openings(plan, random, starts[~dark], exposures[~dark]))


def _taken(plan: Plan, random: np.random.Generator) -> tuple[Times, Times, NDArray[np.bool_]]:
    """Starts and exposures of the images, and whether they are dark."""
    starts, exposures, dark, now = [], [], [], 0.37
    for series in plan.series:
        dead = np.maximum(series.dead + series.jitter * random.standard_normal(series.count), 0.001)
        periods = series.exposure + dead
        starts.append(now + np.concatenate([[0.0], np.cumsum(periods)[:-1]]))
        exposures.append(np.full(series.count, series.exposure))
        dark.append(np.full(series.count, series.dark))
        now += float(periods.sum()) + series.pause
    ns = np.rint(np.concatenate(starts) * NS).astype(np.int64)
    return plan.start + ns, np.rint(np.concatenate(exposures) * NS).astype(np.int64), np.concatenate(dark)


def _openings(plan: Plan, random: np.random.Generator, starts: Times, exposures: Times) -> pd.DataFrame:
    seconds = plan.latency + plan.shutter_jitter * random.standard_normal(len(starts))
    opened = starts - np.rint(seconds * NS).astype(np.int64)
    first, last = int(starts.min(initial=plan.start)), int((starts + exposures).max(initial=plan.start))
    strange = np.sort(random.integers(first, last + 1, plan.foreign))
    lasting = random.choice(exposures, plan.foreign) if len(exposures) else np.full(plan.foreign, NS)
    aligned = first - np.sort(random.integers(5 * NS, 600 * NS, plan.alignment))[::-1]
    frame = pd.DataFrame(
        {
            "start": np.concatenate([opened, strange, aligned]),
            "duration": np.concatenate([exposures, lasting, np.full(plan.alignment, NS // 2)]),
            "rows": 1,
        }
    )
    chance = random.random(len(frame))
    frame.loc[chance < plan.missing, "rows"] = 0
    frame.loc[chance > 1 - plan.duplicated, "rows"] = 2
    return frame.sort_values("start", kind="stable").reset_index(drop=True)


def random_plan(seed: int) -> Plan:
    """A beam time as it may be: clocks off by up to 6 hours, drifts up to 100 ppm, and some of all faults."""
    random = np.random.default_rng(seed)
    kinds = (_equal, _mixed, _singles, _scans, _one_series)
    kind = kinds[int(random.choice(len(kinds), p=[0.25, 0.3, 0.15, 0.2, 0.1]))]
    series = kind(random)
    if random.random() < 0.4:
        place = int(random.integers(len(series) + 1))
        series.insert(place, Series(int(random.integers(1, 6)), series[0].exposure, 0.2, 5.0, dark=True))
    start, zone = (DST_END, "Europe/Vienna") if random.random() < 0.1 else (START, "UTC")
    count = sum(each.count for each in series)
    return Plan(
        series,
        seed=seed,
        start=start + int(random.integers(NS)),
        zone=zone,
        offset=float(random.choice([random.normal(0, 60), random.uniform(-21600, 21600)])),
        drift=float(random.choice([0.0, random.uniform(-1e-4, 1e-4)])),
        latency=float(random.uniform(0, 0.02)),
        shutter_jitter=float(random.choice([0.0005, 0.002, 0.01])),
        logged=float(random.choice([1.0, 0.95, 0.5, 0.0], p=[0.4, 0.3, 0.15, 0.15])),
        missing=float(random.choice([0.0, 0.02, 0.1])),
        duplicated=float(random.choice([0.0, 0.02])),
        foreign=int(random.choice([0, count // 10, count // 2])),
        alignment=int(random.choice([0, 3, 20])),
    )


def _exposure(random: np.random.Generator) -> float:
    return float(random.choice([0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]))


def _equal(random: np.random.Generator) -> list[Series]:
    """Several series of one exposure; alike, were it not for the pauses."""
    exposure, dead, count = _exposure(random), float(random.choice([0.003, 0.1, 1.0])), int(random.integers(3, 40))
    return [Series(count, exposure, dead, float(random.uniform(5, 120))) for _ in range(int(random.integers(3, 12)))]


def _mixed(random: np.random.Generator) -> list[Series]:
    """Series of several exposures."""
    return [
        Series(int(random.integers(1, 30)), _exposure(random), 0.1, float(random.uniform(2, 90)))
        for _ in range(int(random.integers(3, 15)))
    ]


def _singles(random: np.random.Generator) -> list[Series]:
    """Images by hand, with a pause after each."""
    exposure = _exposure(random)
    return [
        Series(1, exposure if random.random() < 0.7 else _exposure(random), 0.1, float(random.uniform(3, 200)))
        for _ in range(int(random.integers(4, 60)))
    ]


def _scans(random: np.random.Generator) -> list[Series]:
    """Images of one exposure, a motor moving between them."""
    exposure = _exposure(random)
    return [
        Series(int(random.integers(10, 100)), exposure, 1.0, float(random.uniform(10, 300)), jitter=0.1)
        for _ in range(int(random.integers(1, 5)))
    ]


def _one_series(random: np.random.Generator) -> list[Series]:
    """A single series by the detector's timer: where it begins is all that tells."""
    return [Series(int(random.integers(5, 100)), _exposure(random), 0.1)]


def long_beam_time(images: int = 100_000, days: float = 10.0, **changes: Any) -> Plan:
    """A beam time of many images: series of 200, exposures of 1 s and of 5 s in turn."""
    series = [Series(200, (1.0, 5.0)[index % 2], 0.1) for index in range(images // 200)]
    busy = sum(each.count * (each.exposure + each.dead) for each in series)
    random = np.random.default_rng(0)
    pauses = random.dirichlet(np.ones(len(series))) * max(days * 86400 - busy, 0.0)
    spread = [replace(each, pause=5.0 + pause) for each, pause in zip(series, pauses, strict=True)]
    return replace(Plan(spread, drift=3e-5, logged=0.98), **changes)


def wall_clock(times: Times | pd.Series, zone: str) -> Times:
    """Times as clocks of a zone show them: ns since 1970-01-01 00:00 of the zone."""
    index = pd.DatetimeIndex(np.asarray(times, dtype="datetime64[ns]")).tz_localize("UTC")
    return index.tz_convert(ZoneInfo(zone)).tz_localize(None).asi8.astype(np.int64)


def _rounded(times: Times, step: int) -> Times:
    return (times + step // 2) // step * step


def _apart(ends: Times) -> Times:
    """Equal ends 1 us apart: the deployed program's way."""
    position = np.arange(len(ends))
    first = np.concatenate([[True], ends[1:] != ends[:-1]]) if len(ends) else np.zeros(0, dtype=bool)
    return ends + 1000 * (position - np.maximum.accumulate(np.where(first, position, 0)))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _detector_folder(path: str) -> str:
    """The folder of an image on the detector's computer."""
    return f"/home/det/{_folder(path)}/"
