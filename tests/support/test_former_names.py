"""Names that have moved: users' imports go on working, and are told of the new place."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky import callbacks, file_pipeline, frame_job, leash, session
from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.catalog import reduce_run
from saxs_bluesky.errors import CatalogError
from saxs_bluesky.reduction import Calibration, Curve, Reducer, write_frame
from saxs_bluesky.sources import DirectorySource, FileSource, WatchSource


@pytest.mark.parametrize(
    ("module", "name", "now"),
    [
        ("saxs_bluesky.callbacks", "DocumentGuard", callbacks.LossDetector),
        ("saxs_bluesky.callbacks", "ReducedRuns", callbacks.ReducedRunReader),
        ("saxs_bluesky.beamline", "load_settings", session.load_settings),
        ("saxs_bluesky.leash", "CurveKeys", leash.EncryptionKeys),
        ("saxs_bluesky.leash", "Envelope", leash.ReplyContext),
        ("saxs_bluesky.outputs", "CurveFiles", frame_job.CurveFiles),
        ("saxs_bluesky.pipeline", "FilePipeline", file_pipeline.FilePipeline),
    ],
)
def test_former_place_gives_the_same_object(module: str, name: str, now: Callable[..., object]) -> None:
    former = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf"{name} is now saxs_bluesky\.\w+\.{now.__name__}") as told:
        assert getattr(former, name) is now
    assert told[0].filename == __file__


def test_other_names_are_not_there() -> None:
    from saxs_bluesky import pipeline

    with pytest.raises(AttributeError, match=r"'saxs_bluesky\.pipeline' has no attribute 'nothing'"):
        _ = pipeline.nothing


def test_former_name_of_an_argument_is_taken_with_a_warning(document: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="the argument recipes is now extra_integrators") as told:
        reducer = Reducer(Calibration.from_dict(document), recipes=[Own()])
    assert told[0].filename == __file__
    assert [integrator.name for integrator in reducer.integrators] == ["R0", "Own"]
    with pytest.raises(TypeError, match="recipes is the former name of extra_integrators; give one of them"):
        Reducer(reducer.calibration, extra_integrators=[], recipes=[])


class Own:
    name, axis = "Own", np.zeros(1)

    def integrate(self, image: Any) -> Curve:
        return Curve(self.name, "recipe", self.axis, "nothing", "1", self.axis, self.axis)


def test_recipes_are_extra_integrators_wherever_frames_are_reduced(document: dict[str, Any]) -> None:
    calibration = Calibration.from_dict(document)
    with pytest.warns(DeprecationWarning, match="the argument recipes is now extra_integrators"):
        reduction = Reduction(calibration, recipes=[Own()])
    assert [integrator.name for integrator in reduction.reducer().integrators] == ["R0", "Own"]
    told = pytest.warns(DeprecationWarning, match="extra_integrators")
    with told, pytest.raises(CatalogError, match="wanted run gone"):
        reduce_run({}, "gone", calibration, recipes=[Own()])


def test_former_names_of_the_options_of_a_source_are_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_frame(tmp_path / "run" / "a.tif", np.ones((2, 2), np.int32))
    with pytest.warns(DeprecationWarning, match="the argument below is now recursive"):
        source: FileSource = DirectorySource(tmp_path, below=False)
    assert list(source.files()) == []
    with pytest.warns(DeprecationWarning, match="the argument hints is now use_inotify"):
        source = WatchSource(tmp_path, hints=False)
    (file,) = itertools.islice(source.files(), 1)
    assert file.path == str(tmp_path / "run" / "a.tif")
