"""Ophyd devices: detectors and loggers, real and simulated.

None of them needs an EPICS library to be imported; `Pilatus` needs one to be made.
"""

from saxs_bluesky.devices._loggers import SimDiode, SimIonChamber, SimShutter, SimThermometer
from saxs_bluesky.devices._pilatus import Pilatus
from saxs_bluesky.devices._scene import SampleProfile, SimSampleStage
from saxs_bluesky.devices._sim_pilatus import SimPilatus

__all__ = [
    "Pilatus",
    "SampleProfile",
    "SimDiode",
    "SimIonChamber",
    "SimPilatus",
    "SimSampleStage",
    "SimShutter",
    "SimThermometer",
]
