"""Reduced runs, as a reduction hands them to its sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.documents import FrameTask, InlineFrame, ReducedRunComposer, TiffFrame
from saxs_bluesky.reduction import Calibration, Curve, Reducer
from tests.helpers.reducing import Make, NamedDocument
from tests.helpers.waiting import PATIENCE


@dataclass(frozen=True)
class Run:
    """Documents of a reduced run, and the curves that went into its events (None for a failed frame)."""

    documents: list[NamedDocument]
    curves: list[list[Curve] | None]

    def feed(self, *sinks: Callable[[str, dict[str, Any]], Any]) -> None:
        for name, doc in self.documents:
            for sink in sinks:
                sink(name, doc)


MakeRun = Callable[..., Run]


@pytest.fixture
def reducer(document: dict[str, Any]) -> Reducer:
    """R0, P1 and S2 of the small detector."""
    document["Masks"].append(document["Masks"][0] | {"Phi-mode": True, "PixelPerRadialElement": 8})
    document["Slices"] = [{"CutPosition": 30, "CutMargin": 2, "MaskRef": 0}]
    return Reducer(Calibration.from_dict(document))


@pytest.fixture
def make_run(reducer: Reducer, rng: np.random.Generator) -> MakeRun:
    """Make a reduced run of frames whose scattering grows; one of them can fail."""
    rows, columns = np.indices((60, 80))
    # A ring around the beam centre, as silver behenate has them.
    radius = np.hypot(rows + 0.5 - (60 - 25.3), columns + 0.5 - 30.6)
    pattern = 400 * np.exp(-radius / 12) + 60 * np.exp(-(((radius - 22) / 1.5) ** 2)) + 2

    def make(
        paths: Sequence[str] = ("",) * 5,
        *,
        failing: int | None = None,
        motor: bool = False,
        detector: str = "pilatus",
        stream: str = "primary",
        deviation: bool = False,
        sizes: Sequence[float] | None = None,
        **metadata: Any,
    ) -> Run:
        own = Reducer(reducer.calibration, deviation=deviation)
        start = {"uid": "0a1b2c3d-0000", "time": 1.7e9, "scan_id": 7, "sample": "silver behenate"} | metadata
        keys: dict[str, Any] = {}
        if motor:
            start |= {"motors": ["stage_x"], "hints": {"dimensions": [[["stage_x"], stream]]}, "num_points": len(paths)}
            keys = {"stage_x": {"dtype": "number", "shape": [], "source": "SIM:x", "units": "mm"}}
        run = ReducedRunComposer(start, detector, own)
        documents, curves = [run.start, *run.describe(stream, keys)], []
        for index, path in enumerate(paths):
            image = rng.poisson(pattern * (sizes[index] if sizes else 1 + 0.2 * index))
            made = None if index == failing else own.reduce(image)
            task = FrameTask(
                detector,
                stream,
                index,
                1.7e9 + 3.5 * index,
                TiffFrame(path) if path else InlineFrame(image, 0),
                coordinates={"stage_x": 0.25 * index} if motor else {},
                coordinate_keys=keys,
            )
            curves.append(made)
            documents.append(run.event(task, made, "" if made else f"{path}: wanted an image, found an empty file"))
        stop = {"exit_status": "success", "reason": ""}
        return Run([*documents, run.stop(stop)], curves)

    return make


@pytest.fixture
def reductions() -> Iterator[Make]:
    """Make reductions, each with the list of the documents that it hands to its sink."""
    made: list[Reduction] = []

    def make(calibration: Any, **keywords: Any) -> tuple[Reduction, list[NamedDocument]]:
        found: list[NamedDocument] = []
        made.append(Reduction(calibration, [lambda name, doc: found.append((name, doc))], **keywords))
        return made[-1], found

    yield make
    for reduction in made:
        assert reduction.close(PATIENCE) or reduction._abandoned


@pytest.fixture
def make_writer(tmp_path: Path) -> Iterator[Callable[..., CatalogWriter]]:
    """Make impatient writers with a journal in tmp_path / "journal", closed at the end."""
    made: list[CatalogWriter] = []

    def make(catalog: Any, **options: Any) -> CatalogWriter:
        made.append(CatalogWriter(catalog, **({"batch_seconds": 0.05, "journal": tmp_path / "journal"} | options)))
        return made[-1]

    yield make
    for writer in made:
        writer.close(timeout=0)
