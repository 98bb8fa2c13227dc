"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.postgres import Postgres, missing
from tests.helpers.tiled_servers import TiledOnPostgres

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


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running PostgreSQL, one for all tests of a worker; a test that kills it starts it again."""
    if what := missing():
        pytest.skip(what)
    # Not in pytest's own folder, which lets no other user through, and the server is another user.
    with tempfile.TemporaryDirectory(prefix="saxs-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres")
        server.start()
        yield server
        server.kill()


@pytest.fixture(scope="session")
def tiled_on_postgres(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledOnPostgres]:
    """A running Tiled server whose databases are PostgreSQL, as documented; one for all tests of a worker."""
    server = TiledOnPostgres(tmp_path_factory.mktemp("tiled"), postgres)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def postgres_catalog(tiled_on_postgres: TiledOnPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The catalog of that server."""
    from saxs_bluesky.catalog import open_catalog

    monkeypatch.setenv("TILED_API_KEY", tiled_on_postgres.key)
    catalog = open_catalog(tiled_on_postgres.uri)
    yield catalog
    catalog.context.close()
