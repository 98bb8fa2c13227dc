"""Calibration documents of tests."""

from __future__ import annotations

from typing import Any


def small_document(**more: Any) -> dict[str, Any]:
    """A calibration document of a small detector, 60 x 80 pixels of 1 mm, 200 mm away."""
    return {
        "Title": "small",
        "Geometry": {
            "BeamCenter": [25.3, 30.6],
            "DedectorDistanceMM": 200.0,
            "PixelSizeMicroM": [1000.0],
            "Imagesize": [60, 80],
        },
        "Masks": [{"Oversampling": 3, "PixelPerRadialElement": 1, "qStart": 0.0, "qStop": 20.0}],
        "Wavelength": 1.54,
    } | more
