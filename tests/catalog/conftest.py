"""One embedded catalog for the tests here, since to make one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.catalog import close_catalog, open_catalog
from saxs_bluesky.reduction import Calibration, Reducer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a catalog."""
    made = tmp_path_factory.mktemp("catalog")
    open_catalog(made)
    yield made
    close_catalog(made)


@pytest.fixture
def catalog(folder: Path) -> Any:
    """The catalog in it."""
    return open_catalog(folder)


@pytest.fixture
def reducer(document: dict[str, Any]) -> Reducer:
    """R0 and S1; the slice has few points."""
    document["Slices"] = [{"CutPosition": 30, "CutMargin": 2, "MaskRef": 0}]
    return Reducer(Calibration.from_dict(document))


@pytest.fixture
def frames(rng: Any) -> list[Any]:
    """Five images of noise."""
    return [rng.poisson(20.0, (60, 80)) for _ in range(5)]
