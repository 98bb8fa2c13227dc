"""A soft IOC of a Pilatus 100K with its TIFF plugin: `python pilatus_ioc.py PREFIX`.

The records have the types and the behaviour of areaDetector's: enumerations, long strings, readbacks;
folders made when the path is put; a Pilatus TIFF written for each frame while ``cam1:Acquire`` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, pvproperty, run

from saxs_bluesky.reduction import Calibration
from saxs_bluesky.simulation import SilverBehenate, SimulatedPilatus, simulated_calibration, write_simulated_frame

READY = "ready"
SEED = 100
CAM_PORT = "PIL"
DETECTOR = SimulatedPilatus(Calibration.from_dict(simulated_calibration("100K")).geometry)


def choice(name: str, *strings: str) -> Any:
    return pvproperty(name=name, value=strings[0], dtype=ChannelType.ENUM, enum_strings=list(strings))


def text(name: str, value: str = "") -> Any:
    return pvproperty(name=name, value=value, dtype=ChannelType.STRING)


def long_text(name: str, value: str) -> Any:
    return pvproperty(name=name, value=value, dtype=ChannelType.CHAR, max_length=256, string_encoding="utf-8")


class PilatusIOC(PVGroup):
    acquire = choice("cam1:Acquire", "Done", "Acquire")
    acquire_time = pvproperty(name="cam1:AcquireTime", value=1.0)
    acquire_period = pvproperty(name="cam1:AcquirePeriod", value=1.003)
    array_callbacks = choice("cam1:ArrayCallbacks", "Disable", "Enable")
    array_counter = pvproperty(name="cam1:ArrayCounter", value=0)
    array_size_x = pvproperty(name="cam1:ArraySizeX_RBV", value=0)
    array_size_y = pvproperty(name="cam1:ArraySizeY_RBV", value=0)
    image_mode = choice("cam1:ImageMode", "Single", "Multiple", "Continuous")
    manufacturer = text("cam1:Manufacturer_RBV", "Dectris")
    max_size_x = pvproperty(name="cam1:MaxSizeX_RBV", value=DETECTOR.geometry.shape[1])
    max_size_y = pvproperty(name="cam1:MaxSizeY_RBV", value=DETECTOR.geometry.shape[0])
    model = text("cam1:Model_RBV", "Pilatus")
    num_exposures = pvproperty(name="cam1:NumExposures", value=1)
    num_images = pvproperty(name="cam1:NumImages", value=1)
    port_name = text("cam1:PortName_RBV", CAM_PORT)
    trigger_mode = choice("cam1:TriggerMode", "Internal", "Ext. Enable", "Ext. Trigger", "Mult. Trigger", "Alignment")

    tiff_array_counter = pvproperty(name="TIFF1:ArrayCounter", value=0)
    auto_increment = choice("TIFF1:AutoIncrement", "No", "Yes")
    auto_save = choice("TIFF1:AutoSave", "No", "Yes")
    blocking_callbacks = choice("TIFF1:BlockingCallbacks", "No", "Yes")
    create_directory = pvproperty(name="TIFF1:CreateDirectory", value=0)
    delete_driver_file = choice("TIFF1:DeleteDriverFile", "No", "Yes")
    enable_callbacks = choice("TIFF1:EnableCallbacks", "Disable", "Enable")
    file_format = choice("TIFF1:FileFormat", "TIFF")
    file_name = long_text("TIFF1:FileName", "image")
    file_number = pvproperty(name="TIFF1:FileNumber", value=0)
    file_path = long_text("TIFF1:FilePath", "/nowhere/")
    file_path_exists = choice("TIFF1:FilePathExists_RBV", "No", "Yes")
    file_template = long_text("TIFF1:FileTemplate", "%s%s_%3.3d.tif")
    file_write_mode = choice("TIFF1:FileWriteMode", "Single", "Capture", "Stream")
    full_file_name = long_text("TIFF1:FullFileName_RBV", "none")
    nd_array_port = text("TIFF1:NDArrayPort", CAM_PORT)
    num_capture = pvproperty(name="TIFF1:NumCapture", value=1)
    plugin_type = text("TIFF1:PluginType_RBV", "NDFileTIFF")
    tiff_port_name = text("TIFF1:PortName_RBV", "FileTIFF1")
    write_message = long_text("TIFF1:WriteMessage", "none")
    write_status = choice("TIFF1:WriteStatus", "Write OK", "Write error")

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix=prefix)
        # A setpoint and its readback are one channel here.
        self.pvdb.update({f"{name}_RBV": channel for name, channel in self.pvdb.items() if not name.endswith("_RBV")})
        self.rate = DETECTOR.rate(SilverBehenate())
        self.rng = np.random.default_rng(SEED)
        self.acquisition: asyncio.Task[None] | None = None

    @file_path.putter
    async def file_path(self, instance: Any, value: str) -> str:
        folder = Path(value)
        if self.create_directory.value < 0:
            missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
            if len(missing) <= -self.create_directory.value:
                with contextlib.suppress(OSError):  # it does not exist then, as the IOC tells
                    folder.mkdir(parents=True, exist_ok=True)
        await self.file_path_exists.write("Yes" if folder.is_dir() else "No")
        return f"{value.rstrip('/')}/"

    @acquire.putter
    async def acquire(self, instance: Any, value: str) -> str:
        if value == "Acquire" and instance.value == "Done":
            self.acquisition = asyncio.create_task(self.take_frames())
        elif value == "Done" and self.acquisition is not None:
            self.acquisition.cancel()
        return value

    async def take_frames(self) -> None:
        await self.array_size_x.write(DETECTOR.geometry.shape[1])
        await self.array_size_y.write(DETECTOR.geometry.shape[0])
        if self.trigger_mode.value != "Internal":
            await asyncio.Event().wait()  # for a trigger that never comes
        frames = 1 if self.image_mode.value == "Single" else self.num_images.value
        for _ in range(frames):
            await asyncio.sleep(self.acquire_time.value)
            if "Disable" not in (self.array_callbacks.value, self.enable_callbacks.value):
                await self.save_frame()
            await self.array_counter.write(self.array_counter.value + 1)
        self.acquisition = None
        await self.acquire.write("Done")

    async def save_frame(self) -> None:
        path = self.file_template.value % (self.file_path.value, self.file_name.value, self.file_number.value)
        try:
            write_simulated_frame(Path(path), DETECTOR, self.rate, self.acquire_time.value, self.rng)
        except OSError as error:
            await self.write_status.write("Write error")
            await self.write_message.write(str(error))
            return
        await self.write_status.write("Write OK")
        await self.full_file_name.write(path)
        await self.tiff_array_counter.write(self.tiff_array_counter.value + 1)
        if self.auto_increment.value == "Yes":
            await self.file_number.write(self.file_number.value + 1)


async def tell_ready(async_library: Any) -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(PilatusIOC(sys.argv[1]).pvdb, interfaces=["127.0.0.1"], startup_hook=tell_ready)
