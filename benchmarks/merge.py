"""A merge of 100 000 images with ten days of 40 logged columns: how long it takes, and with how much memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from benchmarks._measure import ram_disk
from saxs_bluesky.merge import (
    Images,
    LogSource,
    LogTable,
    MergeJob,
    MergeSettings,
    Method,
    OutputSettings,
    carry_out,
    join,
    write_outputs,
)
from saxs_bluesky.reduction import PilatusHeader, write_frame

IMAGES = 100_000
DAYS = 10
COLUMNS = 40
FORMATS = ("csv", "json", "exel", "hdf", "parquet", "netcdf")

_NS = 1_000_000_000
_BEGIN = 1_405_936_800 * _NS  # 2014-07-21 10:00:00
_MAC_SECONDS = 2_082_844_800  # from 1904 to 1970


def main() -> None:
    """Print all figures."""
    print(f"\n{IMAGES} images, {DAYS} days of {COLUMNS} columns once a second; each line in a process of its own")
    for method in (Method.PREVIOUS, Method.LINEAR, Method.MEAN, Method.AUTO):
        _measured(f"join, {method}", _join, method)
    _measured("join with empty cells in each column", _join, Method.AUTO, 0.001)
    for output in FORMATS:
        _measured(f"join and all files, the merged table as {output}", _outputs, output)
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder:
        job = merge_job(Path(folder), IMAGES, DAYS * 86_400)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak = pool.apply(_whole, (job,))
    print(f"  {'all: headers of images and a log file in, csv files out':58s} {seconds:7.2f} s  peak {peak:6.0f} MB")


def _measured(name: str, work: Callable[..., float], *arguments: Any) -> None:
    """Print the seconds that a function says it took, and the largest memory of a process that does nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak, before = pool.apply(_with_memory, (work, *arguments))
    print(f"  {name:58s} {seconds:7.2f} s  peak {peak:6.0f} MB, of which {before:5.0f} MB are images and logs")


def merge_job(folder: Path, images: int, rows: int) -> MergeJob:
    """A merge of image files, all with one header, and of a log of 40 columns once a second, on a file system.

    Parameters
    ----------
    folder
        Where the files are written.
    images
        How many images; the detector's log tells when each was taken.
    rows
        How many entries the log has.
    """
    run = folder / "run"
    run.mkdir()
    header = PilatusHeader(date_time="2014:07:21 10:00:00", entries={"Exposure_time": "1.0 s", "Image_path": "/det/"})
    write_frame(folder / "frame.tif", np.zeros((16, 24), np.int32), header)
    begin = np.datetime64(_BEGIN, "ns")
    times = begin + np.sort(np.random.default_rng(1).choice(rows * 1000, images, replace=False)) * np.timedelta64(
        1, "ms"
    )
    lines = ["Log of run", "----"]
    for number, time_ in enumerate(np.datetime_as_string(times, unit="ms").tolist()):
        name = f"a_{number:06d}.tif"
        os.link(folder / "frame.tif", run / name)
        lines.append(f"1.0000 0.9990 {time_} /det/{name}")
    (run / "run.log").write_text("\n".join(lines) + "\n")
    values = np.round(np.random.default_rng(2).normal(1000.0, 1.0, (rows, COLUMNS)), 3)
    logged = pa.table(
        {"Time": _BEGIN // _NS + _MAC_SECONDS + np.arange(rows)}
        | {f"Counter {number}": values[:, number] for number in range(COLUMNS)}
    )
    options = arrow_csv.WriteOptions(delimiter="\t", quoting_style="none")
    arrow_csv.write_csv(logged, folder / "datalogger.log", options)
    document = {"LogDataTables": [{"Name": "Dlogger", "Files": [{"LocalPath": "datalogger.log"}]}]}
    return MergeJob(
        document=document,
        settings=MergeSettings.from_dict(document),
        images=run,
        logs=[[LogSource(folder / "datalogger.log")]],
        folder=folder / "results",
        name="run",
    )


def _whole(job: MergeJob) -> tuple[float, float]:
    start = time.perf_counter()
    result = carry_out(job)
    seconds = time.perf_counter() - start
    if result.problems or result.images != IMAGES:
        raise RuntimeError(result.problems)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _with_memory(work: Callable[..., float], *arguments: Any) -> tuple[float, float, float]:
    images, table = beam_time(*arguments[1:] if work is _join else ())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    seconds = work(images, table, arguments[0])
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, before


def _join(images: Images, table: LogTable, method: Method) -> float:
    start = time.perf_counter()
    join(images, [_with_method(table, method)])
    return time.perf_counter() - start


def _with_method(table: LogTable, method: Method) -> LogTable:
    return LogTable(table.name, table.times, table.columns, offset=table.offset, method=method)


def _outputs(images: Images, table: LogTable, output: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        merged = join(images, [table])
        found = write_outputs(merged, images, [table], OutputSettings(Path(folder), "run", [output]))
        if found.failures:
            raise RuntimeError(found.failures)
        return time.perf_counter() - start


def beam_time(empty: float = 0.0) -> tuple[Images, LogTable]:
    """Images of 1 and of 10 s, and the log of a data logger.

    Parameters
    ----------
    empty
        Which part of the logger's cells is empty.
    """
    rng = np.random.default_rng(1)
    seconds = DAYS * 86_400
    end = np.sort(_BEGIN + rng.choice(seconds * 1000, IMAGES, replace=False) * (_NS // 1000))
    exposure = np.where(rng.random(IMAGES) < 0.3, 10 * _NS, _NS)
    names = [f"/data/user1/run/run{number // 1000}/a_{number:05d}.tif" for number in range(IMAGES)]
    texts = {f"Text {number} (Img)": names for number in range(8)}
    numbers = {f"Number {number} (Img)": np.round(rng.normal(size=IMAGES), 4) for number in range(16)}
    columns = pd.DataFrame({**texts, **numbers})
    images = Images(end, exposure, columns, np.ones(IMAGES, dtype=bool))
    values = np.round(rng.normal(1000.0, 1.0, (seconds, COLUMNS)), 3)
    if empty:
        values[rng.random(values.shape) < empty] = np.nan
    logged = pd.DataFrame(values, columns=[f"Counter {number}" for number in range(COLUMNS)])
    return images, LogTable("Dlogger", _BEGIN + np.arange(seconds) * _NS, logged)


if __name__ == "__main__":
    main()
