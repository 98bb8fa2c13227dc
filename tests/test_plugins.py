"""Plugins of other packages, with the example package installed for real."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest

from saxs_bluesky import plugins
from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.errors import PluginError
from saxs_bluesky.reduction import Calibration
from tests.helpers.waiting import PATIENCE

EXAMPLE = Path(__file__).parents[1] / "docs" / "how-to" / "example_plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source)  # a build leaves files beside the source
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*command, str(folder / "installed"), str(source)], check=True, capture_output=True)
    return folder / "installed"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("installed")
def test_example_package_adds_a_sink_and_an_integrator(document: dict[str, Any], rng: np.random.Generator) -> None:
    assert "brightest" in plugins.available(plugins.SINKS)
    assert "row_means" in plugins.available(plugins.INTEGRATORS)
    calibration = Calibration.from_dict(document)
    (sink,) = plugins.load_sinks(["brightest"])
    documents: list[tuple[str, Any]] = []
    reduction = Reduction(
        calibration,
        [sink, lambda name, doc: documents.append((name, doc))],
        extra_integrators=plugins.load_integrators(["row_means"], calibration),
    )
    run = event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [60, 80], "source": "test"}}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    images = [rng.poisson(level, (60, 80)) for level in (1, 9, 4)]
    reduction("start", run.start_doc)
    reduction("descriptor", stream.descriptor_doc)
    for image in images:
        reduction("event", stream.compose_event(data={"camera": image}, timestamps={"camera": 1.0}))
    reduction("stop", run.compose_stop())
    assert reduction.close(PATIENCE)
    events = [doc for name, doc in documents if name == "event"]
    np.testing.assert_allclose(events[0]["data"]["Rows_intensity"], images[0].mean(axis=1))
    ((best,),) = [list(sink.frames.values())]
    assert best["frame_index"] == 1


@pytest.mark.usefixtures("installed")
def test_unknown_plugin_is_answered_with_the_nearest(document: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match=r"wanted plugin row_mean, found none of that name .did you mean row_means"):
        plugins.load_integrators(["row_mean"], Calibration.from_dict(document))


def test_broken_plugins_are_told(tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[saxs_bluesky.integrators]\nabsent = no_such_module:X\nwrong = builtins:repr\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    calibration = Calibration.from_dict(document)
    with pytest.raises(PluginError, match=r"wanted plugin absent .no_such_module:X., found ModuleNotFoundError"):
        plugins.load_integrators(["absent"], calibration)
    with pytest.raises(PluginError, match=r"wanted an integrator \(name, axis, integrate\) from wrong, found str"):
        plugins.load_integrators(["wrong"], calibration)
