"""What came of the work on one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from saxs_bluesky.reduction import IntegralParameters
from saxs_bluesky.reduction.arrays import FloatArray


class CurveValues(NamedTuple):
    """What of a curve changes from frame to frame; name, axis and units are those of the reducer's template.

    ``intensity``, ``sigma`` and, where it was asked for, ``deviation`` are of the shape of the curve's axis, in counts
    per pixel.
    """

    intensity: FloatArray
    sigma: FloatArray
    deviation: FloatArray | None
    integral: IntegralParameters


@dataclass(frozen=True)
class WrittenFiles:
    """What was written of a frame.

    Parameters
    ----------
    curves
        Path of each curve's file, in the order of the curves; empty where there is none.
    failure
        Why files are missing; empty where none is.
    """

    curves: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class FrameResult:
    """What came of the work on one frame, small enough to travel between processes.

    Parameters
    ----------
    failure
        Why there are no curves; empty where there are.
    curves
        Values of each curve, in the order of the reducer's template; none where the frame failed.
    files
        What was written.
    superseded
        True if the frame failed because its file holds newer content than the frame's.
    remark
        How the header of the image contradicts the calibration; empty where it does not.
    waits
        True if the frame, or a streamed axis of it, may be read when its file is closed.
    coordinates
        Values of the axes that are streamed into files; or why one cannot be read.
    """

    failure: str = ""
    curves: tuple[CurveValues, ...] = ()
    files: WrittenFiles = WrittenFiles()
    superseded: bool = False
    remark: str = ""
    waits: bool = False
    coordinates: Mapping[str, float | str] = field(default_factory=dict)
