"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.reduction import write_frame
from tests.helpers.calibrations import small_document
from tests.helpers.frame_files import HEADER
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


@pytest.fixture
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the journals of commands in place of the user's."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def beamtime(tmp_path: Path, document: dict[str, Any], rng: np.random.Generator) -> Path:
    """``cal.json`` (R0 and S1), and ``data`` with a.tif, b.tif, and more/c.tif."""
    document["Slices"] = [{"CutPosition": 5}]
    document["Threads"] = 1
    (tmp_path / "cal.json").write_text(json.dumps(document))
    (tmp_path / "data" / "more").mkdir(parents=True)
    for name in ("a.tif", "b.tif", "more/c.tif"):
        write_frame(tmp_path / "data" / name, rng.poisson(20, (60, 80)), HEADER)
    return tmp_path


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty catalog, to be copied: to make one takes seconds."""
    from saxs_bluesky.catalog import close_catalog, open_catalog

    folder = tmp_path_factory.mktemp("empty")
    open_catalog(folder)
    close_catalog(folder)
    return folder


@pytest.fixture(scope="module")
def catalog_folder(empty_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an open catalog, one for the tests of a module."""
    from saxs_bluesky.catalog import close_catalog, open_catalog

    folder = tmp_path_factory.mktemp("catalog")
    shutil.copytree(empty_catalog, folder, dirs_exist_ok=True)
    open_catalog(folder)
    yield folder
    close_catalog(folder)


@pytest.fixture
def catalog(catalog_folder: Path) -> Any:
    """The catalog in that folder."""
    from saxs_bluesky.catalog import open_catalog

    return open_catalog(catalog_folder)
