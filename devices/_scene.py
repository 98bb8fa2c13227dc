"""What stands before the simulated detector: a sample on a stage that moves it through the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ophyd import Component, Device, SoftPositioner

from saxs_bluesky.reduction.arrays import FloatImage
from saxs_bluesky.simulation import Sample, SimulatedPilatus


class Positioner(Protocol):
    """Whatever says where it is."""

    @property
    def position(self) -> float:
        """Position in the positioner's own units."""


class SimSampleStage(Device):  # type: ignore[misc]
    """Simulated stage of the sample: positioners ``x`` and ``y`` in mm, which move at once."""

    x = Component(SoftPositioner, egu="mm", limits=(-20.0, 20.0), init_pos=0.0, kind="hinted")
    y = Component(SoftPositioner, egu="mm", limits=(-20.0, 20.0), init_pos=0.0, kind="hinted")


@dataclass(frozen=True)
class SampleProfile:
    """How much of the sample is in the beam: a Gaussian of the stage's position.

    ``center`` (x, y) and ``width``, the standard deviation, in mm; ``empty`` is the share of the
    scattering that windows and air give without a sample.
    """

    center: tuple[float, float] = (0.0, 0.0)
    width: float = 1.0
    empty: float = 0.02

    def share(self, x: float, y: float) -> float:
        """Share of the full scattering with the stage at (x, y) in mm: from ``empty`` to 1."""
        distance = np.hypot(x - self.center[0], y - self.center[1]) / self.width
        return float(self.empty + (1 - self.empty) * np.exp(-0.5 * distance**2))


class Scene:
    """A simulated detector behind a sample, with or without positioners that move the sample.

    Parameters
    ----------
    x, y
        Positioners of the sample in mm; None leaves it at the centre of its profile.
    """

    def __init__(
        self,
        detector: SimulatedPilatus,
        sample: Sample,
        profile: SampleProfile,
        rng: np.random.Generator,
        x: Positioner | None = None,
        y: Positioner | None = None,
    ) -> None:
        self.detector = detector
        self._sample = sample
        self._profile = profile
        self._rng = rng
        self._x = x
        self._y = y
        self._rate: FloatImage | None = None

    @property
    def sample(self) -> Sample:
        """The sample on the stage; settable."""
        return self._sample

    @sample.setter
    def sample(self, sample: Sample) -> None:
        self._sample, self._rate = sample, None

    def expose(self, exposure_time: float) -> NDArray[np.int32]:
        """Count for ``exposure_time`` seconds with the sample where it is; shape (rows, columns)."""
        if self._rate is None:
            self._rate = self.detector.rate(self._sample)
        x = self._profile.center[0] if self._x is None else self._x.position
        y = self._profile.center[1] if self._y is None else self._y.position
        return self.detector.expose(self._rate * self._profile.share(x, y), exposure_time, self._rng)


def counted(image: NDArray[np.int32]) -> int:
    """Sum of the pixels that count: those in gaps and the dead ones, which are negative, left out."""
    return int(np.maximum(image, 0).sum(dtype=np.int64))


def described_image(shape: tuple[int, int], frames: int, source: str) -> dict[str, Any]:
    """Data key of an event's images: ``frames`` images of ``shape`` (rows, columns) in files."""
    return {
        "source": source,
        "dtype": "array",
        "dtype_numpy": "<i4",
        "shape": [frames, *shape],
        "dims": ["frame", "y", "x"],
        "external": "FILESTORE:",
    }
