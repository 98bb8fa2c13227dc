"""Devices: the detector, the sample stage, and what the beamline logs."""

from saxs_bluesky.devices import (
    Pilatus,
    SimDiode,
    SimIonChamber,
    SimPilatus,
    SimSampleStage,
    SimShutter,
    SimThermometer,
)
from saxs_bluesky.reduction import Calibration

if settings.simulated:
    stage = SimSampleStage(name="stage")
    pilatus = SimPilatus(name="pilatus", directory=settings.frames, sample_x=stage.x, sample_y=stage.y)
    shutter = SimShutter(name="shutter")
    shutter.set("open")
    ion_chamber = SimIonChamber(name="ion_chamber")
    diode = SimDiode(name="diode", shutter=shutter)
    sample_temperature = SimThermometer(name="sample_temperature")
    baseline, monitors = [stage, shutter, sample_temperature], [ion_chamber, diode]
    calibration = Calibration.from_file(settings.calibration) if settings.calibration else pilatus.calibration()
else:
    pilatus = Pilatus(
        settings.detector_prefix,
        name="pilatus",
        write_path_template=settings.detector_frames or settings.frames,
        read_path_template=settings.frames,
    )
    pilatus.wait_for_connection()
    baseline, monitors = [], []  # your own motors, diodes and thermometers
    calibration = Calibration.from_file(settings.calibration)
