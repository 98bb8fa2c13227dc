"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# No test opens a window where a developer has a display.
os.environ["MPLBACKEND"] = "Agg"

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real frames and reference curves, where this checkout has it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference data in {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def no_unexpected_errors(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that logs an ERROR without saying so."""
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    errors = [
        r.getMessage() for phase in ("setup", "call") for r in caplog.get_records(phase) if r.levelno >= logging.ERROR
    ]
    assert not errors


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


@pytest.fixture
def document() -> dict[str, Any]:
    """The calibration document of the small detector."""
    return small_document()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20140131)
