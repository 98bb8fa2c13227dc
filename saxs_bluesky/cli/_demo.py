"""The demonstration: a scan of a simulated beamline, reduced into a catalog while it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.cli._command import Exit, print_error, print_status

_PATIENCE = 120.0  # seconds for the catalog to take everything


def demo(options: argparse.Namespace) -> int:
    """Scan the sample stage through the beam, and show what the catalog holds of it."""
    # What takes seconds to import, and no other command needs.
    from bluesky import RunEngine

    from saxs_bluesky.callbacks import CatalogWriter, ChiFiles, LiveCurves, Reduction
    from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves, reduced_runs
    from saxs_bluesky.devices import SimPilatus, SimSampleStage
    from saxs_bluesky.plans import saxs_scan

    folder: Path = options.directory
    print_status(f"Opening a catalog in {folder / 'catalog'}; the first time this takes some seconds.")
    catalog = open_catalog(folder / "catalog")
    stage = SimSampleStage(name="stage")
    pilatus = SimPilatus("pilatus", folder / "frames", sample_x=stage.x, seed=options.seed)
    writer = CatalogWriter(catalog, journal=folder / "journal")
    live = LiveCurves()
    reduction = Reduction(
        pilatus.calibration(), [writer, ChiFiles(folder / "work"), live, _print_frame], deviation=True
    )
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(writer)
    engine.subscribe(reduction)

    print_status(
        f"A RunEngine scans silver behenate through the beam: {options.frames} frames of a simulated Pilatus 1M."
    )
    plan = saxs_scan(
        [pilatus], stage.x, -2, 2, options.frames, exposure_time=options.exposure, sample="silver behenate"
    )
    uids: Any = engine(plan)
    done = reduction.wait(_PATIENCE)
    status = reduction.status
    if not done:
        print_error(f"the catalog has not taken everything in {_PATIENCE:.0f} s: {writer.counters}")
    else:
        print_status(f"\nThe catalog, asked for what was reduced from run {uids[0][:8]}:")
        print_status(_described(read_curves(reduced_runs(catalog, uids[0])[-1])))
        print_status(f"The curves are drawn in {live.save(folder / 'curves.png')}")
    reduction.close(_PATIENCE)
    writer.close()
    close_catalog(folder / "catalog")
    return Exit.DONE if done and not status.failed else Exit.SOME_FAILED


def _print_frame(name: str, doc: dict[str, Any]) -> None:
    """Print a line for each reduced frame."""
    if name == "event":
        data = doc["data"]
        what = data["failure"] or f"I0 {data['R0_I0']:7.2f}   invariant {data['R0_I2']:8.2f}"
        print_status(f"  {Path(data['image_path']).name}  stage {data['stage_x']:+.2f} mm   {what}")


def _described(curves: Any) -> str:
    brightest = int(np.nanargmax(curves["R0_I0"].values))
    position = float(curves["stage_x"][brightest])
    first_ring = float(curves["R0_q"][int(np.nanargmax(curves["R0_intensity"][brightest].values))])
    return (
        f"  {curves.sizes['frame']} frames, curves of {curves.sizes['R0_q']} points; most intensity at stage "
        f"{position:+.2f} mm; first ring of silver behenate at q = {first_ring:.3f} 1/nm"
    )
