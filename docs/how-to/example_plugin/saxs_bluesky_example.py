"""Example of a plugin package: one sink, one integrator."""

from __future__ import annotations

from typing import Any

import numpy as np

from saxs_bluesky.reduction import Calibration, Curve


class Brightest:
    """A sink that remembers the frame with the largest invariant of each reduced run."""

    def __init__(self) -> None:
        self.frames: dict[str, dict[str, Any]] = {}  # data of the event, by descriptor

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document of a reduced run."""
        if name == "event" and doc["data"]["failure"] == "":
            best = self.frames.get(doc["descriptor"])
            if best is None or doc["data"]["R0_I2"] > best["R0_I2"]:
                self.frames[doc["descriptor"]] = doc["data"]


class RowMeans:
    """An integrator: the mean counts of each row of the image, from the top."""

    name = "Rows"

    def __init__(self, calibration: Calibration) -> None:
        self.axis = np.arange(float(calibration.geometry.shape[0]))

    def integrate(self, image: Any) -> Curve:
        """Average the rows; pixels without counts are masked in the image."""
        pixels = np.ma.count(image, axis=1)
        means = np.ma.filled(image.mean(axis=1), np.nan)
        sigma = np.sqrt(np.ma.filled(image.sum(axis=1), 0)) / np.maximum(pixels, 1)
        return Curve(self.name, "recipe", self.axis, "row", "pixel", means, sigma)
