"""What integrators have in common that average the pixels of each bin."""

from __future__ import annotations

from saxs_bluesky.reduction._curve import Curve, CurveKind, integral_parameters
from saxs_bluesky.reduction._operator import BinningOperator
from saxs_bluesky.reduction._pixels import LimitedImage
from saxs_bluesky.reduction.arrays import FloatArray, Image


class BinnedIntegrator:
    """Mean intensity of the pixels in each bin.

    Parameters
    ----------
    name, kind, axis, axis_label, axis_unit
        What its curves have in common, as `Curve` has them; every curve shares the axis.
    operator
        Which pixels are in which bin.
    deviation
        Whether curves carry the standard deviation of the pixels in each bin.
    q_range
        Range of the integral parameters, 1/nm; without it there are none.
    """

    def __init__(
        self,
        name: str,
        kind: CurveKind,
        axis: FloatArray,
        axis_label: str,
        axis_unit: str,
        operator: BinningOperator,
        *,
        deviation: bool,
        q_range: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        axis.flags.writeable = False
        self.name, self.axis, self.operator = name, axis, operator
        self._kind, self._axis_label, self._axis_unit = kind, axis_label, axis_unit
        self._deviation, self._range = deviation, q_range

    def integrate(self, image: Image | LimitedImage) -> Curve:
        """Integrate one image of shape (rows, columns)."""
        binned = self.operator.apply(image, deviation=self._deviation)
        return Curve(
            name=self.name,
            kind=self._kind,
            axis=self.axis,
            axis_label=self._axis_label,
            axis_unit=self._axis_unit,
            intensity=binned.intensity,
            sigma=binned.sigma,
            deviation=binned.deviation,
            integral=integral_parameters(self.axis, binned.intensity, *self._range),
        )
