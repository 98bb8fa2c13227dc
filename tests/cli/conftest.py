"""A folder of small frames with their calibration, as a user has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.reduction import PilatusHeader, write_frame

HEADER = PilatusHeader(entries={"Exposure_time": "1.0 s", "Count_cutoff": "1000 counts"})


@pytest.fixture(autouse=True)
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
