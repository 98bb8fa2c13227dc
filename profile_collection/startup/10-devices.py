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
    sample_x = SimSampleStage(name="sample_x")
    pilatus = SimPilatus(name="pilatus", directory=settings.frames, stage=sample_x)
    shutter = SimShutter(name="shutter")
    ion_chamber = SimIonChamber(name="ion_chamber")
    diode = SimDiode(name="diode", shutter=shutter)
    sample_temperature = SimThermometer(name="sample_temperature")
    calibration = Calibration.from_file(settings.calibration) if settings.calibration else pilatus.calibration()
else:
    pilatus = Pilatus(
        settings.detector_prefix,
        name="pilatus",
        write_path_template=settings.detector_frames or settings.frames,
        read_path_template=settings.frames,
    )
    pilatus.wait_for_connection()
    calibration = Calibration.from_file(settings.calibration)
