"""A whole merge: a folder of images and log files in, the merged table and its files out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saxs_bluesky.errors import MergeError
from saxs_bluesky.merge._estimate import OffsetEstimate, estimate_offset
from saxs_bluesky.merge._exposure_events import DURATION, logged_durations
from saxs_bluesky.merge._folder import find_files
from saxs_bluesky.merge._images import read_images
from saxs_bluesky.merge._join import Merged, column_name, join, wall_times
from saxs_bluesky.merge._log_files import LogSource, read_log
from saxs_bluesky.merge._offsets import first_image_offset, offset_table, synchronised, zero_image_offset
from saxs_bluesky.merge._outputs import OutputSettings, write_outputs
from saxs_bluesky.merge._settings import SHUTTER_TABLE, MergeSettings
from saxs_bluesky.merge._tables import NS, Images, LogTable
from saxs_bluesky.support.output_folders import LinkRule

_EXPOSURE = "Exposure_time [s] (Img)"
_MOST_NAMED = 10  # images or log files that a line of the report names


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """What is merged, and where the files go.

    Parameters
    ----------
    document
        The merge configuration as it came: the merged run's start document has it.
    settings
        The same, checked.
    images
        Folder of the images.
    logs
        The files of each table of the configuration.
    folder
        Of the files that are written.
    name
        Beginning of their names.
    within
        Folder out of which no link may lead what is written; None: links are followed.
    keep_table
        True if the result must have the merged table.
    """

    document: Mapping[str, Any]
    settings: MergeSettings
    images: Path
    logs: Sequence[Sequence[LogSource]]
    folder: Path
    name: str
    within: Path | None = None
    keep_table: bool = True


@dataclass(frozen=True, eq=False)
class Joined:
    """A merged table, and what it was made of.

    Parameters
    ----------
    merged
        The table and its report.
    images
        The images.
    tables
        Of the loggers, with the offsets that they were joined with.
    shutter
        The shutter's table, with the offset that it had by hand and with the one that it was joined with; None where
        there is none.
    """

    merged: Merged
    images: Images
    tables: Sequence[LogTable]
    shutter: tuple[LogTable, LogTable] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MergeResult:
    """What came of a merge.

    Parameters
    ----------
    job
        What was asked for.
    joined
        The merged table; None where nobody wants it.
    images
        How many images it has.
    shift
        Seconds by which the synchronisation moved the logs towards the images' clock.
    estimate
        Of the offset, where it was found by correlation.
    exposures, openings
        What windows draw: seconds of exposure, and of the shutter's openings, at milliseconds since 1970.
    curves
        Files of curves by their kind.
    files
        What was written.
    problems
        What was left out, and what could not be written; empty if all is well.
    """

    job: MergeJob
    joined: Joined | None
    images: int
    shift: float
    estimate: OffsetEstimate | None
    exposures: Mapping[str, Mapping[str, float]]
    openings: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, Sequence[Path]]
    files: Sequence[Path]
    problems: Sequence[str]

    @property
    def shift_text(self) -> str:
        """The shift as deployed clients show it."""
        return _shift_text(self.shift) if self.shift else "0:00:00"


def carry_out(
    job: MergeJob,
    say: Callable[[str], None] = lambda _: None,
    *,
    on_logs: Callable[[], None] = lambda: None,
    on_image: Callable[[], object] = lambda: None,
) -> MergeResult:
    """Carry out a merge.

    Parameters
    ----------
    job
        What is merged, and where to.
    say
        Called with lines on what is done.
    on_logs
        Called when the logs are read, which is when errors of the configuration have shown.
    on_image
        Called for each image.

    Raises
    ------
    MergeError
        There is nothing to merge, the clocks cannot be synchronised as asked for, or nothing can be written.
    """
    settings = job.settings
    problems: list[str] = []
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        say(text)

    def complain(text: str) -> None:
        problems.append(text)
        tell(text)

    tell(f"Base-directory of merge is: {job.images}")
    tell("Merging datalogger files: ")
    tables: Sequence[LogTable] = [*_tables(job, tell, complain)]
    on_logs()
    files = find_files(job.images, tell)
    images = read_images(job.images, settings, tell, files, on_image)
    for remark in images.remarks:
        (complain if remark in images.left_out else tell)(remark)
    if not len(images.end):
        raise MergeError(f"{job.images}: wanted images to merge, found none that can be read: {_first(problems)}")
    tell("Now merging imagedata with logfiles..")
    as_read = tables
    tables, shift, estimate = _synchronised(images, as_read, settings, tell)
    tell(offset_table(tables, {chosen.name: estimate} if estimate and (chosen := settings.synchronising) else None))
    shutter = _shutter(tables, settings)
    merged = join(images, tables, settings.image_zone.key)
    for line in _lacking(merged):
        tell(line)
    tell("Writing output tables...")
    outputs = write_outputs(
        merged,
        images,
        tables,
        OutputSettings(
            folder=job.folder,
            base=job.name,
            formats=settings.formats,
            zone=settings.image_zone.key,
            rule=LinkRule(job.within),
            base_directory=job.within,
            include_curves=settings.include_chi,
            include_frames=settings.include_tif,
            own_offsets={table.name: table.offset for table in settings.tables},
        ),
        curves=[*chain.from_iterable(files.curves.values())],
        frames=[Path(path) for path in files.all_images],
        log=said,
        say=say,
    )
    problems += [f"{path} is not written: {reason}" for path, reason in outputs.failures.items()]
    return MergeResult(
        job=job,
        joined=Joined(merged, images, tables, _both(as_read, shutter)) if job.keep_table else None,
        images=len(images.end),
        shift=shift,
        estimate=estimate,
        exposures=_exposures(images, settings),
        openings={} if shutter is None else _openings(shutter, settings),
        curves=files.curves,
        files=outputs.files,
        problems=problems,
    )


def output_place(images: Path, output_name: str) -> tuple[Path, str]:
    """Folder and beginning of the name of a merge's files.

    They are named after the folder of the images: ``results/merged`` for the folder ``run`` becomes
    ``run/results/runmerged``, and ``.//results//logs//``, which deployed clients send, ``run/results/logs/run``.

    Parameters
    ----------
    images
        Folder of the images.
    output_name
        ``OutputFileName`` of the configuration.

    Raises
    ------
    MergeError
        The name leads out of the folder.
    """
    folder, _, name = output_name.rpartition("/")
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    if output_name.startswith("/") or ".." in parts or name == "..":
        raise MergeError(
            f"OutputFileName: wanted a name below the folder of the images, found {output_name}, which leads out of it"
        )
    return images.joinpath(*parts), images.name + name


def _tables(job: MergeJob, tell: Callable[[str], None], complain: Callable[[str], None]) -> Iterator[LogTable]:
    """Read the logs; a table that cannot be read is left out, unless the clocks are synchronised on it."""
    for source in chain.from_iterable(job.logs):
        if not source.path.is_file():  # a name that is mistyped: better said now than after the merge
            raise MergeError(f"{source}: wanted a log file, found {'a folder' if source.path.is_dir() else 'none'}")
    for settings, sources in zip(job.settings.tables, job.logs, strict=True):
        try:
            table = read_log(sources, settings, job.settings.time_offset)
        except MergeError as error:
            if settings.synchronises:
                raise
            complain(f"The table {settings.name} is left out: {error}")
            continue
        for remark in table.remarks:
            (complain if remark in table.left_out else tell)(remark)
        yield table


def _synchronised(
    images: Images, tables: Sequence[LogTable], settings: MergeSettings, tell: Callable[[str], None]
) -> tuple[Sequence[LogTable], float, OffsetEstimate | None]:
    """Move all tables by what the shutter's tells of the clocks; the shift of the logs in seconds; the estimate."""
    chosen = settings.synchronising
    if chosen is None:
        return tables, 0.0, None
    shutter = next(table for table in tables if table.name == chosen.name)
    estimate = None
    if chosen.first_image:
        clock, kind = (first_image_offset(images, shutter), 0.0, 0), "FirstImage"
    elif chosen.zero_image:
        clock, kind = (zero_image_offset(images, shutter, settings.zero_image_name), 0.0, 0), "ZeroImage"
    else:
        estimate = estimate_offset(images, shutter)
        if not estimate.sure:
            raise MergeError(
                f"{shutter.name}: the offset of the clocks is unsure: {estimate.reason} "
                "Say it by hand (TimeOffset), or by the first or the zero image"
            )
        clock, kind = (estimate.offset, estimate.drift, estimate.reference), "Correlation"
    shift = shutter.offset - clock[0]
    tell(f"Time shift ({kind}):{_shift_text(shift)}")
    return synchronised(tables, shutter.name, *clock), shift, estimate


def _shift_text(seconds: float) -> str:
    """A shift as deployed servers write it: ``0 days 00:00:37.251000``."""
    return str(pd.Timedelta(round(seconds * NS), "ns"))


def _exposures(images: Images, settings: MergeSettings) -> dict[str, dict[str, float]]:
    """What was asked for, where the headers say that."""
    exposure = images.exposure / NS
    if _EXPOSURE in images.columns:
        exposure = images.columns[_EXPOSURE].fillna(pd.Series(exposure)).to_numpy(dtype=np.float64)
    return _points(wall_times(images.middle, settings.image_zone.key), _EXPOSURE, exposure)


def _points(times: pd.DatetimeIndex, name: str, values: np.ndarray) -> dict[str, dict[str, float]]:
    ms = times.to_numpy(dtype="datetime64[ns]").astype(np.int64) // 1_000_000
    return {str(key): {name: value} for key, value in zip(ms.tolist(), values.tolist(), strict=True)}


def _shutter(tables: Sequence[LogTable], settings: MergeSettings) -> LogTable | None:
    """The table that has the shutter's openings."""
    chosen = settings.synchronising
    shutters = [table for table in tables if DURATION in table.columns]
    preferred = [table for table in shutters if table.name == (chosen.name if chosen else SHUTTER_TABLE)]
    return next(iter(preferred or shutters), None)


def _both(as_read: Sequence[LogTable], shutter: LogTable | None) -> tuple[LogTable, LogTable] | None:
    """The shutter's table before and after the synchronisation."""
    if shutter is None:
        return None
    return next(table for table in as_read if table.name == shutter.name), shutter


def _openings(shutter: LogTable, settings: MergeSettings) -> dict[str, dict[str, float]]:
    """All entries of the shutter's table, closings too."""
    times = wall_times(shutter.image_times, settings.image_zone.key)
    return _points(times, column_name(shutter, DURATION), logged_durations(shutter))


def _lacking(merged: Merged) -> Iterator[str]:
    """Say which images have no value, and of what."""
    names = merged.table["filename (Img)"] if "filename (Img)" in merged.table else merged.table.index.astype(str)
    if len(merged.unlogged):
        yield f"{_images(names, merged.unlogged)} not in the detector's log."
    for report in merged.reports:
        for lack, rows in report.lacking.items():
            yield f"{report.name}: {_images(names, rows)} without value: {lack}."


def _images(names: pd.Series, rows: np.ndarray) -> str:
    shown = ", ".join(map(str, np.asarray(names)[rows[:_MOST_NAMED]]))
    more = ", ..." if len(rows) > _MOST_NAMED else ""
    return f"{len(rows)} image{'s' * (len(rows) != 1)} ({shown}{more})"


def _first(problems: Sequence[str]) -> str:
    return problems[0] if problems else "there is no file whose name ends in tif"
