"""The figures of the documentation show what the code does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from docs._figures import FIGURES
from docs._figures._frame_way import ROOMS
from docs._figures._geometry import GEOMETRY, place_in_space
from tests.helpers.repository import ROOT


def test_tilted_detector_stands_where_the_geometry_says() -> None:
    x, y = (position.ravel() for position in np.meshgrid(np.linspace(-60, 90, 7), np.linspace(-60, 90, 7)))
    places = place_in_space(GEOMETRY, x, y)
    assert np.hypot(places[:, 1], places[:, 2]) / places[:, 0] == pytest.approx(np.tan(GEOMETRY.two_theta(x, y)))
    assert np.linalg.norm(places - [GEOMETRY.distance, 0, 0], axis=1) == pytest.approx(np.hypot(x, y))


def test_rooms_on_the_way_of_a_frame_exist() -> None:
    assert [room.folder for room in ROOMS if not (ROOT / room.folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("name", [name for name in FIGURES if name.endswith(".svg")])
def test_figure_is_drawn(name: str, tmp_path: Path) -> None:
    FIGURES[name](tmp_path / name)
    assert "</svg>" in (tmp_path / name).read_text(encoding="utf-8")
