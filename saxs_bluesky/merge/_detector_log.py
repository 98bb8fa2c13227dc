"""The detector's own logs: when the exposure of each image ended, and how long it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saxs_bluesky.errors import printable, system_reason
from saxs_bluesky.merge._clocks import UTC, from_wall
from saxs_bluesky.merge._tables import Times
from saxs_bluesky.merge._time_texts import read_dates

_HEAD = 1 << 16  # bytes in which a line of a detector's log must stand
_SHOWN = 3
_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINE = re.compile(
    # Requested and measured exposure in s, which may be missing; end of the exposure; file, which may have blanks.
    rb"^[ \t]*(?:" + _NUMBER + rb"[ \t]+(" + _NUMBER + rb")[ \t]+)?"
    rb"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?)[ \t]+(\S[^\r\n]*?)[ \t]*\r?$",
    re.MULTILINE,
)


@dataclass(frozen=True, eq=False)
class DetectorLog:
    """What the detector's logs say of images.

    Parameters
    ----------
    files
        Paths of the images as the detector's computer calls them, each once.
    end
        Ends of the exposures, ns, shape ``(n,)``.
    measured
        Lengths of the exposures, s, NaN where the log does not say; shape ``(n,)``.
    remarks
        What was found while they were read, each one sentence.
    """

    files: list[str]
    end: Times
    measured: NDArray[np.float64]
    remarks: tuple[str, ...] = ()


def read_detector_logs(paths: Sequence[str | Path], zone: ZoneInfo) -> DetectorLog:
    """Read the logs of the detector.

    A file in which no line is one of a detector's log is left out. If an image stands in the logs more than once, it
    was taken again: the line with the latest end counts.

    Parameters
    ----------
    paths
        Files that may be such logs.
    zone
        Of the detector's clock.

    Returns
    -------
    Their lines; remarks name the files that are no such logs, and lines that cannot be read.
    """
    remarks: list[str] = []
    logs = [log for path in paths if (log := _read(Path(path), zone, remarks)) is not None]
    files = [file for log in logs for file in log.files]
    end = np.concatenate([log.end for log in logs]) if logs else np.empty(0, np.int64)
    measured = np.concatenate([log.measured for log in logs]) if logs else np.empty(0)
    order = np.argsort(end, kind="stable")
    latest = dict(zip([files[i] for i in order.tolist()], order.tolist(), strict=True))
    if len(latest) < len(files):
        again = len(files) - len(latest)
        remarks.append(f"The detector's logs name {again} image{'s' * (again > 1)} again: the latest time counts.")
    rows = np.fromiter(latest.values(), np.int64, len(latest))
    return DetectorLog(list(latest), end[rows], measured[rows], tuple(remarks))


def _read(path: Path, zone: ZoneInfo, remarks: list[str]) -> DetectorLog | None:
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            found = _LINE.search(head) is not None
            content = head + file.read() if found else b""
    except OSError as error:
        remarks.append(f"{name}: the log cannot be read: {system_reason(error)}.")
        return None
    if not found:
        remarks.append(f"{name}: no log of the detector, left out: no line holds the end of an exposure and a file.")
        return None
    lines = _LINE.findall(content)
    texts = [end.decode() for _, end, _ in lines]
    read = read_dates(pa.array(texts), UTC)
    # Beside the entries a log has a title and rules.
    others = content.count(b"\n") + (not content.endswith(b"\n")) - len(lines)
    if others > 1 + content.count(b"\n----") or not read.valid.all():
        bad_dates = [text for text, valid in zip(texts, read.valid, strict=True) if not valid]
        remarks += _bad_lines(name, content, bad_dates)
    local = from_wall(read.times[read.valid], zone)
    if local.ambiguous:
        remarks.append(
            f"{name}: {local.ambiguous} images ended in the hour that clocks in {zone.key} show twice at the end of "
            "daylight saving: the second time is from where the clock goes back."
        )
    good = read.valid.tolist()
    return DetectorLog(
        [_text(file) for (_, _, file), valid in zip(lines, good, strict=True) if valid],
        local.times,
        np.array([float(line[0] or "nan") for line, valid in zip(lines, good, strict=True) if valid], np.float64),
    )


def _text(file: bytes) -> str:
    try:
        return file.decode("utf-8")
    except UnicodeDecodeError:
        return file.decode("latin-1")


def _bad_lines(name: str, content: bytes, bad_dates: Sequence[str]) -> Iterator[str]:
    """One sentence on the lines that are no entries, besides titles and rules."""
    rest = _LINE.sub(b"", content).replace(b"\r", b"").split(b"\n")
    bad = [
        f"line {number}: {_text(line.strip())[:60]!r}"
        for number, line in enumerate(rest, start=1)
        if number > 1 and line.strip(b" \t\0") and not line.startswith(b"----")
    ] + [f"no date: {text!r}" for text in bad_dates]
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        yield (
            f"{name}: {len(bad)} line{'s' * (len(bad) > 1)} of the detector's log left out, wanted the end of an "
            f"exposure and a file: {'; '.join(bad[:_SHOWN])}{more}."
        )
