"""What is written to the catalogs of the tests here."""

from __future__ import annotations

from typing import Any

import pytest

from saxs_bluesky.reduction import Calibration, Reducer


@pytest.fixture
def reducer(document: dict[str, Any]) -> Reducer:
    """R0 and S1; the slice has few points."""
    document["Slices"] = [{"CutPosition": 30, "CutMargin": 2, "MaskRef": 0}]
    return Reducer(Calibration.from_dict(document))


@pytest.fixture
def frames(rng: Any) -> list[Any]:
    """Five images of noise."""
    return [rng.poisson(20.0, (60, 80)) for _ in range(5)]
