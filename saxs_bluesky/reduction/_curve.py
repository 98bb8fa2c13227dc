"""The result of a reduction: curves and their integral parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from saxs_bluesky.reduction.arrays import FloatArray

CurveKind: TypeAlias = Literal["radial", "azimuthal", "slice", "recipe"]
"""What the axis of a curve is: q, the azimuth, a line through the image, or a user's own."""


@dataclass(frozen=True)
class IntegralParameters:
    """Integrals of a curve over a range of q: one number each to follow an experiment by.

    ``I0 = sum(I dq)``, ``I1 = sum(I q dq)`` and ``I2 = sum(I q**2 dq)``, the invariant, in the
    intensity's unit times 1/nm, 1/nm**2 and 1/nm**3. All are NaN where the range holds no data, which is no
    intensity of 0. All are 0 where none are asked for: for curves that have no q, and with ``qStop: 0``.

    ``coverage`` is the share of the range's bins that hold data, from 0 to 1; NaN where it is not known.
    """

    I0: float = 0.0
    I1: float = 0.0
    I2: float = 0.0
    coverage: float = math.nan

    @property
    def correlation_length(self) -> float:
        """``I1 / I2`` in nm; NaN where I2 is 0."""
        return self.I1 / self.I2 if self.I2 else float("nan")


NOTHING_KNOWN = IntegralParameters(math.nan, math.nan, math.nan, 0.0)
"""Those of a curve without data in the range."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of one frame.

    Parameters
    ----------
    name
        ``R0`` (radial), ``P1`` (azimuthal), ``S2`` (slice), or the name of a user's own integrator.
    kind
        What it runs over: ``radial``, ``azimuthal``, ``slice``, or ``recipe`` for a user's own integrator.
    axis
        Centres of the bins, ascending, shape (n,).
    axis_label, axis_unit
        ``q`` in ``1/nm``, ``phi`` in ``rad``, ``q_h`` or ``q_v`` in ``1/nm``.
    intensity
        Counts per pixel, shape (n,); NaN where no pixel contributes.
    sigma
        Standard error of the intensity from Poisson statistics, exact for the weighted sum.
    deviation
        Standard deviation of the pixels inside each bin, the second estimate: larger than the
        counting error of a single pixel where the pattern is not smooth over the bin. None where
        a reader has no second estimate.
    integral
        Integral parameters over the range that the calibration asks for.
    """

    name: str
    kind: CurveKind
    axis: FloatArray
    axis_label: str
    axis_unit: str
    intensity: FloatArray
    sigma: FloatArray
    deviation: FloatArray | None = None
    integral: IntegralParameters = IntegralParameters()


def integral_parameters(q: FloatArray, intensity: FloatArray, q_start: float, q_stop: float) -> IntegralParameters:
    """Integrate a curve over the bins whose centre lies between ``q_start`` and ``q_stop`` (1/nm).

    The range is clipped to the curve; bins that hold NaN contribute nothing, and lessen the coverage. Bins are equally
    wide; source: documentation of SAXSdog.

    Parameters
    ----------
    q, intensity
        Bin centres in 1/nm and intensities, shapes (n,).
    q_start, q_stop
        Limits of the range, in 1/nm.

    Returns
    -------
    I0, I1, I2, and how much of the range the curve covers.
    """
    if q_stop == 0:
        return IntegralParameters()  # the deployed way to ask for none
    in_range = (q >= q_start) & (q <= q_stop)
    inside = in_range & ~np.isnan(intensity)
    bins, found = np.count_nonzero(in_range), np.count_nonzero(inside)
    if not found:
        return NOTHING_KNOWN
    bin_width = q[1] - q[0] if q.size > 1 else 2 * q[0]
    q, weighted = q[inside], intensity[inside] * bin_width
    return IntegralParameters(
        I0=float(weighted.sum()),
        I1=float((weighted * q).sum()),
        I2=float((weighted * q * q).sum()),
        coverage=float(found / bins),
    )
