"""The live window, as it is after a simulated scan."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from bluesky import RunEngine

from saxs_bluesky.callbacks import LiveCurves, Reduction
from saxs_bluesky.devices import SimPilatus, SimSampleStage
from saxs_bluesky.plans import saxs_scan


def draw_live_window(path: Path) -> None:
    """Scan a sample through the beam with a simulated detector, and save what the live window shows."""
    with TemporaryDirectory() as folder:
        stage = SimSampleStage(name="stage")
        pilatus = SimPilatus(name="pilatus", directory=folder, sample_x=stage.x, sample_y=stage.y)
        live = LiveCurves()
        reduction = Reduction(pilatus.calibration(), sinks=[live])
        engine = RunEngine({})
        engine.subscribe(reduction)
        engine(saxs_scan([pilatus], stage.x, -2, 2, 15, exposure_time=0.5, sample="silver behenate"))
        reduction.close()
        live.save(path)
